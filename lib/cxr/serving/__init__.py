"""Score images with the registered model, record predictions, and monitor them."""

"""Ways to ask the registered model, and how its answers are watched."""

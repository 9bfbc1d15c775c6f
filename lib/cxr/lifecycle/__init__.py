"""What becomes of a trained network: runs, registered versions, promotion, model card."""

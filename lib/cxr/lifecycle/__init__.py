"""From a trained network to a model in production: runs, tracking, registration, model card, promotion."""

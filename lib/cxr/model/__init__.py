"""Exactly what the registry ships with a version: preprocessing, network, heat maps, the registered model."""

"""Processes that run models, functions, services and bundles."""

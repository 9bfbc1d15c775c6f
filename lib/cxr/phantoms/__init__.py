"""Synthetic chest X-rays, for when no data is given. For demonstration and tests only."""

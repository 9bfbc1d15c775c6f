"""Phantoms: synthetic chest X-rays, used if no data is given. For demonstration and tests only."""

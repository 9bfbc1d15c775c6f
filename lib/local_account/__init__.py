"""A stand-in for a Snowflake account: one server process on loopback over DuckDB. See ``python -m local_account --help``."""

VERSION = "1"
"""Stamp of the on-disk layout; an account folder of another stamp is refused."""

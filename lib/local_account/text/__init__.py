"""Identifiers, literals, Snowflake's errors."""

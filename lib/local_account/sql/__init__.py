"""Snowflake SQL to DuckDB: parsing, names, types, translation, execution."""

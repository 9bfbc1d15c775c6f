"""What DuckDB is taught: variants, macros, results, types, errors."""

"""Rewrites of expressions that sqlglot does not translate, by subject."""

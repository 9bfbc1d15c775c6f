"""User-defined functions and procedures in SQL and Python."""

from __future__ import annotations

from sqlglot import exp

from .errors import compilation_error
from .results import Result
from .session import Session


def python_function(session: Session, parts: list[str], arguments: list[exp.Expression]) -> exp.Expression | None:
    return None


def run_procedure(session: Session, name: str, arguments: str) -> Result:
    raise compilation_error(f"Unknown user-defined procedure {name}.", 2140, "42601")

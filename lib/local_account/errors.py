"""Errors with Snowflake's codes and words, so that clients raise what they would raise against an account."""

from __future__ import annotations


class SnowflakeError(Exception):
    """A refusal that the client sees as ``ProgrammingError`` / ``SnowparkSQLException``."""

    def __init__(self, message: str, code: int = 100038, sqlstate: str = "42000"):
        super().__init__(message)
        self.message = message
        self.code = code
        self.sqlstate = sqlstate


def compilation_error(text: str, code: int = 904, sqlstate: str = "42000") -> SnowflakeError:
    return SnowflakeError(f"SQL compilation error:\n{text}", code, sqlstate)


def missing(kind: str, name: str) -> SnowflakeError:
    """002003: the object does not exist, in the words that Snowflake uses for its kind."""
    state = "42S02" if kind in ("Object", "Table", "View") else "02000"
    return compilation_error(f"{kind} '{name}' does not exist or not authorized.", 2003, state)


def already_exists(name: str) -> SnowflakeError:
    return compilation_error(f"Object '{name}' already exists.", 2002, "42710")


def unsupported(what: str, where: str) -> SnowflakeError:
    """Something Snowflake may know and this account does not: names itself and the file to extend."""
    return SnowflakeError(
        f"The local account does not support {what}. If your work needs it, add it to lib/local_account/{where}.",
        2,
        "0A000",
    )

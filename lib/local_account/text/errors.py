"""Errors with Snowflake's codes and words, so that clients raise the same exceptions as against an account."""

import errno
from collections.abc import Iterable

FULL = {errno.ENOSPC, errno.EDQUOT}


class SnowflakeError(Exception):
    """A refusal that the client sees as ``ProgrammingError`` / ``SnowparkSQLException``."""

    def __init__(self, message: str, code: int = 100038, sqlstate: str = "42000"):
        super().__init__(message)
        self.message, self.code, self.sqlstate = message, code, sqlstate


class Missing(SnowflakeError):
    """002003: the object does not exist, in the words that Snowflake uses for its kind. IF EXISTS forgives it."""

    def __init__(self, kind: str, name: str):
        state = "42S02" if kind in ("Object", "Table", "View") else "02000"
        super().__init__(f"SQL compilation error:\n{kind} '{name}' does not exist or not authorized.", 2003, state)
        self.name = name


def compilation_error(text: str, code: int = 904, sqlstate: str = "42000") -> SnowflakeError:
    return SnowflakeError(f"SQL compilation error:\n{text}", code, sqlstate)


def demand_columns(named: Iterable[str], stored: Iterable[str]) -> None:
    """Raise 000904 for a column that the table does not have; the case of its name counts."""
    for name in named:
        if name not in stored:
            raise compilation_error(f"invalid identifier '{name}'")


def already_exists(name: object) -> SnowflakeError:
    return compilation_error(f"Object '{name}' already exists.", 2002, "42710")


def unsupported(what: str, module: str) -> SnowflakeError:
    """Something that Snowflake may know and this account does not. The message names it, and the module to extend."""
    place = f"lib/{module.replace('.', '/')}.py"
    return SnowflakeError(
        f"The local account does not support {what}. If your work needs it, add it to {place}.", 2, "0A000"
    )


def disk_full() -> SnowflakeError:
    text = "The disk of the local account's folder is full. Nothing of this statement was stored: make room, try again."
    return SnowflakeError(text, 391903, "53100")

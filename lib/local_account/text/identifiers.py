"""Snowflake identifiers: case folding, quoting, splitting and LIKE patterns."""

import re
from typing import NamedTuple

PART = r'(?:"(?:[^"]|"")+"|[A-Za-z_][\w$]*)'
DOTTED = rf"{PART}(?:\.{PART})*"


class Name(NamedTuple):
    """A fully qualified object name; objects above schemas leave parts of it empty."""

    database: str
    schema: str
    name: str

    def __str__(self) -> str:
        return ".".join(display(part) for part in self if part)


def fold(part: str) -> str:
    """What one identifier means: unquoted text is upper case, quoted text is itself."""
    part = part.strip()
    if part.startswith('"'):
        return part[1:-1].replace('""', '"')
    return part.upper()


def split(text: str) -> list[str]:
    """``db.s."x"`` -> its folded parts. A name given as a string literal is read the same way."""
    text = text.strip()
    if text.startswith("'") and text.endswith("'"):
        text = text[1:-1]
    return [fold(part) for part in re.findall(r'"(?:[^"]|"")+"|[^.\s]+', text)]


def display(part: str) -> str:
    """The identifier as Snowflake prints it: quoted only where folding would change it."""
    return part if re.fullmatch(r"[A-Z_][A-Z0-9_$]*", part) else quote(part)


def quote(*parts: str) -> str:
    """A DuckDB or Snowflake name in double quotes."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def like(pattern: str | None, name: str) -> bool:
    """SHOW ... LIKE: case-insensitive, ``%`` and ``_`` are wildcards, a backslash escapes them."""
    if pattern is None:
        return True
    tokens = re.findall(r"\\.|.", pattern.replace("\\\\", "\\"), re.S)
    wild = {"%": ".*", "_": "."}
    regex = "".join(wild[t] if t in wild else re.escape(t[-1]) for t in tokens)
    return re.fullmatch(regex, name, re.I | re.S) is not None

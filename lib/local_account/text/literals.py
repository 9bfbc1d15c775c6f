"""Text of a statement: string literals, comments, lists and options."""

import re
from collections.abc import Mapping

from local_account.text.errors import compilation_error

STRING = r"'(?:[^'\\]|\\.|'')*'"
DOLLARS = r"\$\$.*?\$\$"


def balanced(depth: int) -> str:
    """A regular expression for text in parentheses, nested up to so deep."""
    inner = rf"|{balanced(depth - 1)}" if depth else ""
    return rf"""\((?:[^()'"]++|{STRING}|"[^"]*"{inner})*+\)"""


BODY = rf"(?:{DOLLARS}|{STRING})"
LIST = balanced(12)


def literal(value: object) -> str:
    """A SQL string literal."""
    return "'" + str(value).replace("'", "''") + "'"


def strip_comments(sql: str) -> str:
    """The statement without its comments; strings, quoted names and ``$$`` bodies are left alone."""
    pattern = r"""('(?:[^'\\]|\\.|'')*'|"(?:[^"]|"")*"|\$\$.*?\$\$)|--[^\n]*|/\*.*?\*/"""
    return re.sub(pattern, lambda m: m[1] or " ", sql, flags=re.S).strip()


def unquote(text: str) -> str:
    """The value of a SQL string literal or of a ``$$`` body."""
    if text.startswith("$$"):
        return text[2:-2]
    escapes = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "'": "'"}
    return re.sub(r"\\(.)|''", lambda m: "'" if m[1] is None else escapes.get(m[1], m[1]), text[1:-1], flags=re.S)


OPTION = re.compile(rf"([\w$]+)\s*=\s*({BODY}|{LIST}|[^\s,()]+)", re.S)


def options(text: str | None, known: Mapping[str, str]) -> dict[str, str]:
    """``A = 1 B = 'x' C = (D = TRUE)`` -> {"A": "1", "B": "x", "C": "(D = TRUE)"}; keys in upper case.

    Raises for an option that is not ``known`` (name -> regular expression of its values), is given twice, or has
    another value.
    """
    found = OPTION.findall(text or "")
    rest = OPTION.sub("", text or "").strip(" ,;\n\t")
    for unknown in [rest] * bool(rest) + [key for key, _ in found if key.upper() not in known]:
        raise compilation_error(f"syntax error or unknown property near '{unknown}'", 1003)
    given: dict[str, str] = {}
    for key, value in ((key.upper(), unquote(v) if v.startswith(("'", "$$")) else v) for key, v in found):
        if key in given:
            raise compilation_error(f"duplicate property '{key}'", 1003)
        if not re.fullmatch(known[key], value, re.I | re.S):
            raise compilation_error(f"invalid value '{value}' for property '{key}'", 1008)
        given[key] = value
    return given


def free_options(text: str | None) -> dict[str, str]:
    """Options of any name and value, for a caller that checks them itself."""
    names = [key for key, _ in OPTION.findall(text or "")]
    return options(text, dict.fromkeys(map(str.upper, names), ".*"))


def is_true(given: dict[str, str], option: str) -> bool:
    return given.get(option, "FALSE").upper() == "TRUE"


def nested(text: str | None, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """The options inside one pair of parentheses."""
    inside = text.strip()[1:-1] if text else ""
    return free_options(inside) if known is None else options(inside, known)


def items(text: str | None) -> list[str]:
    """The members of a parenthesised list, unquoted: ``('a', b)`` -> ["a", "b"]."""
    found = re.findall(rf"{STRING}|[^\s,()]+", text or "")
    return [unquote(item) if item.startswith("'") else item for item in found]

"""Text of a statement: string literals, comments, lists and options."""

import re

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


def options(text: str | None, known: str | None = None) -> dict[str, str]:
    """``A = 1 B = 'x' C = (D = TRUE)`` -> {"A": "1", "B": "x", "C": "(D = TRUE)"}; keys in upper case.

    With ``known`` (names, separated by spaces) anything else in the text is refused.
    """
    option = rf"([\w$]+)\s*=\s*({BODY}|{LIST}|[^\s,()]+)"
    found = re.findall(option, text or "", re.S)
    if known is not None:
        rest = re.sub(option, "", text or "", flags=re.S).strip(" ,;\n\t")
        for unknown in [rest] * bool(rest) + [key for key, _ in found if key.upper() not in known.split()]:
            raise compilation_error(f"syntax error or unknown property near '{unknown}'", 1003)
    return {key.upper(): unquote(v) if v.startswith(("'", "$$")) else v for key, v in found}


def is_true(given: dict[str, str], option: str) -> bool:
    return given.get(option, "FALSE").upper() == "TRUE"


def nested(text: str | None) -> dict[str, str]:
    """The options inside one pair of parentheses."""
    return options(text.strip()[1:-1]) if text else {}


def items(text: str | None) -> list[str]:
    """The members of a parenthesised list, unquoted: ``('a', b)`` -> ["a", "b"]."""
    found = re.findall(rf"{STRING}|[^\s,()]+", text or "")
    return [unquote(item) if item.startswith("'") else item for item in found]

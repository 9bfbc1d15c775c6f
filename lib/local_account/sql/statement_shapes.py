"""The register of statements that are not queries, and the little grammar they are declared in.

A handler is declared by the statement's own shape::

    @statement("CREATE [OR REPLACE] STAGE [IF NOT EXISTS] <name> [<options:rest>]", "executed")
    def create_stage(session, s): ...

Words match case-insensitively. ``[...]`` is optional; a group made of words alone becomes a flag (``s.or_replace``).
``{A|B}`` is a choice, the last one of a shape readable as ``s.choice``. ``<x>`` is an object name, ``<x:kind>`` one of
PLACEHOLDERS, readable as ``s["x"]``; what was not given reads as None.
"""

import functools
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from local_account.text import identifiers
from local_account.text.errors import compilation_error

MODULES = ("bundles copy_into_stage copy_into_table experiments functions grants inference_jobs infer_schema models "
           "objects services session_control show stages tables")  # fmt: skip
STRING = r"'(?:[^'\\]|\\.|'')*'"
DOLLARS = r"\$\$.*?\$\$"


def balanced(depth: int) -> str:
    """A regular expression for text in parentheses, nested up to so deep."""
    inner = rf"|{balanced(depth - 1)}" if depth else ""
    return rf"""\((?:[^()'"]++|{STRING}|"[^"]*"{inner})*+\)"""


PLACEHOLDERS = {
    "name": identifiers.DOTTED,
    "system": r"SYSTEM\$\w+",
    "string": STRING,
    "stage": rf"(?:{STRING}|@[^\s;()]+|snow://[^\s;]+)",
    "word": r"[\w$]+",
    "number": r"\d+",
    "body": rf"(?:{DOLLARS}|{STRING})",
    "list": balanced(12),
    "rest_until_stage": rf"(?:{STRING}|.+?(?=\s+(?:'?@|'?snow://)))",
    "rest_until_options": rf"(?:{STRING}|\S+)",
    "lazy": r".+?",
    "clauses": rf"(?:{STRING}|[^'])+?(?<=\s)",
    "rest": r".*",
}
END_OF_WORD = r"""(?:\s+|(?=[('@$"=,);])|$)"""


class Matched:
    """The parts of one statement: ``s["name"]`` is the text of a placeholder, ``s.if_not_exists`` a flag."""

    def __init__(self, text: str, groups: dict[str, str | None]):
        self.text, self.groups = text, groups

    def __getitem__(self, key: str) -> str | None:
        return self.groups[key]

    def __getattr__(self, key: str) -> str | bool:
        """A flag; one that the statement's shape does not have is not set."""
        value = self.groups.get(key)
        return re.sub(r"\s+", " ", value).upper() if key == "choice" and value else value is not None

    def value(self, key: str) -> str | None:
        """A string literal or ``$$`` body without its quotes."""
        return None if self.groups.get(key) is None else unquote(self.groups[key])

    def options(self, known: str | None = None) -> dict[str, str]:
        return options(self.groups.get("options"), known)


@dataclass
class Statement:
    shape: str
    fate: str
    handler: Callable

    @functools.cached_property
    def regex(self) -> re.Pattern:
        return compile_shape(self.shape)


REGISTER: list[Statement] = []
BY_FIRST_WORD: dict[str, list[Statement]] = {}


def statement(shape: str, fate: str) -> Callable:
    """Register a handler ``(session, matched) -> Result`` for a statement of this shape; None answers the usual words.

    ``fate`` is what the documentation's table says of it: executed (it does what Snowflake does), emulated (it does
    the visible part of it), recorded (it is kept in the catalog and shown, not executed).
    """

    def register(handler: Callable) -> Callable:
        entry = Statement(shape, fate, handler)
        REGISTER.append(entry)
        for choice in re.match(r"\{(.*?)\}|(\w+)", shape)[0].strip("{}").split("|"):
            BY_FIRST_WORD.setdefault(choice.split()[0], []).append(entry)
        return handler

    return register


def load() -> list[Statement]:
    """Import every module that declares statements, once, in the order in which they are tried."""
    for module in MODULES.split():
        importlib.import_module(f"local_account.statements.{module}")
    return REGISTER


def match(text: str) -> tuple[Callable, Matched] | None:
    """The handler of a statement, or None when the engine is to execute it."""
    word = re.match(r"\w*", text)[0].upper()
    for entry in BY_FIRST_WORD.get(word, ()):
        found = entry.regex.fullmatch(text)
        if found:
            return entry.handler, Matched(text, found.groupdict())
    return None


def compile_shape(shape: str) -> re.Pattern:
    """The regular expression of a shape; its innermost options are compiled first, and stand as numbers meanwhile."""
    flags, options = set(re.findall(r"<(\w+)", shape)), []

    def option(found: re.Match) -> str:
        flag = "_".join(word.split("|")[0].lower() for word in found[1].split())
        named = re.fullmatch(r"\w+", flag) and flag not in flags
        flags.add(flag)
        options.append(f"({f'?P<{flag}>' if named else '?:'}{compile_words(found[1], options)})?")
        return f" \0{len(options) - 1}\0 "

    while "[" in shape:
        shape = re.sub(r"\[([^\[\]]*)\]", option, shape)
    *others, last = compile_words(shape, options).split("(?P<choice>")  # a shape's last choice is the one to be read
    pattern = "(?:".join(others) + "(?P<choice>" * bool(others) + last
    return re.compile(rf"\s*{pattern}\s*;?\s*", re.I | re.S)


def compile_words(text: str, options: list[str]) -> str:
    out = ""
    for token in re.findall(r"\0\d+\0|\{[^}]*\}|<[^>]*>|[(),=]|[^\s\0{}<>(),=]+", text):
        if token[0] == "\0":
            out += options[int(token.strip("\0"))]
        elif token[0] == "{":
            choices = "|".join(r"\s+".join(choice.split()) for choice in token[1:-1].split("|"))
            out += rf"(?P<choice>{choices}){END_OF_WORD}"
        elif token[0] == "<":
            key, _, kind = token[1:-1].partition(":")
            out += rf"(?P<{key}>{PLACEHOLDERS[kind or 'name']})\s*"
        elif token in "(),=":
            out += rf"{re.escape(token)}\s*"
        else:
            out += rf"(?:{'|'.join(map(re.escape, token.split('|')))}){END_OF_WORD}"
    return out


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
    option = rf"([\w$]+)\s*=\s*({PLACEHOLDERS['body']}|{PLACEHOLDERS['list']}|[^\s,()]+)"
    found = re.findall(option, text or "", re.S)
    if known is not None:
        rest = re.sub(option, "", text or "", flags=re.S).strip(" ,;\n\t")
        for unknown in [rest] * bool(rest) + [key for key, _ in found if key.upper() not in known.split()]:
            raise compilation_error(f"syntax error or unknown property near '{unknown}'", 1003)
    return {key.upper(): unquote(v) if v.startswith(("'", "$$")) else v for key, v in found}


def nested(text: str | None) -> dict[str, str]:
    """The options inside one pair of parentheses."""
    return options(text.strip()[1:-1]) if text else {}


def items(text: str | None) -> list[str]:
    """The members of a parenthesised list, unquoted: ``('a', b)`` -> ["a", "b"]."""
    found = re.findall(rf"{STRING}|[^\s,()]+", text or "")
    return [unquote(item) if item.startswith("'") else item for item in found]

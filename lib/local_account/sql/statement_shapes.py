"""Statements that are not queries, and the small grammar that describes their shape.

A handler is declared by the statement's own shape::

    @statement("CREATE [OR REPLACE] STAGE [IF NOT EXISTS] <name> [<options:rest>]", "executed")
    def create_stage(session, s): ...

Words match case-insensitively. ``[...]`` is optional; a group made of words alone becomes a flag (``s.or_replace``).
``{A|B}`` is a choice, the last one of a shape readable as ``s.choice``. ``<x>`` is an object name, ``<x:kind>`` one of
PLACEHOLDERS, readable as ``s["x"]``; what was not given reads as None.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from local_account.text import identifiers, literals

PLACEHOLDERS = {
    "name": identifiers.DOTTED,
    "system": r"SYSTEM\$\w+",
    "string": literals.STRING,
    "stage": rf"(?:{literals.STRING}|@[^\s;()]+|snow://[^\s;]+)",
    "word": r"[\w$]+",
    "number": r"\d+",
    "body": literals.BODY,
    "list": literals.LIST,
    "rest_until_stage": rf"(?:{literals.STRING}|.+?(?=\s+(?:'?@|'?snow://)))",
    "rest_until_options": rf"(?:{literals.STRING}|\S+)",
    "lazy": r".+?",
    "clauses": rf"(?:{literals.STRING}|[^'])+?(?<=\s)",
    "rest": r".*",
}
END_OF_WORD = r"""(?:\s+|(?=[('@$"=,);])|$)"""


class Matched:
    """The parts of one statement: ``s["name"]`` is the text of a placeholder, ``s.if_not_exists`` a flag."""

    def __init__(self, text: str, groups: dict[str, str | None], known: Mapping | None = None):
        self.text, self.groups, self.known = text, groups, known or {}

    def __getitem__(self, key: str) -> str | None:
        return self.groups[key]

    def __getattr__(self, key: str) -> str | bool:
        """A flag; one that the statement's shape does not have is not set."""
        value = self.groups.get(key)
        return re.sub(r"\s+", " ", value).upper() if key == "choice" and value else value is not None

    def value(self, key: str) -> str | None:
        """A string literal or ``$$`` body without its quotes."""
        return None if self.groups.get(key) is None else literals.unquote(self.groups[key])

    def options(self) -> dict[str, str]:
        """The options given, checked against those that the statement knows."""
        known = self.known.get(self.choice, {}) if self.choice in self.known else self.known
        return literals.options(self.groups.get("options"), known)


@dataclass
class Statement:
    """What answers the statements of one shape.

    ``handler`` takes the session and the parts of the statement; None as its result stands for the usual words.
    ``support`` is what the documentation says of the statement: executed (it does what Snowflake does), emulated (it
    does the visible part), recorded (it is kept in the catalog and shown, and has no other effect).
    """

    shape: str
    handler: Callable
    support: str = "executed"
    options: Mapping = field(default_factory=dict)
    """name -> values of the statement's options, as in statements/options.py; or the choice -> such a table"""

    @functools.cached_property
    def regex(self) -> re.Pattern:
        return compile_shape(self.shape)


class StatementTable:
    """Finds the handler of a statement: the first entry whose shape fits."""

    def __init__(self, entries: list[Statement]):
        self.entries = entries
        self.by_first_word: dict[str, list[Statement]] = {}
        for entry in entries:
            for choice in re.match(r"\{(.*?)\}|(\w+)", entry.shape)[0].strip("{}").split("|"):
                self.by_first_word.setdefault(choice.split()[0], []).append(entry)

    def match(self, text: str) -> tuple[Callable, Matched] | None:
        """The handler of a statement and the statement's parts, or None when the engine is to execute it."""
        word = re.match(r"\w*", text)[0].upper()
        for entry in self.by_first_word.get(word, ()):
            found = entry.regex.fullmatch(text)
            if found:
                return entry.handler, Matched(text, found.groupdict(), entry.options)
        return None


def compile_shape(shape: str) -> re.Pattern:
    """The regular expression of a shape. The innermost options are compiled first; numbers replace them meanwhile."""
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

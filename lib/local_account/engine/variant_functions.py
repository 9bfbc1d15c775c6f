"""Functions over VARIANT, OBJECT and ARRAY, in Python: the engine's own differ in order, in NULLs and in numbers.

A value is what ``read`` makes of JSON text. SQL NULL never reaches a function, unless it is in TAKES_NULL: a NULL
argument makes the answer NULL. ``None`` is the JSON null.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator

import pyarrow as pa

from local_account.text.errors import SnowflakeError, unsupported

REFUSED = "the local account does not support"


class Real(float):
    """A number with a point or an exponent. It keeps its spelling, which tells FLOAT from NUMBER."""

    spelled: str

    def __new__(cls, spelled: str) -> "Real":
        made = super().__new__(cls, spelled)
        made.spelled = spelled
        return made


NULL = object()
"""Stands for SQL NULL in the arguments and answers of functions."""


def read(text: str) -> object:
    try:
        return json.loads(text, parse_float=number, object_pairs_hook=unique)
    except json.JSONDecodeError as error:  # the engine accepts a comma before a bracket; in Snowflake it is undefined
        raise unsupported(f"JSON with a comma too many: {text[:100]}", __name__) from error


def number(spelled: str) -> int | Real:
    """A NUMBER has no zeros at its end."""
    bare = spelled if "e" in spelled.lower() else spelled.rstrip("0").rstrip(".")
    return int(bare) if bare.lstrip("-").isdigit() else Real(bare)


def unique(pairs: list[tuple[str, object]]) -> dict:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise SnowflakeError(f"Duplicate field key in an object with the keys {', '.join(made)}", 100069, "22P02")
    return made


def write(value: object, indent: str = "", step: str = "") -> str:
    """JSON text as Snowflake prints it: keys sorted, floating point in scientific notation."""
    comma, colon, end = (",\n", ": ", "\n") if step else (",", ":", "")
    inner = indent + step
    if isinstance(value, dict) and value:
        members = [f"{inner}{write(key)}{colon}{write(value[key], inner, step)}" for key in sorted(value)]
        return "{" + end + comma.join(members) + end + indent + "}"
    if isinstance(value, list) and value:
        return "[" + end + comma.join(inner + write(item, inner, step) for item in value) + end + indent + "]"
    if isinstance(value, Real):
        return f"{value:.15e}" if "e" in value.spelled.lower() else value.spelled
    return json.dumps(value, ensure_ascii=False)


def pretty(text: str | None) -> str | None:
    """How the clients show a VARIANT: two spaces of indent, one item a line."""
    return None if text is None else write(read(text), step="  ")


# ---------------------------------------------------------------- types

TYPES = {dict: "OBJECT", list: "ARRAY", str: "VARCHAR", bool: "BOOLEAN", int: "INTEGER", type(None): "NULL_VALUE"}


def type_of(value: object) -> str:
    if isinstance(value, Real):
        return "DOUBLE" if "e" in value.spelled.lower() else "DECIMAL"
    return TYPES[type(value)]


def as_text(value: object) -> str:
    """A value cast to VARCHAR."""
    if isinstance(value, str):
        return value
    return f"{value:.10g}" if type_of(value) == "DOUBLE" else write(value)


def to_array(value: object) -> object:
    return NULL if value is None else value if isinstance(value, list) else [value]


def to_object(value: object) -> object:
    if not isinstance(value, (dict, type(None))):
        raise ValueError(f"Failed to cast variant value {write(value)} to OBJECT")
    return NULL if value is None else value


# ---------------------------------------------------------------- arrays


def key_of(value: object) -> str:
    """Equal for equal values: 1 and true differ, 1 and 1.0 do not."""
    return write(plain(value))


def plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [plain(member) for member in value]
    return (int(value) if value.is_integer() else float(value)) if isinstance(value, Real) else value


def array(value: object) -> list:
    if not isinstance(value, list):
        raise ValueError(f"Invalid argument: {write(value)} is not an ARRAY")
    return value


def position(value: object, items: list) -> object:
    keys = [key_of(item) for item in array(items)]
    return keys.index(key_of(value)) if key_of(value) in keys else NULL


def construct(*items: object) -> list:
    if NULL in items:
        raise ValueError(
            f"{REFUSED} an SQL NULL inside an ARRAY (Snowflake prints it as undefined); ARRAY_CONSTRUCT_COMPACT leaves "
            "NULLs out, PARSE_JSON('null') is a null"
        )
    return list(items)


# ---------------------------------------------------------------- objects


def construct_object(*pairs: object, keep_null: bool = False) -> dict:
    if len(pairs) % 2:
        raise ValueError("OBJECT_CONSTRUCT takes pairs of a key and a value")
    found = [(key, value) for key, value in zip(pairs[::2], pairs[1::2], strict=True) if key is not NULL]
    return unique([(key, None if value is NULL else value) for key, value in found if keep_null or value is not NULL])


def get(thing: object, key: object) -> object:
    if isinstance(thing, list) and isinstance(key, int):
        return thing[key] if 0 <= key < len(thing) else NULL
    return thing.get(key, NULL) if isinstance(thing, dict) and isinstance(key, str) else NULL


PATH_STEP = re.compile(r"""\.?([A-Za-z_]\w*)|\.?"([^"]*)"|\[(\d+)\]|\[['"]([^'"]*)['"]\]|(?P<bad>.)""")


def get_path(thing: object, path: str) -> object:
    for step in PATH_STEP.finditer(path):
        if step["bad"]:
            raise ValueError(f"{REFUSED} the path {path!r}")
        key = int(step[3]) if step[3] else next(part for part in (step[1], step[2], step[4]) if part is not None)
        thing = get(thing, key)
        if thing is NULL:
            return NULL
    return thing


# ---------------------------------------------------------------- rows

SEQUENCES: dict[str, itertools.count] = {}  # statement -> the numbers of its input records


def numbered(statement: str, rows: list[dict]) -> list[dict]:
    """The rows of one input record with its number, SEQ."""
    while len(SEQUENCES) > 100:
        SEQUENCES.pop(next(iter(SEQUENCES)), None)
    number = next(SEQUENCES.setdefault(statement, itertools.count(1)))
    return [{**row, "SEQ": number} for row in rows]


def flatten(statement: str, thing: object, path: str, outer: bool, recursive: bool, mode: str) -> list:
    """The rows of FLATTEN. VALUE and THIS are JSON text, for the engine's JSON keeps no spelling of numbers."""
    if path and thing is not NULL:
        thing = get_path(thing, path)
    rows = list(members(thing, path, recursive, mode.upper()))
    if outer and not rows:
        rows = [{"PATH": path} | ({} if thing is NULL else {"THIS": thing})]
    return numbered(statement, [{**row, **{k: write(row[k]) for k in ("VALUE", "THIS") if k in row}} for row in rows])


def members(thing: object, path: str, recursive: bool, mode: str) -> Iterator[dict]:
    if isinstance(thing, list) and mode in ("BOTH", "ARRAY"):
        found = [(None, i, f"{path}[{i}]", value) for i, value in enumerate(thing)]
    elif isinstance(thing, dict) and mode in ("BOTH", "OBJECT"):
        found = [(k, None, joined_path(path, k), thing[k]) for k in sorted(thing)]
    else:
        return
    for key, index, at, value in found:
        yield {"KEY": key, "PATH": at, "INDEX": index, "VALUE": value, "THIS": thing}
        if recursive:
            yield from members(value, at, recursive, mode)


def joined_path(path: str, key: str) -> str:
    step = key if re.fullmatch(r"[A-Za-z_]\w*", key) else f"['{key}']"
    return f"{path}.{step}" if path and not step.startswith("[") else path + step


def split(text: str, separator: str) -> list:
    return text.split(separator) if separator else [text]


# ---------------------------------------------------------------- the table

FUNCTIONS: dict[str, tuple[Callable, str]] = {
    "ARRAY_APPEND": (lambda a, value: NULL if a is NULL else [*array(a), *construct(value)], "ARRAY"),
    "ARRAY_CAT": (lambda a, b: array(a) + array(b), "ARRAY"),
    "ARRAY_COMPACT": (lambda a: [item for item in array(a) if item is not None], "ARRAY"),
    "ARRAY_CONSTRUCT": (construct, "ARRAY"),
    "ARRAY_CONSTRUCT_COMPACT": (lambda *a: [item for item in a if item is not NULL], "ARRAY"),
    "ARRAY_CONTAINS": (lambda value, a: position(value, a) is not NULL, "BOOLEAN"),
    "ARRAY_DISTINCT": (lambda a: list({key_of(v): v for v in array(a)}.values()), "ARRAY"),
    "ARRAY_POSITION": (position, "BIGINT"),
    "ARRAY_SIZE": (lambda a: len(a) if isinstance(a, list) else NULL, "BIGINT"),
    "ARRAY_SLICE": (lambda a, start, end: array(a)[start:end], "ARRAY"),
    "ARRAY_TO_STRING": (lambda a, by: by.join("" if v is None else as_text(v) for v in array(a)), "TEXT"),
    "GET": (get, "VARIANT"),
    "GET_PATH": (get_path, "VARIANT"),
    **{f"IS_{kind}": (lambda value, kind=kind: type_of(value) == kind, "BOOLEAN") for kind in TYPES.values()},
    "OBJECT_CONSTRUCT": (construct_object, "OBJECT"),
    "OBJECT_CONSTRUCT_KEEP_NULL": (lambda *pairs: construct_object(*pairs, keep_null=True), "OBJECT"),
    "OBJECT_KEYS": (lambda thing: sorted(thing) if isinstance(thing, dict) else NULL, "ARRAY"),
    "SPLIT": (split, "ARRAY"),
    "STRIP_NULL_VALUE": (lambda value: NULL if value is None else value, "VARIANT"),
    "TO_ARRAY": (to_array, "ARRAY"),
    "TO_JSON": (write, "TEXT"),
    "TO_OBJECT": (to_object, "OBJECT"),
    "TYPEOF": (type_of, "TEXT"),
    # called by the rewrites of FLATTEN, comparisons and casts to text, and by no query
    ".FLATTEN": (flatten, "ARRAY"),
    ".KEY": (key_of, "TEXT"),
    ".TEXT": (lambda value: NULL if value is None else as_text(value), "TEXT"),
}
TAKES_NULL = {"ARRAY_APPEND", "ARRAY_CONSTRUCT", "ARRAY_CONSTRUCT_COMPACT", "OBJECT_CONSTRUCT",
              "OBJECT_CONSTRUCT_KEEP_NULL", ".FLATTEN"}  # fmt: skip


def vectorized(name: str) -> Callable[[pa.Table], list[str | None]]:
    """The function over Arrow columns of JSON text, as the engine calls it; the first column is the call's key."""
    function, takes_null, is_text = FUNCTIONS[name][0], name in TAKES_NULL, FUNCTIONS[name][1] == "TEXT"

    def answer(row: tuple) -> str | None:
        if not takes_null and None in row:
            return None
        value = function(*(NULL if cell is None else read(cell) for cell in row))
        if value is NULL:
            return None
        return value if is_text and isinstance(value, str) else write(value)

    return lambda table: [answer(row) for row in zip(*(c.to_pylist() for c in table.columns[1:]), strict=True)]

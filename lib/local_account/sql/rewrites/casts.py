"""Rewrites of casts and conversions: CAST, TO_..., and values as text."""

import re

from sqlglot import exp

from local_account.engine.types import (
    INTEGER_TYPES,
    NUMBER_TYPES,
    REAL_TYPES,
    TEXT_TYPES,
    TIME_TYPES,
    VARIANT_TYPES,
    T,
    engine_type,
    is_variant,
    kind_of,
)
from local_account.sql.rewrites.nodes import as_text, call, cast, text, variant
from local_account.sql.rewrites.variants import json_call
from local_account.text.errors import unsupported


def rewrite_cast(node: exp.Cast) -> exp.Expression:
    target, value = node.to, node.this
    if target.this in VARIANT_TYPES:
        if target.this in (T.ARRAY, T.OBJECT) and kind_of(value) not in (target.this, T.NULL):
            return json_call(f"TO_{target.this.value}", [value])
        made = variant(value)
        made.type = exp.DataType(this=target.this if target.this in (T.ARRAY, T.OBJECT) else T.VARIANT)
        return made
    if target.this in TEXT_TYPES:
        if isinstance(value, exp.Null):
            return cast(value, "VARCHAR", T.TEXT)
        made = to_text(value)
        one = exp.Literal.number(1) if target.this in (T.CHAR, T.NCHAR) else None  # CHAR alone is CHAR(1)
        size = target.expressions[0].this if target.expressions else one
        if size is None or (value.is_string and len(value.this) <= int(size.name)):
            return made
        return call("left" if kind_of(value) in TEXT_TYPES else "sf_within", made, size, kind=T.TEXT)
    if is_variant(value):
        to_number = target.this in NUMBER_TYPES
        value = call("sf_numeric", value, kind=T.TEXT) if to_number else as_text(value)
        value = call("sf_when", value, kind=T.TEXT) if target.this in TIME_TYPES else value
    elif kind_of(value) in REAL_TYPES | {T.DECIMAL, None} and target.this in INTEGER_TYPES:
        value = call("sf_whole", value)  # the engine's own cast rounds floating point half to even
    elif kind_of(value) in TEXT_TYPES and target.this in NUMBER_TYPES:
        value = call("sf_numeral", value, kind=T.TEXT)
    elif kind_of(value) in TEXT_TYPES and target.this in TIME_TYPES:
        value = call("sf_when", value, kind=T.TEXT)
    if target.this in (T.BINARY, T.VARBINARY) and kind_of(value) in TEXT_TYPES:
        return call("unhex", value, kind=T.BINARY)
    if target.this == T.BOOLEAN and kind_of(value) in TEXT_TYPES and not isinstance(node, exp.TryCast):
        return call("sf_to_boolean", value, kind=T.BOOLEAN)
    made = type(node)(this=value, to=engine_type(target))
    made.type = target
    return made


def to_text(value: exp.Expression) -> exp.Expression:
    """CAST(... AS VARCHAR) in Snowflake's default output formats."""
    kind = kind_of(value)
    if kind in VARIANT_TYPES:
        return as_text(value)
    if kind in (T.BINARY, T.VARBINARY):
        return call("hex", value, kind=T.TEXT)
    return value if kind in TEXT_TYPES else call("sf_to_text", value, kind=T.TEXT)


def rewrite_to_binary(node: exp.Expression) -> exp.Expression:
    how = node.args.get("format")
    makers = {"HEX": "unhex", "BASE64": "from_base64", "UTF-8": "encode", "UTF8": "encode"}
    name = how.name.upper() if how is not None else "HEX"
    if name not in makers or node.args.get("safe"):
        raise unsupported(f"{'TRY_' * bool(node.args.get('safe'))}TO_BINARY with the format {name}", __name__)
    return call(makers[name], node.this, kind=T.BINARY)


def rewrite_to_boolean(node: exp.Expression) -> exp.Expression:
    value = as_text(node.this)
    if kind_of(value) in TEXT_TYPES:
        return call("sf_try_boolean" if node.args.get("safe") else "sf_to_boolean", value, kind=T.BOOLEAN)
    return cast(value, "BOOLEAN", T.BOOLEAN)


def rewrite_to_number(node: exp.Expression) -> exp.Expression:
    sizes = [node.args[key].name for key in ("precision", "scale") if node.args.get(key)]
    target = exp.DataType.build(f"DECIMAL({', '.join([*(sizes or ['38']), '0'][:2])})")
    return rewrite_cast((exp.TryCast if node.args.get("safe") else exp.Cast)(this=node.this, to=target))


TIME_FORMATS = [
    ("YYYY", "%Y"), ("YY", "%y"), ("MMMM", "%B"), ("MON", "%b"), ("MM", "%m"), ("DD", "%d"), ("DY", "%a"),
    ("HH24", "%H"), ("HH12", "%I"), ("MI", "%M"), ("SS", "%S"), ("FF3", "%g"), ("FF6", "%f"), ("AM", "%p"),
    ("PM", "%p"),
]  # fmt: skip


def time_format(snowflake: str) -> str:
    """``YYYY-MM-DD"T"HH24:MI:SS`` -> ``%Y-%m-%dT%H:%M:%S``."""
    out, rest = "", snowflake
    while rest:
        quoted = re.match(r'"([^"]*)"', rest)
        code = next((code for code in TIME_FORMATS if rest.upper().startswith(code[0])), None)
        if quoted:
            out, rest = out + quoted[1], rest[quoted.end() :]
        elif code and not rest.upper().startswith("DDD"):
            out, rest = out + code[1], rest[len(code[0]) :]
        elif rest[0].isalpha() and rest[0] != "T":
            raise unsupported(f"the time format {snowflake!r}", __name__)
        else:
            out, rest = out + rest[0].replace("%", "%%"), rest[1:]
    return out


def rewrite_to_char(node: exp.Expression) -> exp.Expression:
    how = node.args.get("format")
    if how is None:
        null = is_variant(node.this)  # a JSON null, which a cast makes NULL, is text here
        return call("sf_to_char", node.this, kind=T.TEXT) if null else to_text(node.this)
    if kind_of(node.this) not in TIME_TYPES:
        raise unsupported("TO_CHAR with a format for anything but dates and timestamps", __name__)
    return call("strftime", node.this, text(time_format(how.name)), kind=T.TEXT)


def rewrite_type(node: exp.DataType) -> exp.Expression:
    """Types in column definitions (casts have their own rule)."""
    return node if isinstance(node.parent, (exp.Cast, exp.TryCast)) else engine_type(node)


RULES = {
    **dict.fromkeys((exp.Cast, exp.TryCast), rewrite_cast),
    exp.ToBinary: rewrite_to_binary,
    exp.ToBoolean: rewrite_to_boolean,
    exp.ToNumber: rewrite_to_number,
    exp.ToChar: rewrite_to_char,
    exp.DataType: rewrite_type,
}  # fmt: skip

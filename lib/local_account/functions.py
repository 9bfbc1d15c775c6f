"""The allow-list of functions, and the rewrites that give them Snowflake's answers on DuckDB.

An expression class that is neither in ``PLAIN`` nor has a rule here is refused by name. ``PLAIN`` are those which
sqlglot's own translation answers as Snowflake does; tests/local_account/test_functions.py holds their documented
answers. To add one: write its documented cases there first, then list it here or write a rule.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from .errors import unsupported
from .types import (
    INTEGER_TYPES,
    REAL_TYPES,
    TEXT_TYPES,
    VARIANT_TYPES,
    T,
    engine_type,
    exact_scale,
    is_variant,
    kind_of,
)

TRANSLATED_WELL = """
    Abs Acos AddMonths And Any AnyValue ApproxDistinct ApproxQuantile ArgMax ArgMin Ascii Asin Atan Atan2
    Base64DecodeString Base64Encode Between BitwiseAnd BitwiseAndAgg BitwiseNot BitwiseOr BitwiseXor Case Ceil Chr
    Coalesce Concat ConcatWs Contains ConvertTimezone Corr Cos Count CountIf CovarPop CovarSamp CumeDist
    CurrentDate CurrentTime CurrentTimestamp DateFromParts DayOfMonth DayOfWeek DayOfWeekIso DayOfYear Dayname
    DecodeCase Degrees DenseRank Div EndsWith EqualNull Exists Exp Extract Factorial FirstValue Floor Greatest
    GroupConcat Hex Hour ILike ILikeAny If In Initcap Is IsInf IsNan IsNullValue Lag LastDay LastValue Lead Least
    Left Length Levenshtein Like LikeAny Ln Log LogicalAnd LogicalOr Lower MD5 Max Median Min Minute Mod Mode
    Month Monthname NthValue Ntile Nullif Nvl2 Or Pad PercentRank PercentileCont PercentileDisc Pi Pow Quarter
    Radians Rand Rank RegexpCount RegexpExtract RegexpInstr RegexpLike RegexpReplace Repeat Replace Reverse Right
    Round RowNumber SHA Second Sign Sin Space SplitPart Sqrt StartsWith Stddev StddevPop StddevSamp StrPosition
    Strtok Stuff Substring Sum Tan TimeSlice TimestampFromParts ToBase64 ToDouble ToNumber Translate Trim Trunc
    TsOrDsToDate Unhex UnixToTime Upper Uuid Variance VariancePop Week WeekOfYear WidthBucket Xor Year
"""
PLAIN = set(TRANSLATED_WELL.split())

RULES: dict[type[exp.Expression], Callable] = {}


def rule(*classes: type[exp.Expression] | str) -> Callable:
    """Register a rewrite ``node -> node`` for expression classes; children are already rewritten when it runs."""

    def register(function: Callable) -> Callable:
        for cls in classes:
            RULES[getattr(exp, cls) if isinstance(cls, str) else cls] = function
        return function

    return register


def call(name: str, *args: exp.Expression, kind: T | str | None = None) -> exp.Expression:
    """An engine function or macro; ``kind`` is the type of its value, for the rewrites above it."""
    node = exp.Anonymous(this=name, expressions=list(args))
    if kind is not None:
        node.type = exp.DataType(this=kind) if isinstance(kind, T) else exp.DataType.build(kind)
    return node


def cast(node: exp.Expression, engine: str, kind: T | None = None) -> exp.Expression:
    """A cast in the engine's own terms, not to be rewritten again."""
    made = exp.Cast(this=node, to=exp.DataType.build(engine, dialect="duckdb"))
    made.type = exp.DataType(this=kind) if kind else made.to
    return made


def text(value: str) -> exp.Literal:
    made = exp.Literal.string(value)
    made.type = exp.DataType(this=T.TEXT)
    return made


def variant(node: exp.Expression) -> exp.Expression:
    """Any value as VARIANT; SQL NULL stays SQL NULL."""
    return node if is_variant(node) else call("sf_variant", node, kind=T.VARIANT)


def as_text(node: exp.Expression) -> exp.Expression:
    return call("sf_text", node, kind=T.TEXT) if is_variant(node) else node


def check(node: exp.Expression) -> None:
    """Raise unless the function is one whose answers are known to be Snowflake's."""
    if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)):
        if node.name.upper() not in ANONYMOUS:
            raise unsupported(f"the function {node.name.upper()}", "functions.py")
    elif isinstance(node, exp.Func) and type(node).__name__ not in PLAIN and type(node) not in RULES:
        raise unsupported(f"the function {node.sql_name()}", "functions.py")


# ---------------------------------------------------------------- casts


@rule(exp.Cast, exp.TryCast)
def rewrite_cast(node: exp.Cast) -> exp.Expression:
    target, value = node.to, node.this
    if target.this in VARIANT_TYPES:
        made = variant(value)
        made.type = exp.DataType(this=T.VARIANT)
        return made
    if target.this in TEXT_TYPES:
        made = to_text(value)
        size = target.expressions[0].this if target.expressions else None
        return call("left", made, size, kind=T.TEXT) if size is not None else made
    if is_variant(value):
        value = as_text(value)
    elif kind_of(value) in REAL_TYPES and target.this in INTEGER_TYPES:
        value = call("round", value)  # the engine's own cast rounds half to even
    if target.this in (T.BINARY, T.VARBINARY) and kind_of(value) in TEXT_TYPES:
        return call("unhex", value, kind=T.BINARY)
    if target.this == T.BOOLEAN and kind_of(value) in TEXT_TYPES and not isinstance(node, exp.TryCast):
        return call("sf_to_boolean", value, kind=T.BOOLEAN)
    engine = engine_type(target)
    if engine is None:
        raise unsupported(f"the type {target.sql('snowflake')}", "types.py")
    made = type(node)(this=value, to=engine)
    made.type = target
    return made


def to_text(value: exp.Expression) -> exp.Expression:
    """CAST(... AS VARCHAR) in Snowflake's default output formats."""
    macros = {
        T.TIMESTAMPNTZ: "sf_ntz_text",
        T.TIMESTAMP: "sf_ntz_text",
        T.TIMESTAMPLTZ: "sf_ltz_text",
        T.TIMESTAMPTZ: "sf_ltz_text",
        T.BINARY: "hex",
        T.VARBINARY: "hex",
    }
    kind = kind_of(value)
    if kind in VARIANT_TYPES:
        return as_text(value)
    if kind in REAL_TYPES and exact_scale(value) is None:
        return call("sf_float_text", value, kind=T.TEXT)
    return call(macros[kind], value, kind=T.TEXT) if kind in macros else cast(value, "VARCHAR", T.TEXT)


@rule("ToVariant")
def rewrite_to_variant(node: exp.Expression) -> exp.Expression:
    return variant(node.this)


@rule("ToBinary")
def rewrite_to_binary(node: exp.Expression) -> exp.Expression:
    how = node.args.get("format")
    makers = {"HEX": "unhex", "BASE64": "from_base64", "UTF-8": "encode", "UTF8": "encode"}
    name = how.name.upper() if how is not None else "HEX"
    if name not in makers:
        raise unsupported(f"TO_BINARY with the format {name}", "functions.py")
    return call(makers[name], node.this, kind=T.BINARY)


@rule("ToBoolean")
def rewrite_to_boolean(node: exp.Expression) -> exp.Expression:
    value = as_text(node.this)
    if kind_of(value) in TEXT_TYPES:
        return call("sf_to_boolean", value, kind=T.BOOLEAN)
    return cast(value, "BOOLEAN", T.BOOLEAN)


TIME_FORMATS = [
    ("YYYY", "%Y"), ("YY", "%y"), ("MMMM", "%B"), ("MON", "%b"), ("MM", "%m"), ("DD", "%d"), ("DY", "%a"),
    ("HH24", "%H"), ("HH12", "%I"), ("MI", "%M"), ("SS", "%S"), ("FF3", "%g"), ("FF6", "%f"), ("AM", "%p"),
    ("PM", "%p"),
]  # fmt: skip


def time_format(snowflake: str) -> str:
    """``YYYY-MM-DD HH24:MI:SS`` -> ``%Y-%m-%d %H:%M:%S``."""
    out, rest = "", snowflake
    while rest:
        for code, directive in TIME_FORMATS:
            if rest.upper().startswith(code):
                out, rest = out + directive, rest[len(code) :]
                break
        else:
            if rest[0].isalpha() and rest[0] != "T":
                raise unsupported(f"the time format {snowflake!r}", "functions.py")
            out, rest = out + rest[0], rest[1:]
    return out


@rule("TimeToStr", "StrToTime")
def rewrite_time_text(node: exp.Expression) -> exp.Expression:
    if "%f" in node.args["format"].name:
        raise unsupported("fractions of a second in a time format", "functions.py")
    return node


@rule("ToChar")
def rewrite_to_char(node: exp.Expression) -> exp.Expression:
    how = node.args.get("format")
    if how is None:
        return to_text(node.this)
    if kind_of(node.this) not in {T.DATE, T.TIMESTAMP, T.TIMESTAMPNTZ, T.TIMESTAMPLTZ, T.TIMESTAMPTZ}:
        raise unsupported("TO_CHAR with a number format", "functions.py")
    return call("strftime", node.this, text(time_format(how.name)), kind=T.TEXT)


# ---------------------------------------------------------------- numbers


@rule(exp.Div)
def rewrite_div(node: exp.Div) -> exp.Expression:
    left, right = scalar(node.this, node.expression), scalar(node.expression, node.this)
    scales = exact_scale(left), exact_scale(right)
    made = call("sf_div", left, right, kind=T.DOUBLE)
    return made if None in scales else number(made, scales[0])


def number(node: exp.Expression, scale: int) -> exp.Expression:
    """A quotient or a mean as NUMBER: six digits more than its input, twelve at most."""
    return cast(node, f"DECIMAL(38, {max(scale, min(scale + 6, 12))})")


def scalar(node: exp.Expression, beside: exp.Expression) -> exp.Expression:
    """A VARIANT operand as the type of the operand beside it; anything else as it is."""
    if not is_variant(node) or is_variant(beside):
        return node
    numeric = kind_of(beside) in INTEGER_TYPES | REAL_TYPES | {T.DECIMAL}
    return call("sf_number", node, kind=T.DOUBLE) if numeric else as_text(node)


@rule(exp.Add, exp.Sub, exp.Mul, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Mod)
def rewrite_operator(node: exp.Binary) -> exp.Expression:
    left, right = scalar(node.this, node.expression), scalar(node.expression, node.this)
    arithmetic = isinstance(node, (exp.Add, exp.Sub, exp.Mul))
    if arithmetic and is_variant(left) and is_variant(right):
        left, right = (call("sf_number", side, kind=T.DOUBLE) for side in (left, right))
    node.set("this", left)
    node.set("expression", right)
    return node


@rule(exp.DPipe, exp.Like, exp.ILike, exp.Upper, exp.Lower, exp.Length, exp.Trim, exp.Substring, exp.Replace)
def rewrite_text_function(node: exp.Expression) -> exp.Expression:
    for key in ("this", "expression"):
        if isinstance(node.args.get(key), exp.Expression):
            node.set(key, as_text(node.args[key]))
    return node


@rule(exp.Avg)
def rewrite_avg(node: exp.Avg) -> exp.Expression:
    return node


def wrap_aggregates(tree: exp.Expression) -> None:
    """Give aggregates their Snowflake type. The cast goes around the whole of ``AVG(x) FILTER (...) OVER (...)``."""
    for node in list(tree.find_all(exp.Avg, exp.ArrayAgg)):
        if node.meta.get("engine"):
            continue
        top = node
        while isinstance(top.parent, (exp.Window, exp.Filter, exp.WithinGroup)) and top.parent.this is top:
            top = top.parent
        if isinstance(node, exp.Avg):
            scale = exact_scale(node.this)
            if scale is not None:
                place(top, lambda inner, s=scale: engine_node(number(inner, s)))
        else:
            place(top, lambda inner: engine_node(call("sf_array_agg", inner, kind=T.ARRAY)))


def place(node: exp.Expression, wrap: Callable) -> None:
    marker = exp.Placeholder()
    node.replace(marker)
    marker.replace(wrap(node))


def engine_node(node: exp.Expression) -> exp.Expression:
    node.meta["engine"] = True
    return node


@rule("SHA2")
def rewrite_sha2(node: exp.Expression) -> exp.Expression:
    length = node.args.get("length")
    if length is not None and length.name != "256":
        raise unsupported("SHA2 of another length than 256", "functions.py")
    return node


# ---------------------------------------------------------------- dates


@rule("DateAdd", "TsOrDsAdd", "TimestampAdd", "DateSub", "TimestampSub")
def rewrite_date_add(node: exp.Expression) -> exp.Expression:
    if kind_of(node.this) in TEXT_TYPES:
        node.set("this", cast(node.this, "TIMESTAMP", T.TIMESTAMPNTZ))
        return node
    unit = str(node.args.get("unit") or "DAY").upper().strip("'")
    if kind_of(node.this) == T.DATE and unit in ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR"):
        return cast(node, "DATE", T.DATE)
    return node


@rule("DateDiff", "TimestampDiff", "TsOrDsDiff", "TimestampTrunc", "DateTrunc")
def rewrite_date_part(node: exp.Expression) -> exp.Expression:
    for key in ("this", "expression"):
        value = node.args.get(key)
        if isinstance(value, exp.Expression) and kind_of(value) in TEXT_TYPES:
            node.set(key, cast(value, "TIMESTAMP", T.TIMESTAMPNTZ))
    return node


# ---------------------------------------------------------------- functions that sqlglot has no class for


def to_timestamp(target: T) -> Callable:
    """TO_TIMESTAMP_NTZ and its kin: a number counts seconds, anything else is cast."""

    def convert(node: exp.Anonymous) -> exp.Expression:
        value, *how = node.expressions
        if how:
            raise unsupported(f"{node.name.upper()} with a format or scale", "functions.py")
        if exact_scale(value) is not None or kind_of(value) in REAL_TYPES:
            value = call("sf_to_timestamp", value, kind=T.TIMESTAMPNTZ)
        return rewrite_cast(exp.Cast(this=value, to=exp.DataType(this=target)))

    return convert


ANONYMOUS: dict[str, Callable] = {
    "TO_TIMESTAMP_NTZ": to_timestamp(T.TIMESTAMPNTZ),
    "TO_TIMESTAMP_LTZ": to_timestamp(T.TIMESTAMPLTZ),
    "TO_TIMESTAMP_TZ": to_timestamp(T.TIMESTAMPLTZ),
    "HAVERSINE": lambda node: call("sf_haversine", *node.expressions, kind=T.DOUBLE),
    "AS_VARCHAR": lambda node: as_text(node.expressions[0]),
    "AS_INTEGER": lambda node: cast(as_text(node.expressions[0]), "BIGINT", T.BIGINT),
    "TO_OBJECT": lambda node: variant(node.expressions[0]),
    "TO_ARRAY": lambda node: variant(node.expressions[0]),
}


@rule(exp.Anonymous)
def rewrite_anonymous(node: exp.Anonymous) -> exp.Expression:
    return ANONYMOUS[node.name.upper()](node)


@rule(exp.DataType)
def rewrite_type(node: exp.DataType) -> exp.Expression:
    """Types in column definitions (casts have their own rule)."""
    if isinstance(node.parent, (exp.Cast, exp.TryCast)):
        return node
    engine = engine_type(node)
    if engine is None:
        raise unsupported(f"the type {node.sql('snowflake')}", "types.py")
    return engine

"""The allow-list of functions, and the rewrites that give them Snowflake's answers on DuckDB.

An expression class that is neither in ``PLAIN`` nor has a rule is refused by name, and so is what ``REFUSALS`` says.
``PLAIN`` are those which sqlglot's own translation answers as Snowflake does; tests/local_account/documented.py holds
documented answers of every one, and a test fails for a name without. To add one: write its cases there first, then
list it here or write a rule. Functions over VARIANT, OBJECT and ARRAY are in json_functions.py.
"""

import re
from collections.abc import Callable

from sqlglot import exp

from .conversions import rewrite_cast, to_text
from .errors import unsupported
from .json_functions import FUNCTIONS
from .rules import RULES, as_text, call, cast, engine_node, rule, text
from .scales import DEVIATIONS, REAL, UNKNOWN, branches, is_framed
from .semistructured import json_call
from .types import INTEGER_TYPES, REAL_TYPES, TEXT_TYPES, TIME_TYPES, VARIANT_TYPES, T, engine_type, is_variant, kind_of

TRANSLATED_WELL = """
    Abs Acos AddMonths And Any AnyValue ApproxDistinct Ascii Asin Atan Atan2 Avg
    Base64DecodeString Base64Encode BitwiseAnd BitwiseAndAgg BitwiseLeftShift BitwiseNot BitwiseOr BitwiseOrAgg
    BitwiseRightShift BitwiseXor BitwiseXorAgg Coalesce Contains ConvertTimezone Corr Cos Count CountIf
    CovarPop CovarSamp CumeDist CurrentDate CurrentTimestamp DateFromParts DecodeCase Degrees DenseRank EndsWith
    EqualNull Exists Exp FirstValue Greatest Grouping Hex ILike If Initcap Is Lag
    LastValue Lead Least Left Length Levenshtein Like Ln Log LogicalAnd LogicalOr Lower MD5 Max Median Min Mode
    NextDay NthValue Ntile Nullif Nvl2 Or Pad PercentRank PercentileCont PercentileDisc Pi Pow
    PreviousDay Radians Rand Rank RegexpCount RegexpInstr RegexpLike RegexpReplace Repeat Replace Reverse Right
    Round RowNumber SHA SHA2 Sign Sin Space SplitPart Sqrt StartsWith Stddev StddevPop StrPosition StrToTime
    Strtok Stuff Sum Tan TimestampFromParts ToDouble Translate Trim Trunc TsOrDsToTime
    Upper Uuid Variance VariancePop WidthBucket 
"""
PLAIN = set(TRANSLATED_WELL.split())
PATTERNS = (exp.Like, exp.ILike)
IN_TEXT = (*PATTERNS, exp.Contains, exp.StartsWith, exp.EndsWith)
OF_TEXT = (*IN_TEXT, exp.Length, exp.Lower, exp.Upper, exp.Reverse, exp.Replace, exp.Pad, exp.Left, exp.Right,
           exp.Trim, exp.SplitPart, exp.Substring, exp.MD5, exp.RegexpLike,
           exp.RegexpReplace, exp.RegexpExtract, exp.Initcap, exp.Repeat)  # fmt: skip
OF_NUMBERS = (exp.Sum, exp.Avg, exp.Round, exp.Abs)
DATE_PARTS = re.compile(r"(YEAR|(DAY|YEAR)OFWEEK|WEEK)(ISO)?|QUARTER|MONTH|DAY(OFYEAR)?|HOUR|MINUTE|(NANO)?SECOND"
                        r"|DO[WY]|EPOCH(_((MILLI|MICRO|NANO)?SECOND))?")  # fmt: skip
TAKE_VARIANT = (exp.Coalesce, exp.If, exp.Count, exp.AnyValue, exp.FirstValue, exp.LastValue, exp.NthValue, exp.Lag,
                exp.Lead, exp.Nvl2, exp.Nullif, exp.Exists, exp.And, exp.Or, exp.Not, exp.EqualNull,
                exp.ApproxDistinct)  # fmt: skip


REFUSALS: list[tuple[str, Callable[[exp.Expression], object], str]] = [
    # expression classes, when they would answer otherwise than Snowflake, and what to call it
    ("Min Max Greatest Least DecodeCase Mode", lambda node: any(map(is_variant, operands(node))),
     "{name} of a VARIANT, which the engine would compare as text; cast it"),
    ("Ordered", lambda node: is_variant(sorted_by(node)), "ORDER BY a VARIANT; cast it"),
    ("In", lambda node: not node.expressions and is_variant(node.this), "a VARIANT IN (SELECT ...); cast it"),
    ("SHA2", lambda node: node.text("length") not in ("", "256"), "SHA2 of another length than 256"),
    ("DateAdd", lambda node: node.text("unit").upper().startswith("NANO"), "nanoseconds"),
    ("DateAdd DateDiff TimestampTrunc DateTrunc LastDay", lambda node: re.match("DEC|CENT|MIL+EN|ERA", unit_of(node)),
     "the date part of {sql}"),
    ("Extract", lambda node: not DATE_PARTS.fullmatch(node.name.upper()), "the date part of {sql}"),
    ("Rand", lambda node: node.this, "RANDOM with a seed, whose numbers would be others"),
    ("RegexpInstr", lambda node: node.args.get("group") or "e" in node.text("parameters"), "groups in REGEXP_INSTR"),
    ("RegexpExtract RegexpReplace RegexpInstr", lambda node: node.expression.is_string and not node.expression.name,
     "an empty pattern"),
    ("RegexpReplace", lambda node: node.text("occurrence") not in ("", "0", "1"),
     "REGEXP_REPLACE of one occurrence that is not the first"),
    ("TryCast", lambda node: kind_of(node.this) not in TEXT_TYPES | {None, T.NULL}, "TRY_CAST of what is not text"),
    ("Sum", lambda node: kind_of(node.this) == T.BOOLEAN, "SUM of a BOOLEAN, and neither does Snowflake; COUNT_IF"),
    ("Count", lambda node: node.this and node.this.is_star and isinstance(node.this, exp.Column), "COUNT(alias.*)"),
    ("ArgMax ArgMin", lambda node: node.args.get("count"), "{name} with a number of values"),
    ("AddMonths", lambda node: kind_of(node.this) in TIME_TYPES - {T.DATE}, "ADD_MONTHS of a TIMESTAMP; DATEADD"),
    ("Coalesce If Nvl2 Case", lambda node: {"variant", "text"} <= {sort_of(branch) for branch in branches(node)},
     "a VARIANT or else text in {sql}; cast it"),
    ("Filter", lambda node: True, "FILTER (WHERE ...), which Snowflake does not know"),
    ("Intersect Except", lambda node: not node.args.get("distinct"), "INTERSECT ALL and EXCEPT ALL"),
    ("Union Intersect Except", lambda node: any(map(unlike, node.left.selects, node.right.selects)),
     "a set operation over text and something else; cast it"),
    ("Anonymous", lambda node: node.name.upper() == "TYPEOF" and any(kind_of(n) in TIME_TYPES for n in node.walk()),
     "TYPEOF of a date, which is text in a VARIANT here"),
    ("ConvertTimezone", lambda node: node.args.get("source_tz") is None,
     "CONVERT_TIMEZONE with two arguments, which answers TIMESTAMP_TZ"),
    ("StrToTime", lambda node: re.search(r'%f|"', node.text("format")),
     "fractions or quotes in the time format of {sql}"),
    ("ToNumber", lambda node: node.args.get("format"), "TO_NUMBER with a format"),
    ("ObjectAgg", lambda node: isinstance(node.parent, exp.Window), "OBJECT_AGG over a window"),
    ("Struct", lambda node: any(isinstance(pair.expression, exp.Null) for pair in node.expressions),
     "NULL in an object literal; write OBJECT_CONSTRUCT_KEEP_NULL"),
    ("JSONExtract", lambda node: not is_variant(node.this) and kind_of(node.this) is not None,
     "a path on a value that is not VARIANT: {sql}"),
]  # fmt: skip


def unit_of(node: exp.Expression) -> str:
    return str(node.args.get("unit") or "").upper().strip("'")


def sorted_by(node: exp.Ordered) -> exp.Expression:
    """What ORDER BY sorts by; a number stands for a column of the query."""
    query = node.parent.parent
    if node.this.is_int and isinstance(node.parent, exp.Order) and isinstance(query, exp.Select):
        return query.selects[int(node.this.name) - 1].unalias()
    return node.this


def sort_of(node: exp.Expression) -> str:
    return "variant" if is_variant(node) else "text" if kind_of(node) in TEXT_TYPES else ""


def unlike(left: exp.Expression, right: exp.Expression) -> bool:
    """Whether the engine would make text of both, where Snowflake makes the other's type of the text."""
    kinds = {kind_of(side.unalias()) for side in (left, right)} - {T.NULL}
    return None not in kinds and len(kinds) > 1 and bool(kinds & TEXT_TYPES) and bool(kinds - TEXT_TYPES)


def operands(node: exp.Expression) -> list[exp.Expression]:
    return [argument for argument in (node.this, *node.expressions) if argument is not None]


def refuse(node: exp.Expression) -> None:
    """Raise for a use of a function that is known to answer otherwise here."""
    for classes, would_differ, words in REFUSALS:
        if type(node).__name__ in classes.split() and would_differ(node):
            name = node.sql_name() if isinstance(node, exp.Func) else node.key
            raise unsupported(words.format(name=name, sql=node.sql("snowflake")), "functions.py")


def check(node: exp.Expression) -> None:
    """Raise unless the function is one whose answers are known to be Snowflake's."""
    if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)):
        name = node.name.upper()
        if name not in ANONYMOUS and (name not in FUNCTIONS or name.startswith(".")):
            raise unsupported(f"the function {name}", "functions.py")
        if any(isinstance(argument, exp.Star) for argument in node.expressions):
            raise unsupported(f"{name}(*)", "functions.py")
    elif isinstance(node, exp.Func) and type(node).__name__ not in PLAIN and type(node) not in RULES:
        raise unsupported(f"the function {node.sql_name()}", "functions.py")


def rewrite_plain(node: exp.Expression) -> exp.Expression:
    """A function without a rule. A VARIANT that it gets is text to it, as far as it can take one at all."""
    if isinstance(node, (exp.Func, *PATTERNS)) and not isinstance(node, TAKE_VARIANT):
        for value in list(node.args.values()):
            for argument in value if isinstance(value, list) else [value]:
                if isinstance(argument, exp.Expression) and is_variant(argument):
                    made = call("sf_number", argument.copy(), kind=T.DOUBLE) if isinstance(node, OF_NUMBERS) else None
                    argument.replace(made or as_text(argument.copy()))
    for key in ("this", "expression") if isinstance(node, IN_TEXT) else ("this",) if isinstance(node, OF_TEXT) else ():
        value = node.args[key]
        several = isinstance(value, (exp.Any, exp.All))  # LIKE ANY ('a%', 'b%')
        if not several and kind_of(value) not in TEXT_TYPES | {T.BINARY, T.VARBINARY, T.NULL, None}:
            node.set(key, to_text(value))
    return node


# ---------------------------------------------------------------- numbers


@rule(exp.Div)
def rewrite_div(node: exp.Div) -> exp.Expression:
    left, right = scalar(node.this, node.expression), scalar(node.expression, node.this)
    if is_variant(left) and is_variant(right):
        left, right = (call("sf_number", side, kind=T.DOUBLE) for side in (left, right))
    return number(call("sf_div", left, right, kind=T.DOUBLE), node, node.meta.get("scale"))


def number(made: exp.Expression, node: exp.Expression, scale: int | None) -> exp.Expression:
    """What the engine computes in floating point as the NUMBER that Snowflake answers, if it does."""
    if scale is UNKNOWN:
        what = f"{node.sql('snowflake')}, because a type in it is not known; cast it"
        raise unsupported(what, "scales.py")
    return made if scale == REAL else cast(made, f"DECIMAL(38, {scale})")


@rule(exp.Ceil, exp.Floor)
def rewrite_ceil(node: exp.Expression) -> exp.Expression:
    return number(rewrite_plain(node), node, node.meta.get("scale"))


@rule("Chr", "Factorial")
def rewrite_of_integer(node: exp.Expression) -> exp.Expression:
    """The engine's own take 32 bits alone."""
    for argument in operands(rewrite_plain(node)):
        argument.replace(cast(argument.copy(), "INTEGER", T.INT))
    return node


@rule(exp.Neg)
def rewrite_negative(node: exp.Neg) -> exp.Expression:
    if is_variant(node.this):
        node.set("this", call("sf_number", node.this, kind=T.DOUBLE))
    return node


@rule("Xor")
def rewrite_xor(node: exp.Expression) -> exp.Expression:
    if {kind_of(node.this), kind_of(node.expression)} == {T.BOOLEAN}:
        return exp.Paren(this=exp.NEQ(this=node.this, expression=node.expression))
    return rewrite_plain(node)


@rule(exp.Cbrt)
def rewrite_cbrt(node: exp.Cbrt) -> exp.Expression:
    return call("sf_cbrt", rewrite_plain(node).this, kind=T.DOUBLE)


def scalar(node: exp.Expression, beside: exp.Expression) -> exp.Expression:
    """A VARIANT operand as the type of the operand beside it; anything else as it is."""
    if not is_variant(node) or is_variant(beside):
        return node
    kind = kind_of(beside)
    if kind in TIME_TYPES or kind == T.BOOLEAN:
        return rewrite_cast(exp.Cast(this=node, to=exp.DataType(this=kind)))
    numeric = kind in INTEGER_TYPES | REAL_TYPES | {T.DECIMAL}
    return call("sf_number", node, kind=T.DOUBLE) if numeric else as_text(node)


@rule(exp.Add, exp.Sub, exp.Mul, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Mod)
def rewrite_operator(node: exp.Binary) -> exp.Expression:
    left, right = scalar(node.this, node.expression), scalar(node.expression, node.this)
    arithmetic = isinstance(node, (exp.Add, exp.Sub, exp.Mul, exp.Mod))
    if is_variant(left) and is_variant(right) and not isinstance(node, (exp.EQ, exp.NEQ)):
        if not arithmetic:
            raise unsupported("a comparison of two VARIANTs; cast one", "functions.py")
        left, right = (call("sf_number", side, kind=T.DOUBLE) for side in (left, right))
    elif is_variant(left) and is_variant(right):
        left, right = (json_call(".KEY", [side]) for side in (left, right))
    if arithmetic and {kind_of(left), kind_of(right)} <= INTEGER_TYPES:  # the engine's own type for 1 has 32 bits
        left, right = (
            cast(side, "BIGINT", T.BIGINT) if isinstance(side, exp.Literal) and len(side.name) < 19 else side
            for side in (left, right)
        )
    if arithmetic and any(kind_of(side) in TEXT_TYPES for side in (node.this, node.expression)):
        raise unsupported(f"arithmetic on text ({node.sql('snowflake')}); cast it", "functions.py")
    node.set("this", left)
    node.set("expression", right)
    if isinstance(left, exp.Interval):
        raise unsupported("an INTERVAL before what it is added to", "functions.py")
    if isinstance(right, exp.Interval):
        return add_interval(node, right)
    if isinstance(node, exp.Mul) and (node.meta.get("scale") or 0) >= 12:
        return cast(node, f"DECIMAL(38, {node.meta['scale']})")
    return node


INTERVAL_UNITS = ["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"]


def add_interval(node: exp.Binary, interval: exp.Interval) -> exp.Expression:
    """``INTERVAL '1 day, 2 hours'``, part by part; a DATE stays one unless hours or less are added."""
    given = f"{interval.this.name} {interval.args.get('unit') or ''}"
    parts = re.findall(r"(\d+)\s*([A-Za-z]+)", given)
    units = [unit.upper().removesuffix("S") for _, unit in parts]
    if not parts or set(units) - set(INTERVAL_UNITS) or re.sub(r"\d+\s*[A-Za-z]+|[\s,]", "", given):
        raise unsupported(f"INTERVAL '{given.strip()}'", "functions.py")
    made = node.this
    for (amount, _), unit in zip(parts, units, strict=True):
        made = type(node)(this=made, expression=exp.Interval(this=exp.Literal.string(amount), unit=exp.var(unit)))
    whole_days = set(units) <= set(INTERVAL_UNITS[:5])
    return cast(exp.Paren(this=made), "DATE", T.DATE) if kind_of(node.this) == T.DATE and whole_days else made


@rule(exp.Between, exp.In, exp.Case)
def rewrite_compared(node: exp.Expression) -> exp.Expression:
    beside = {"between": lambda: node.args["low"], "in": lambda: node.expressions[0],
              "case": lambda: node.args["ifs"][0].this}[node.key]  # fmt: skip
    if node.this is not None and is_variant(node.this):
        node.set("this", scalar(node.this, beside()))
    return node


@rule(exp.DPipe, exp.Concat, exp.ConcatWs)
def rewrite_concatenation(node: exp.Expression) -> exp.Expression:
    """Operands as text in Snowflake's formats, not the engine's."""
    for argument in [*operands(node), node.args.get("expression")]:
        if isinstance(argument, exp.Expression) and kind_of(argument) not in TEXT_TYPES | {T.BINARY, T.VARBINARY}:
            argument.replace(to_text(argument.copy()))
    return node


def wrap_aggregates(tree: exp.Expression) -> None:
    """Give aggregates their Snowflake answer. It goes around the whole of ``AVG(x) FILTER (...) OVER (...)``."""
    for node in list(tree.find_all(*WRAPPED)):
        if node.meta.get("engine"):
            continue
        top = node
        while isinstance(top.parent, (exp.Window, exp.Filter, exp.WithinGroup)) and top.parent.this is top:
            top = top.parent
        marker = exp.Placeholder()
        top.replace(marker)
        marker.replace(WRAPPED[type(node)](top, node))


def wrap_mean(top: exp.Expression, node: exp.Expression) -> exp.Expression:
    scale = node.meta.get("scale")
    if scale == REAL:
        return top
    if isinstance(node, (exp.Median, exp.PercentileCont)):  # the engine interpolates NUMBERs without further digits
        middle = top.find(exp.Ordered) if isinstance(node, exp.PercentileCont) else node
        middle.set("this", cast(middle.this, "DOUBLE", T.DOUBLE))
    if is_framed(node) and scale is not UNKNOWN:
        longer = engine_node(cast(top, f"DECIMAL(38, {scale + 6})"))
        return engine_node(call("trunc", longer, exp.Literal.number(scale), kind=f"DECIMAL(38, {scale})"))
    return engine_node(number(top, node, scale))


def wrap_deviation(top: exp.Expression, node: exp.Expression) -> exp.Expression:
    """The root of the variance, which is a NUMBER and has its digits."""
    scale = node.meta.get("scale")
    if scale == REAL:
        return top
    variance = engine_node(number(exp.Pow(this=top, expression=exp.Literal.number(2)), node, scale))
    return engine_node(call("sqrt", variance, kind=T.DOUBLE))


WRAPPED: dict[type[exp.Expression], Callable] = {
    **dict.fromkeys((exp.Avg, exp.Median, exp.PercentileCont, exp.Variance, exp.VariancePop), wrap_mean),
    **dict.fromkeys(DEVIATIONS, wrap_deviation),
    exp.ArrayAgg: lambda top, _: engine_node(call("sf_array_agg", top, kind=T.ARRAY)),
    exp.GroupConcat: lambda top, _: engine_node(call("coalesce", top, text(""), kind=T.TEXT)),
}


@rule(exp.Substring)
def rewrite_substring(node: exp.Substring) -> exp.Expression:
    """A start before the first character is outside the text, and the answer empty."""
    start = node.args.get("start")
    node = rewrite_plain(node)
    if isinstance(start, exp.Literal) or kind_of(node.this) not in TEXT_TYPES:
        return node
    return call("sf_unless_before", node.this.copy(), start.copy(), node, kind=T.TEXT)


@rule(exp.GroupConcat)
def rewrite_listagg(node: exp.GroupConcat) -> exp.Expression:
    value = node.this.this if isinstance(node.this, exp.Order) else node.this
    value = value.expressions[0] if isinstance(value, exp.Distinct) else value
    if kind_of(value) in REAL_TYPES | TIME_TYPES | VARIANT_TYPES | {None}:
        value.replace(to_text(value.copy()))
    return node


@rule(exp.ArgMax, exp.ArgMin)
def rewrite_max_by(node: exp.Expression) -> exp.Expression:
    """The value may be NULL where the other is greatest; the engine's own looks for one that is not."""
    name = "arg_max_null" if isinstance(node, exp.ArgMax) else "arg_min_null"
    return call(name, *filter(None, rewrite_plain(node).args.values()), kind=kind_of(node.this))


@rule(exp.ApproxQuantile)
def rewrite_approx_percentile(node: exp.ApproxQuantile) -> exp.Expression:
    node.set("this", cast(rewrite_plain(node).this, "DOUBLE", T.DOUBLE))
    return node


@rule("MonthsBetween")
def rewrite_months_between(node: exp.Expression) -> exp.Expression:
    for key in ("this", "expression"):
        from_text(node, key)
    return call("sf_months_between", node.this, node.expression, kind="DECIMAL(38, 6)")


@rule("RegexpExtract")
def rewrite_regexp_substr(node: exp.Expression) -> exp.Expression:
    """With the parameter e it answers a group, the first one unless it says which."""
    flags, group = node.text("parameters"), node.text("group")
    if "e" in flags and group in ("", "0"):
        node.set("group", exp.Literal.number(1))
    return rewrite_plain(node)


# ---------------------------------------------------------------- dates


def from_text(node: exp.Expression, key: str) -> None:
    """Read an argument that is text, or NULL, as a timestamp."""
    value = node.args.get(key)
    if isinstance(value, exp.Expression) and (kind_of(value) in TEXT_TYPES or isinstance(value, exp.Null)):
        node.set(key, rewrite_cast(exp.Cast(this=value.copy(), to=exp.DataType(this=T.TIMESTAMPNTZ))))


@rule("TsOrDsToDate")
def rewrite_to_date(node: exp.Expression) -> exp.Expression:
    if node.args.get("format"):
        return rewrite_plain(node)
    kind = exp.TryCast if node.args.get("safe") else exp.Cast
    return rewrite_cast(kind(this=node.this, to=exp.DataType(this=T.DATE)))


@rule("UnixToTime")
def rewrite_unix_time(node: exp.Expression) -> exp.Expression:
    """A number counts seconds, or what the scale says; text of digits tells that by their number."""
    if node.this.is_string and not node.args.get("scale"):
        return rewrite_cast(exp.Cast(this=node.this, to=node.args["target_type"]))
    return rewrite_plain(node)


@rule("DateAdd")
def rewrite_date_add(node: exp.Expression) -> exp.Expression:
    unit = unit_of(node).removesuffix("S")
    if kind_of(node.this) in TEXT_TYPES:
        from_text(node, "this")
        return node
    if kind_of(node.this) == T.DATE and unit in ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR"):
        return cast(node, "DATE", T.DATE)
    return node


@rule("DateDiff", "TimestampTrunc", "DateTrunc", "Year", "Month", "Day", "DayOfMonth",
      "DayOfWeek", "DayOfWeekIso", "DayOfYear", "Week", "WeekOfYear", "Quarter", "Hour", "Minute", "Second", "Dayname",
      "Monthname", "LastDay", "AddMonths", "TimeSlice", "YearOfWeek", "YearOfWeekIso")  # fmt: skip
def rewrite_date_part(node: exp.Expression) -> exp.Expression:
    from_text(node, "this")
    if isinstance(node, exp.DateDiff):
        from_text(node, "expression")
    return node


@rule(exp.Extract)
def rewrite_extract(node: exp.Extract) -> exp.Expression:
    from_text(node, "expression")
    if node.name.upper() not in ("EPOCH", "EPOCH_SECOND"):
        return node
    node.set("this", exp.var("EPOCH"))
    return cast(call("floor", node), "BIGINT", T.BIGINT)


# ---------------------------------------------------------------- functions that sqlglot has no class for


def to_timestamp(target: T) -> Callable:
    """TO_TIMESTAMP_NTZ and its kin: a number counts seconds, anything else is cast."""

    def convert(node: exp.Anonymous) -> exp.Expression:
        value, *how = node.expressions
        if how:
            raise unsupported(f"{node.name.upper()} with a format or scale", "functions.py")
        if kind_of(value) in INTEGER_TYPES | REAL_TYPES | {T.DECIMAL}:
            if target == T.DATE:
                raise unsupported("TO_DATE of a number, and neither does Snowflake", "functions.py")
            value = call("sf_to_timestamp", value, kind=T.TIMESTAMPNTZ)
        return rewrite_cast(exp.Cast(this=value, to=exp.DataType(this=target)))

    return convert


TIMESTAMPS = {"TO_DATE": T.DATE, "TO_TIMESTAMP": T.TIMESTAMPNTZ, "TO_TIMESTAMP_NTZ": T.TIMESTAMPNTZ,
              "TO_TIMESTAMP_LTZ": T.TIMESTAMPLTZ}  # fmt: skip
ANONYMOUS: dict[str, Callable] = {
    **{name: to_timestamp(kind) for name, kind in TIMESTAMPS.items()},
    "HAVERSINE": lambda node: call("sf_haversine", *node.expressions, kind=T.DOUBLE),
}


@rule(exp.Anonymous)
def rewrite_anonymous(node: exp.Anonymous) -> exp.Expression:
    name = node.name.upper()
    return json_call(name, node.expressions) if name in FUNCTIONS else ANONYMOUS[name](node)


@rule(exp.DataType)
def rewrite_type(node: exp.DataType) -> exp.Expression:
    """Types in column definitions (casts have their own rule)."""
    if isinstance(node.parent, (exp.Cast, exp.TryCast)):
        return node
    engine = engine_type(node)
    if engine is None:
        raise unsupported(f"the type {node.sql('snowflake')}", "types.py")
    return engine

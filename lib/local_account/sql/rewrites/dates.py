"""Rewrites of functions over dates and times, and of what is added to them."""

import re
from collections.abc import Callable

from sqlglot import exp

from local_account.engine.types import INTEGER_TYPES, REAL_TYPES, TEXT_TYPES, T, kind_of
from local_account.sql.rewrites.arguments import rewrite_plain
from local_account.sql.rewrites.casts import rewrite_cast
from local_account.sql.rewrites.registry import call, cast, rule
from local_account.text.errors import unsupported

DATE_PARTS = re.compile(r"(YEAR|(DAY|YEAR)OFWEEK|WEEK)(ISO)?|QUARTER|MONTH|DAY(OFYEAR)?|HOUR|MINUTE|(NANO)?SECOND"
                        r"|DO[WY]|EPOCH(_((MILLI|MICRO|NANO)?SECOND))?")  # fmt: skip
INTERVAL_UNITS = ["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"]


def unit_of(node: exp.Expression) -> str:
    return str(node.args.get("unit") or "").upper().strip("'")


def from_text(node: exp.Expression, key: str) -> None:
    """Read an argument that is text, or NULL, as a timestamp."""
    value = node.args.get(key)
    if isinstance(value, exp.Expression) and (kind_of(value) in TEXT_TYPES or isinstance(value, exp.Null)):
        node.set(key, rewrite_cast(exp.Cast(this=value.copy(), to=exp.DataType(this=T.TIMESTAMPNTZ))))


@rule("CurrentDate", "CurrentTimestamp")
def rewrite_now(node: exp.Expression) -> exp.Expression:
    """By names that the engine does not take for columns."""
    if node.args.get("sysdate") or node.this is not None:
        return rewrite_plain(node)
    return call("today", kind=T.DATE) if isinstance(node, exp.CurrentDate) else call("now", kind=T.TIMESTAMPLTZ)


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


@rule("TimestampFromParts")
def rewrite_timestamp_from_parts(node: exp.Expression) -> exp.Expression:
    """Parts may be beyond their limits: hour 25 is the next day's first."""
    if node.this is not None:
        return rewrite_plain(node)
    year, month, day, *rest = (node.args.get(key) for key in ("year", "month", "day", "hour", "min", "sec", "nano"))
    date = exp.DateFromParts(year=year, month=month, day=day, allow_overflow=True)
    given = (exp.Literal.number(0) if part is None else part for part in rest)
    return call("sf_moment", date, *given, kind=T.TIMESTAMPNTZ)


@rule(exp.Extract)
def rewrite_extract(node: exp.Extract) -> exp.Expression:
    from_text(node, "expression")
    if node.name.upper() not in ("EPOCH", "EPOCH_SECOND"):
        return node
    node.set("this", exp.var("EPOCH"))
    return cast(call("floor", node), "BIGINT", T.BIGINT)


@rule("MonthsBetween")
def rewrite_months_between(node: exp.Expression) -> exp.Expression:
    for key in ("this", "expression"):
        from_text(node, key)
    return call("sf_months_between", node.this, node.expression, kind="DECIMAL(38, 6)")


def add_interval(node: exp.Binary, interval: exp.Interval) -> exp.Expression:
    """``INTERVAL '1 day, 2 hours'``, part by part; a DATE stays one unless hours or less are added."""
    given = f"{interval.this.name} {interval.args.get('unit') or ''}"
    parts = re.findall(r"(\d+)\s*([A-Za-z]+)", given)
    units = [unit.upper().removesuffix("S") for _, unit in parts]
    if not parts or set(units) - set(INTERVAL_UNITS) or re.sub(r"\d+\s*[A-Za-z]+|[\s,]", "", given):
        raise unsupported(f"INTERVAL '{given.strip()}'", "dates.py")
    made = node.this
    for (amount, _), unit in zip(parts, units, strict=True):
        made = type(node)(this=made, expression=exp.Interval(this=exp.Literal.string(amount), unit=exp.var(unit)))
    whole_days = set(units) <= set(INTERVAL_UNITS[:5])
    return cast(exp.Paren(this=made), "DATE", T.DATE) if kind_of(node.this) == T.DATE and whole_days else made


def to_timestamp(target: T) -> Callable:
    """TO_TIMESTAMP_NTZ and its kin: a number counts seconds, anything else is cast."""

    def convert(node: exp.Anonymous) -> exp.Expression:
        value, *how = node.expressions
        if how:
            raise unsupported(f"{node.name.upper()} with a format or scale", "dates.py")
        if kind_of(value) in INTEGER_TYPES | REAL_TYPES | {T.DECIMAL}:
            if target == T.DATE:
                raise unsupported("TO_DATE of a number, and neither does Snowflake", "dates.py")
            value = call("sf_to_timestamp", value, kind=T.TIMESTAMPNTZ)
        return rewrite_cast(exp.Cast(this=value, to=exp.DataType(this=target)))

    return convert


TIMESTAMPS = {"TO_DATE": T.DATE, "TO_TIMESTAMP": T.TIMESTAMPNTZ, "TO_TIMESTAMP_NTZ": T.TIMESTAMPNTZ,
              "TO_TIMESTAMP_LTZ": T.TIMESTAMPLTZ}  # fmt: skip

"""Rewrites of functions over dates and times."""

import re
from collections.abc import Callable

from sqlglot import exp

from local_account.engine.types import NUMBER_TYPES, TEXT_TYPES, T, kind_of
from local_account.sql.rewrites.arguments import rewrite_plain
from local_account.sql.rewrites.casts import rewrite_cast
from local_account.sql.rewrites.nodes import call, cast
from local_account.text.errors import unsupported

DATE_PARTS = re.compile(r"(YEAR|(DAY|YEAR)OFWEEK|WEEK)(ISO)?|QUARTER|MONTH|DAY(OFYEAR)?|HOUR|MINUTE|(NANO)?SECOND"
                        r"|DO[WY]|EPOCH(_((MILLI|MICRO|NANO)?SECOND))?")  # fmt: skip


def unit_of(node: exp.Expression) -> str:
    return str(node.args.get("unit") or "").upper().strip("'")


def from_text(node: exp.Expression, key: str) -> None:
    """Read an argument that is text, or NULL, as a timestamp."""
    value = node.args.get(key)
    if isinstance(value, exp.Expression) and (kind_of(value) in TEXT_TYPES or isinstance(value, exp.Null)):
        node.set(key, rewrite_cast(exp.Cast(this=value.copy(), to=exp.DataType(this=T.TIMESTAMPNTZ))))


def rewrite_now(node: exp.Expression) -> exp.Expression:
    """Under names that the engine cannot mistake for columns."""
    if node.args.get("sysdate") or node.this is not None:
        return rewrite_plain(node)
    return call("today", kind=T.DATE) if isinstance(node, exp.CurrentDate) else call("now", kind=T.TIMESTAMPLTZ)


def rewrite_to_date(node: exp.Expression) -> exp.Expression:
    if node.args.get("format"):
        return rewrite_plain(node)
    kind = exp.TryCast if node.args.get("safe") else exp.Cast
    return rewrite_cast(kind(this=node.this, to=exp.DataType(this=T.DATE)))


def rewrite_unix_time(node: exp.Expression) -> exp.Expression:
    """A number counts seconds, or the unit that the scale names. In text the number of digits tells the unit."""
    if node.this.is_string and not node.args.get("scale"):
        return rewrite_cast(exp.Cast(this=node.this, to=node.args["target_type"]))
    return rewrite_plain(node)


def rewrite_date_add(node: exp.Expression) -> exp.Expression:
    unit = unit_of(node).removesuffix("S")
    if kind_of(node.this) in TEXT_TYPES:
        from_text(node, "this")
        return node
    if kind_of(node.this) == T.DATE and unit in ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR"):
        return cast(node, "DATE", T.DATE)
    return node


def rewrite_date_part(node: exp.Expression) -> exp.Expression:
    from_text(node, "this")
    if isinstance(node, exp.DateDiff):
        from_text(node, "expression")
    return node


def rewrite_extract(node: exp.Extract) -> exp.Expression:
    from_text(node, "expression")
    if node.name.upper() not in ("EPOCH", "EPOCH_SECOND"):
        return node
    node.set("this", exp.var("EPOCH"))
    return cast(call("floor", node), "BIGINT", T.BIGINT)


def to_timestamp(target: T) -> Callable:
    """TO_TIMESTAMP, TO_DATE and the like: a number counts seconds, anything else is cast."""

    def convert(node: exp.Anonymous) -> exp.Expression:
        value, *how = node.expressions
        if how:
            raise unsupported(f"{node.name.upper()} with a format or scale", __name__)
        if kind_of(value) in NUMBER_TYPES:
            if target == T.DATE:
                raise unsupported("TO_DATE of a number, and neither does Snowflake", __name__)
            value = call("sf_to_timestamp", value, kind=T.TIMESTAMPNTZ)
        return rewrite_cast(exp.Cast(this=value, to=exp.DataType(this=target)))

    return convert


TIMESTAMPS = {"TO_DATE": T.DATE, "TO_TIMESTAMP": T.TIMESTAMPNTZ, "TO_TIMESTAMP_NTZ": T.TIMESTAMPNTZ,
              "TO_TIMESTAMP_LTZ": T.TIMESTAMPLTZ}  # fmt: skip


RULES = {
    **dict.fromkeys((exp.CurrentDate, exp.CurrentTimestamp), rewrite_now),
    exp.TsOrDsToDate: rewrite_to_date,
    exp.UnixToTime: rewrite_unix_time,
    exp.DateAdd: rewrite_date_add,
    **dict.fromkeys((exp.DateDiff, exp.TimestampTrunc, exp.DateTrunc, exp.Year, exp.Month, exp.Day, exp.DayOfMonth,
        exp.DayOfWeek, exp.DayOfWeekIso, exp.DayOfYear, exp.Week, exp.WeekOfYear, exp.Quarter, exp.Hour, exp.Minute,
        exp.Second, exp.Dayname, exp.Monthname, exp.LastDay, exp.AddMonths, exp.TimeSlice, exp.YearOfWeek,
        exp.YearOfWeekIso), rewrite_date_part),
    exp.Extract: rewrite_extract,
}  # fmt: skip

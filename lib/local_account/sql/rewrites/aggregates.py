"""Aggregates: expressions put around them, which give Snowflake's types, and rewrites."""

from collections.abc import Callable

from sqlglot import exp

from local_account.engine.types import REAL_TYPES, TIME_TYPES, VARIANT_TYPES, T, kind_of
from local_account.sql.numeric_scale import DEVIATIONS, REAL, UNKNOWN, is_framed
from local_account.sql.rewrites.arguments import rewrite_plain
from local_account.sql.rewrites.casts import to_text
from local_account.sql.rewrites.nodes import call, cast, engine_node, text
from local_account.sql.rewrites.operators import number, operands


def wrap_aggregates(tree: exp.Expression) -> None:
    """Put an expression around each aggregate that gives it Snowflake's type:
    around all of ``AVG(x) FILTER (...) OVER (...)``."""
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


def rewrite_listagg(node: exp.GroupConcat) -> exp.Expression:
    value = node.this.this if isinstance(node.this, exp.Order) else node.this
    value = value.expressions[0] if isinstance(value, exp.Distinct) else value
    if kind_of(value) in REAL_TYPES | TIME_TYPES | VARIANT_TYPES | {None}:
        value.replace(to_text(value.copy()))
    return node


def rewrite_count(node: exp.Count) -> exp.Expression:
    """COUNT(a, b) counts the rows where none of them is NULL."""
    if node.expressions:
        known = exp.and_(*(exp.Not(this=exp.Is(this=value, expression=exp.null())) for value in operands(node)))
        return exp.Count(this=exp.Case(ifs=[exp.If(this=known, true=exp.Literal.number(1))]))
    return rewrite_plain(node)


def rewrite_max_by(node: exp.Expression) -> exp.Expression:
    """The value may be NULL where the other is greatest; the engine's own looks for one that is not."""
    name = "arg_max_null" if isinstance(node, exp.ArgMax) else "arg_min_null"
    return call(name, *filter(None, rewrite_plain(node).args.values()), kind=kind_of(node.this))


def rewrite_approx_percentile(node: exp.ApproxQuantile) -> exp.Expression:
    node.set("this", cast(rewrite_plain(node).this, "DOUBLE", T.DOUBLE))
    return node


RULES = {
    exp.GroupConcat: rewrite_listagg,
    exp.Count: rewrite_count,
    **dict.fromkeys((exp.ArgMax, exp.ArgMin), rewrite_max_by),
    exp.ApproxQuantile: rewrite_approx_percentile,
}  # fmt: skip

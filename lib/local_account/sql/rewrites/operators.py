"""Rewrites of operators and of functions over numbers: VARIANT operands, Snowflake's scales, errors instead of NULL."""

from sqlglot import exp

from local_account.engine.types import (
    BINARY_TYPES,
    INTEGER_TYPES,
    NUMBER_TYPES,
    TEXT_TYPES,
    TIME_TYPES,
    T,
    is_variant,
    kind_of,
)
from local_account.sql.numeric_scale import REAL, UNKNOWN
from local_account.sql.rewrites.arguments import rewrite_plain
from local_account.sql.rewrites.casts import rewrite_cast, to_text
from local_account.sql.rewrites.nodes import as_text, call, cast
from local_account.sql.rewrites.variants import json_call
from local_account.text.errors import unsupported

WHOLE = INTEGER_TYPES | {T.DECIMAL}


def operands(node: exp.Expression) -> list[exp.Expression]:
    return [argument for argument in (node.this, *node.expressions) if argument is not None]


def rewrite_div(node: exp.Div) -> exp.Expression:
    left, right = scalar(node.this, node.expression), scalar(node.expression, node.this)
    if is_variant(left) and is_variant(right):
        left, right = (call("sf_number", side, kind=T.DOUBLE) for side in (left, right))
    return number(call("sf_div", left, right, kind=T.DOUBLE), node, node.meta.get("scale"))


def number(made: exp.Expression, node: exp.Expression, scale: int | None) -> exp.Expression:
    """What the engine computes in floating point as the NUMBER that Snowflake answers, if it does."""
    if scale is UNKNOWN:
        what = f"{node.sql('snowflake')}, because a type in it is not known; cast it"
        raise unsupported(what, "local_account.sql.numeric_scale")
    return made if scale == REAL else cast(made, f"DECIMAL(38, {scale})")


def rewrite_ceil(node: exp.Expression) -> exp.Expression:
    return number(rewrite_plain(node), node, node.meta.get("scale"))


def rewrite_negative(node: exp.Neg) -> exp.Expression:
    if is_variant(node.this):
        node.set("this", call("sf_number", node.this, kind=T.DOUBLE))
    return node


def rewrite_uniform(node: exp.Uniform) -> exp.Expression:
    """Whole numbers, and RANDOM as their generator: it is not known how Snowflake uses other ones."""
    *limits, source = (value for value in node.args.values() if value is not None)
    if not isinstance(source, exp.Rand) and not source.meta.get("random"):
        raise unsupported("UNIFORM with another generator than RANDOM", __name__)
    if not {kind_of(limit) for limit in limits} <= INTEGER_TYPES:
        raise unsupported("UNIFORM between numbers that are not whole", __name__)
    return call("sf_uniform", *limits, source, kind=T.BIGINT)


def scalar(node: exp.Expression, beside: exp.Expression) -> exp.Expression:
    """A VARIANT operand, cast to the type of the other operand. Any other operand is returned unchanged."""
    if not is_variant(node) or is_variant(beside):
        return node
    kind = kind_of(beside)
    if kind in TIME_TYPES or kind == T.BOOLEAN:
        return rewrite_cast(exp.Cast(this=node, to=exp.DataType(this=kind)))
    numeric = kind in NUMBER_TYPES
    return call("sf_number", node, kind=T.DOUBLE) if numeric else as_text(node)


def rewrite_operator(node: exp.Binary) -> exp.Expression:
    left, right = scalar(node.this, node.expression), scalar(node.expression, node.this)
    arithmetic = isinstance(node, (exp.Add, exp.Sub, exp.Mul, exp.Mod))
    if is_variant(left) and is_variant(right) and not isinstance(node, (exp.EQ, exp.NEQ)):
        if not arithmetic:
            raise unsupported("a comparison of two VARIANTs; cast one", __name__)
        left, right = (call("sf_number", side, kind=T.DOUBLE) for side in (left, right))
    elif is_variant(left) and is_variant(right):
        left, right = (json_call(".KEY", [side]) for side in (left, right))
    if arithmetic and {kind_of(left), kind_of(right)} <= INTEGER_TYPES:  # the engine's own type for 1 has 32 bits
        left, right = (
            cast(side, "BIGINT", T.BIGINT) if isinstance(side, exp.Literal) and len(side.name) < 19 else side
            for side in (left, right)
        )
    if arithmetic and any(kind_of(side) in TEXT_TYPES for side in (node.this, node.expression)):
        raise unsupported(f"arithmetic on text ({node.sql('snowflake')}); cast it", __name__)
    if isinstance(node, (exp.Add, exp.Sub)) and {T.DATE} < {kind_of(left), kind_of(right)} <= {T.DATE, *WHOLE}:
        left, right = (  # the engine adds days of 32 bits only
            side if kind_of(side) == T.DATE else cast(side, "INTEGER", T.INT) for side in (left, right)
        )
        node.type = exp.DataType(this=T.DATE)
    node.set("this", left)
    node.set("expression", right)
    if isinstance(node, exp.Mul) and (node.meta.get("scale") or 0) >= 12:
        return cast(node, f"DECIMAL(38, {node.meta['scale']})")
    return node


def rewrite_compared(node: exp.Expression) -> exp.Expression:
    beside = {"between": lambda: node.args["low"], "in": lambda: node.expressions[0],
              "case": lambda: node.args["ifs"][0].this}[node.key]  # fmt: skip
    if node.this is not None and is_variant(node.this):
        node.set("this", scalar(node.this, beside()))
    return node


def rewrite_concatenation(node: exp.Expression) -> exp.Expression:
    """Operands as text in Snowflake's formats, not the engine's."""
    for argument in [*operands(node), node.args.get("expression")]:
        if isinstance(argument, exp.Expression) and kind_of(argument) not in TEXT_TYPES | {T.BINARY, T.VARBINARY}:
            argument.replace(to_text(argument.copy()))
    return node


def rewrite_xor(node: exp.BitwiseXor) -> exp.Expression:
    """Of two BINARYs the engine's own type for bits; as in Snowflake, one that is shorter is an error."""
    sides = (node.this, node.expression)
    if node.args.get("padside"):
        raise unsupported("BITXOR that pads the shorter of two", __name__)
    if not {kind_of(side) for side in sides} <= BINARY_TYPES:
        return node
    left, right = (cast(side, "BIT") for side in sides)
    return cast(call("xor", left, right), "BLOB", T.BINARY)


RULES = {
    exp.Div: rewrite_div,
    **dict.fromkeys((exp.Ceil, exp.Floor), rewrite_ceil),
    exp.Neg: rewrite_negative,
    exp.Uniform: rewrite_uniform,
    exp.BitwiseXor: rewrite_xor,
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Mod),
        rewrite_operator),
    **dict.fromkeys((exp.Between, exp.In, exp.Case), rewrite_compared),
    **dict.fromkeys((exp.DPipe, exp.Concat, exp.ConcatWs), rewrite_concatenation),
}  # fmt: skip

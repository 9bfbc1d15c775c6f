"""How many digits after the point an exact number has: the part of Snowflake's types that its answers show.

The engine divides in floating point and averages likewise; Snowflake answers NUMBERs of a documented scale. So each
quotient, mean and the like is given its scale here, computed from its operands down to the stored columns.
"""

import re

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from .types import INTEGER_TYPES, REAL_TYPES, VARIANT_TYPES, T, kind_of

REAL = -1  # floating point: no scale
UNKNOWN = None
NEED_SCALE = (exp.Div, exp.Mul, exp.Avg, exp.Median, exp.PercentileCont, exp.Variance, exp.VariancePop, exp.Ceil,
              exp.Floor)  # fmt: skip
OF_THIS = (exp.Paren, exp.Neg, exp.Sum, exp.Min, exp.Max, exp.Abs, exp.AnyValue, exp.Lag, exp.Lead, exp.FirstValue,
           exp.LastValue, exp.NthValue, exp.Window, exp.Filter, exp.IgnoreNulls, exp.RespectNulls, exp.Nullif, exp.Mode,
           exp.Alias, exp.ArgMax, exp.ArgMin)  # fmt: skip
WIDEST = (exp.Coalesce, exp.Greatest, exp.Least, exp.If, exp.Case, exp.Add, exp.Sub, exp.Mod, exp.DecodeCase, exp.Nvl2)


def note_scales(tree: exp.Expression) -> None:
    """Write ``meta["scale"]`` on each expression of NEED_SCALE in a qualified tree with types."""
    if tree.find(*NEED_SCALE) is None:
        return
    scopes = {}
    for scope in traverse_scope(tree):
        for column in scope.columns:
            scopes.setdefault(id(column), scope)
    for node in tree.find_all(*NEED_SCALE):
        node.meta["scale"] = scale_of(node, scopes)


def scale_of(node: exp.Expression | None, scopes: dict[int, Scope]) -> int | None:
    """Digits after the point; REAL for floating point, UNKNOWN where it cannot be told."""
    if isinstance(node, exp.Literal) and not node.is_string:
        return REAL if "e" in node.this.lower() else len(node.this.partition(".")[2])
    if isinstance(node, exp.Null):
        return 0
    if isinstance(node, exp.Column):
        return column_scale(node, scopes)
    if isinstance(node, exp.WithinGroup):
        return within_group_scale(node, scopes)
    if isinstance(node, OF_THIS):
        return scale_of(node.this, scopes)
    if isinstance(node, WIDEST):
        return widest([scale_of(branch, scopes) for branch in branches(node)])
    if isinstance(node, (exp.Div, exp.Mul)):
        return product_scale(node, scale_of(node.left, scopes), scale_of(node.right, scopes))
    if isinstance(node, (exp.Avg, exp.Variance, exp.VariancePop)):
        return quotient(scale_of(node.this, scopes))
    if isinstance(node, exp.Median):
        return more(scale_of(node.this, scopes), 3)
    if isinstance(node, exp.PercentileCont) and isinstance(node.parent, exp.WithinGroup):
        return within_group_scale(node.parent, scopes)
    if isinstance(node, (exp.Round, exp.Trunc, exp.Ceil, exp.Floor)):
        return rounded(node, scale_of(node.this, scopes))
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
        return projected(node.this, 0, scopes)
    return scale_of_type(node)


def scale_of_type(node: exp.Expression | None) -> int | None:
    kind = kind_of(node) if node is not None else None
    if kind in INTEGER_TYPES:
        return 0
    if kind == T.DECIMAL:
        digits = re.findall(r"\d+", node.type.sql())
        return int(digits[1]) if len(digits) == 2 else 0 if isinstance(node, (exp.Cast, exp.TryCast)) else UNKNOWN
    return REAL if kind in REAL_TYPES | VARIANT_TYPES else UNKNOWN


def branches(node: exp.Expression) -> list[exp.Expression]:
    """The expressions of which the node answers one, or which it adds up; a NULL says nothing of the scale."""
    if isinstance(node, exp.Case):
        found = [branch.args["true"] for branch in node.args["ifs"]] + [node.args.get("default")]
    elif isinstance(node, (exp.If, exp.Nvl2)):
        found = [node.args["true"], node.args.get("false")]
    elif isinstance(node, exp.DecodeCase):
        rest = node.expressions[1:]
        found = rest[1::2] + (rest[-1:] if len(rest) % 2 else [])
    elif isinstance(node, exp.Binary):
        found = [node.left, node.right]
    else:
        found = [node.this, *node.expressions]
    return [branch for branch in found if branch is not None and not isinstance(branch, exp.Null)]


def widest(scales: list[int | None]) -> int | None:
    if not scales or UNKNOWN in scales:
        return UNKNOWN
    return REAL if REAL in scales else max(scales)


def product_scale(node: exp.Binary, left: int | None, right: int | None) -> int | None:
    if widest([left, right]) in (UNKNOWN, REAL):
        return widest([left, right])
    return quotient(left) if isinstance(node, exp.Div) else min(left + right, max(left, right, 12))


def quotient(scale: int | None) -> int | None:
    """Six digits more than the dividend, twelve at most."""
    return scale if scale in (UNKNOWN, REAL) else max(scale, min(scale + 6, 12))


def more(scale: int | None, digits: int) -> int | None:
    return scale if scale in (UNKNOWN, REAL) else scale + digits


def within_group_scale(node: exp.WithinGroup, scopes: dict[int, Scope]) -> int | None:
    ordered = scale_of(node.expression.expressions[0].this, scopes)
    return more(ordered, 3) if isinstance(node.this, exp.PercentileCont) else ordered


def rounded(node: exp.Expression, scale: int | None) -> int | None:
    digits = node.args.get("decimals")
    if scale in (UNKNOWN, REAL) or not (digits is None or digits.is_int):
        return scale
    return min(scale, max(0, digits.to_py() if digits is not None else 0))


def column_scale(column: exp.Column, scopes: dict[int, Scope]) -> int | None:
    """A column's scale: its type's for a stored table's, its expression's for a subquery's."""
    scope = scopes.get(id(column))
    while scope is not None and column.table not in scope.sources:
        scope = scope.parent
    source = scope.sources[column.table] if scope is not None else None
    if not isinstance(source, Scope):
        return scale_of_type(column)
    tree = source.expression
    if isinstance(tree, exp.Values):
        listed = [name.name for name in tree.args["alias"].columns] if tree.args.get("alias") else []
        if column.name not in listed:
            return UNKNOWN
        return projected(tree, listed.index(column.name), scopes)
    if not isinstance(tree, exp.Query) or column.name not in tree.named_selects:
        return scale_of_type(column)
    return projected(tree, tree.named_selects.index(column.name), scopes)


def projected(tree: exp.Expression, position: int, scopes: dict[int, Scope]) -> int | None:
    """The scale of a query's column by its position; the widest of its branches or rows."""
    if isinstance(tree, exp.SetOperation):
        return widest([projected(side, position, scopes) for side in (tree.left, tree.right)])
    if isinstance(tree, exp.Subquery):
        return projected(tree.this, position, scopes)
    if isinstance(tree, exp.Values):
        cells = [row.expressions[position] for row in tree.expressions if isinstance(row, exp.Tuple)]
        return widest([scale_of(cell, scopes) for cell in cells if not isinstance(cell, exp.Null)])
    return scale_of(tree.selects[position], scopes)

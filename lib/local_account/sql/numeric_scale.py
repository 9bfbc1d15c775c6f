"""How many digits after the point an exact number has: the part of Snowflake's types that its answers show.

The engine divides and averages in floating point; Snowflake answers NUMBERs of a documented scale. The scale of each
quotient, mean and so on is computed here from its operands, down to the stored columns.
"""

import re

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from local_account.engine.types import INTEGER_TYPES, REAL_TYPES, VARIANT_TYPES, T, kind_of

REAL = -1  # floating point: no scale
UNKNOWN = None
NEED_SCALE = (exp.Div, exp.Mul, exp.Avg, exp.Median, exp.PercentileCont, exp.Variance, exp.VariancePop, exp.Ceil,
              exp.Floor)  # fmt: skip
DEVIATIONS = (exp.Stddev, exp.StddevPop)
OF_THIS = (exp.Paren, exp.Neg, exp.Sum, exp.Min, exp.Max, exp.Abs, exp.AnyValue, exp.Lag, exp.Lead, exp.FirstValue,
           exp.LastValue, exp.NthValue, exp.Window, exp.Filter, exp.IgnoreNulls, exp.RespectNulls, exp.Nullif, exp.Mode,
           exp.Alias, exp.ArgMax, exp.ArgMin)  # fmt: skip
WIDEST = (exp.Coalesce, exp.Greatest, exp.Least, exp.If, exp.Case, exp.Add, exp.Sub, exp.Mod, exp.DecodeCase, exp.Nvl2)
RUNNING = "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
MEANS = (exp.Avg, exp.Variance, exp.VariancePop)


def is_framed(node: exp.Expression) -> bool:
    """Whether it is a mean over another window than the running one: Snowflake keeps three digits more, and cuts."""
    window = node.parent
    if not isinstance(node, exp.Avg) or not isinstance(window, exp.Window) or window.this is not node:
        return False
    frame = window.args.get("spec")
    return not window.args.get("order") or frame is not None and frame.sql() != RUNNING


def note_scales(tree: exp.Expression) -> None:
    """Write ``meta["scale"]`` on each expression of NEED_SCALE in a qualified tree with types."""
    if tree.find(*NEED_SCALE, *DEVIATIONS):
        scales = Scales(tree)
        for node in tree.find_all(*NEED_SCALE):
            node.meta["scale"] = scales.of(node)
        for node in tree.find_all(*DEVIATIONS):  # the scale of the variance that they are the root of
            node.meta["scale"] = more(scales.of(node.this), 6, 12)


class Scales:
    """Digits after the point; REAL for floating point, UNKNOWN where it is not known."""

    def __init__(self, tree: exp.Expression):
        self.scopes: dict[int, Scope] = {}
        for scope in traverse_scope(tree):
            for column in scope.columns:
                self.scopes.setdefault(id(column), scope)

    def of(self, node: exp.Expression) -> int | None:
        if isinstance(node, exp.Literal) and not node.is_string:
            return REAL if "e" in node.this.lower() else len(node.this.partition(".")[2])
        if isinstance(node, exp.Null):
            return 0
        if isinstance(node, exp.Column):
            return self.column(node)
        if isinstance(node, exp.PercentileCont) and isinstance(node.parent, exp.WithinGroup):
            return self.of(node.parent)
        if isinstance(node, exp.WithinGroup):
            ordered = self.of(node.expression.expressions[0].this)
            return more(ordered, 3) if isinstance(node.this, exp.PercentileCont) else ordered
        if isinstance(node, OF_THIS):
            return self.of(node.this)
        if isinstance(node, exp.Sub) and kind_of(node.left) == kind_of(node.right) == T.DATE:
            return 0
        if isinstance(node, WIDEST):
            return widest([self.of(branch) for branch in branches(node)])
        if isinstance(node, (exp.Div, exp.Mul)):
            return self.product(node)
        if isinstance(node, (*MEANS, exp.Median)):
            three = isinstance(node, exp.Median) or is_framed(node)
            return more(self.of(node.this), 3) if three else more(self.of(node.this), 6, 12)
        if isinstance(node, (exp.Round, exp.Trunc, exp.Ceil, exp.Floor)):
            return rounded(node, self.of(node.this))
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            return self.projected(node.this, 0)
        return scale_of_type(node)

    def product(self, node: exp.Binary) -> int | None:
        left, right = self.of(node.left), self.of(node.right)
        if widest([left, right]) in (UNKNOWN, REAL):
            return widest([left, right])
        return more(left, 6, 12) if isinstance(node, exp.Div) else min(left + right, max(left, right, 12))

    def column(self, column: exp.Column) -> int | None:
        """A column's scale: its type's for a stored table's, its expression's for a subquery's."""
        scope = self.scopes.get(id(column))
        while scope is not None and column.table not in scope.sources:
            scope = scope.parent
        source = scope.sources[column.table] if scope is not None else None
        tree = source.expression if isinstance(source, Scope) else None
        if isinstance(tree, exp.Values):
            listed = [name.name for name in tree.args["alias"].columns] if tree.args.get("alias") else []
            return self.projected(tree, listed.index(column.name)) if column.name in listed else UNKNOWN
        if not isinstance(tree, exp.Query) or column.name not in tree.named_selects:
            return scale_of_type(column)
        return self.projected(tree, tree.named_selects.index(column.name))

    def projected(self, tree: exp.Expression, position: int) -> int | None:
        """The scale of a query's column by its position; the widest of its branches or rows."""
        if isinstance(tree, exp.SetOperation):
            return widest([self.projected(side, position) for side in (tree.left, tree.right)])
        if isinstance(tree, exp.Subquery):
            return self.projected(tree.this, position)
        if isinstance(tree, exp.Values):
            cells = [row.expressions[position] for row in tree.expressions if isinstance(row, exp.Tuple)]
            return widest([self.of(cell) for cell in cells if not isinstance(cell, exp.Null)])
        return self.of(tree.selects[position])


def scale_of_type(node: exp.Expression) -> int | None:
    kind = kind_of(node)
    if kind in INTEGER_TYPES:
        return 0
    if kind == T.DECIMAL:
        digits = re.findall(r"\d+", node.type.sql())
        return int(digits[1]) if len(digits) == 2 else 0 if isinstance(node, (exp.Cast, exp.TryCast)) else UNKNOWN
    return REAL if kind in REAL_TYPES | VARIANT_TYPES else UNKNOWN


def branches(node: exp.Expression) -> list[exp.Expression]:
    """The expressions whose value or sum the node answers. A NULL has no scale, and is left out."""
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


def more(scale: int | None, digits: int, most: int = 38) -> int | None:
    """So many digits more, but no more than ``most`` of them; a quotient has six more, and twelve at most."""
    return scale if scale in (UNKNOWN, REAL) else max(scale, min(scale + digits, most))


def rounded(node: exp.Expression, scale: int | None) -> int | None:
    digits = node.args.get("decimals")
    if scale in (UNKNOWN, REAL) or not (digits is None or digits.is_int):
        return scale
    return min(scale, max(0, digits.to_py() if digits is not None else 0))

"""The allow-list of functions, and the uses of them that are refused.

An expression class that is neither in ``PLAIN`` nor has a rule is refused by name, and so is what ``REFUSALS`` says.
``PLAIN`` are those which sqlglot's own translation answers as Snowflake does. tests/local_account/sql/documented*.py
hold documented answers of every one, and a test fails for a name without. To add one: write its cases there first, then
list it here or write a rule in rewrites/. Functions over VARIANT, OBJECT and
ARRAY are in engine/variant_functions.py.
"""

import re
from collections.abc import Callable

from sqlglot import exp

from local_account.engine.types import NUMBER_TYPES, TEXT_TYPES, TIME_TYPES, T, is_variant, kind_of
from local_account.engine.variant_functions import FUNCTIONS
from local_account.sql.numeric_scale import branches
from local_account.sql.rewrites.dates import DATE_PARTS, unit_of
from local_account.sql.rewrites.operators import operands
from local_account.sql.rewrites.rules import ANONYMOUS, RULES
from local_account.text.errors import compilation_error, unsupported

TRANSLATED_WELL = """
    Abs Acos AddMonths And Any AnyValue ApproxDistinct Ascii Asin Atan Atan2 Avg Base64DecodeString Base64Encode
    BitwiseAnd BitwiseAndAgg BitwiseLeftShift BitwiseNot BitwiseOr BitwiseOrAgg BitwiseRightShift BitwiseXor
    BitwiseXorAgg Coalesce Contains ConvertTimezone Corr Cos CountIf CovarPop CovarSamp CumeDist DateFromParts
    DecodeCase Degrees DenseRank EndsWith EqualNull Exists Exp FirstValue Greatest Grouping Hex ILike If Initcap Is
    Lag LastValue Lead Least Left Length Levenshtein Like Ln Log LogicalAnd LogicalOr Lower MD5 Max Median Min Mode
    NextDay NthValue Ntile Nullif Nvl2 Or Pad PercentRank PercentileCont PercentileDisc Pi Pow PreviousDay Radians
    Rand Rank RegexpCount RegexpInstr RegexpLike RegexpReplace Repeat Replace Reverse Right Round RowNumber SHA SHA2
    Sign Sin Space SplitPart Sqrt StartsWith Stddev StddevPop StrPosition StrToTime Strtok Stuff Sum Tan ToDouble
    Translate Trim Trunc TsOrDsToTime Upper Uuid Variance VariancePop
"""
PLAIN = set(TRANSLATED_WELL.split())
REFUSALS: list[tuple[str, Callable[[exp.Expression], object], str]] = [
    # expression classes, a test whether they would answer otherwise than Snowflake, and the name in the refusal
    ("Min Max Greatest Least DecodeCase Mode", lambda node: any(map(is_variant, operands(node))),
     "{name} of a VARIANT, which the engine would compare as text; cast it"),
    ("Ordered", lambda node: is_variant(sorted_by(node)), "ORDER BY a VARIANT; cast it"),
    ("In", lambda node: not node.expressions and is_variant(node.this), "a VARIANT IN (SELECT ...); cast it"),
    ("Join", lambda node: node.kind in ("SEMI", "ANTI"), "SEMI and ANTI JOIN, and neither does Snowflake; EXISTS"),
    ("Distinct", lambda node: node.args.get("on"), "DISTINCT ON, and neither does Snowflake; QUALIFY ROW_NUMBER()"),
    ("Limit", lambda node: node.find(exp.LimitOptions), "LIMIT of a percentage, and neither does Snowflake; SAMPLE"),
    ("RowNumber Rank DenseRank Ntile PercentRank CumeDist Lag Lead", lambda node: not is_ordered(node),
     "{name} without ORDER BY, and neither does Snowflake"),
    ("Log", lambda node: not node.expression, "LOG without a base, and neither does Snowflake; LN"),
    ("SHA2", lambda node: node.text("length") not in ("", "256"), "SHA2 of another length than 256"),
    ("DateAdd", lambda node: node.text("unit").upper().startswith("NANO"), "nanoseconds"),
    ("DateAdd DateDiff TimestampTrunc DateTrunc LastDay", lambda node: re.match("DEC|CENT|MIL+EN|ERA", unit_of(node)),
     "the date part of {sql}"),
    ("Extract", lambda node: not DATE_PARTS.fullmatch(node.name.upper()), "the date part of {sql}"),
    ("RegexpInstr", lambda node: node.args.get("group") or "e" in node.text("parameters"), "groups in REGEXP_INSTR"),
    ("RegexpExtract RegexpReplace RegexpInstr", lambda node: node.expression.is_string and not node.expression.name,
     "an empty pattern"),
    ("RegexpReplace", lambda node: node.text("occurrence") not in ("", "0", "1"),
     "REGEXP_REPLACE of one occurrence that is not the first"),
    ("TryCast", lambda node: kind_of(node.this) not in TEXT_TYPES | {None, T.NULL}, "TRY_CAST of what is not text"),
    ("Interval", lambda node: True, "INTERVAL; DATEADD"),
    ("Sum", lambda node: kind_of(node.this) == T.BOOLEAN, "SUM of a BOOLEAN, and neither does Snowflake; COUNT_IF"),
    ("Count", lambda node: node.this and node.this.is_star and isinstance(node.this, exp.Column), "COUNT(alias.*)"),
    ("ArgMax ArgMin", lambda node: node.args.get("count"), "{name} with a number of values"),
    ("ParseJSON", lambda node: node.expression, "PARSE_JSON with a parameter"),
    ("If Case", lambda node: {"number", "text"} <= {sort_of(branch) for branch in branches(node)},
     "text or else a number in {sql}; cast it"),
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
REFUSALS_OF = {  # class -> those of them that concern it
    name: [(would_differ, words) for classes, would_differ, words in REFUSALS if name in classes.split()]
    for listed, *_ in REFUSALS
    for name in listed.split()
}


def is_ordered(node: exp.Expression) -> bool:
    """Whether the window over which the function goes has an order."""
    window = node.find_ancestor(exp.Window)
    return window is not None and window.args.get("order") is not None


def sorted_by(node: exp.Ordered) -> exp.Expression:
    """The expression that ORDER BY sorts by. A number means a column of the query."""
    query = node.parent.parent
    if node.this.is_int and isinstance(node.parent, exp.Order) and isinstance(query, exp.Select):
        if not 0 < int(node.this.name) <= len(query.selects):
            raise compilation_error(f"ORDER BY position {node.this.name} is not in the select list", 1003)
        return query.selects[int(node.this.name) - 1].unalias()
    return node.this


def sort_of(node: exp.Expression) -> str:
    if is_variant(node):
        return "variant"
    kind = kind_of(node)
    return "text" if kind in TEXT_TYPES else "number" if kind in NUMBER_TYPES else ""


def unlike(left: exp.Expression, right: exp.Expression) -> bool:
    """Whether the engine would convert both to text, where Snowflake converts the text to the other's type."""
    kinds = {kind_of(side.unalias()) for side in (left, right)} - {T.NULL}
    return None not in kinds and len(kinds) > 1 and bool(kinds & TEXT_TYPES) and bool(kinds - TEXT_TYPES)


def refuse(node: exp.Expression) -> None:
    """Raise for a use of a function that is known to answer otherwise here."""
    for would_differ, words in REFUSALS_OF.get(type(node).__name__, ()):
        if would_differ(node):
            name = node.sql_name() if isinstance(node, exp.Func) else node.key
            raise unsupported(words.format(name=name, sql=node.sql("snowflake")), __name__)


def check(node: exp.Expression) -> None:
    """Raise unless the function is one whose answers are known to be Snowflake's."""
    if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)):
        name = node.name.upper()
        if name not in ANONYMOUS and (name not in FUNCTIONS or name.startswith(".")):
            raise unsupported(f"the function {name}", __name__)
        if any(isinstance(argument, exp.Star) for argument in node.expressions):
            raise unsupported(f"{name}(*)", __name__)
    elif isinstance(node, exp.Func) and type(node).__name__ not in PLAIN and type(node) not in RULES:
        raise unsupported(f"the function {node.sql_name()}", __name__)

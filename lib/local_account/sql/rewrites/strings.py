"""Rewrites of functions over text."""

from sqlglot import exp

from local_account.engine.types import TEXT_TYPES, T, kind_of
from local_account.sql.rewrites.arguments import rewrite_plain
from local_account.sql.rewrites.nodes import call


def rewrite_substring(node: exp.Substring) -> exp.Expression:
    """A start before the first character is outside the text, and the answer empty."""
    start, length = node.args.get("start"), node.args.get("length")
    node = rewrite_plain(node)
    known = isinstance(start, exp.Literal)
    if known and start.is_int and isinstance(length, exp.Literal) and length.is_int:
        first = exp.Literal.number(max(1, int(start.this)))  # in Snowflake 0 means 1
        return call("substring", node.this, first, length, kind=kind_of(node.this))
    if known or kind_of(node.this) not in TEXT_TYPES:
        return node
    return call("sf_unless_before", node.this.copy(), start.copy(), node, kind=T.TEXT)


def rewrite_regexp_substr(node: exp.Expression) -> exp.Expression:
    """With the parameter e it answers a group: the first, if no group is named."""
    flags, group = node.text("parameters"), node.text("group")
    if "e" in flags and group in ("", "0"):
        node.set("group", exp.Literal.number(1))
    return rewrite_plain(node)


RULES = {
    exp.Substring: rewrite_substring,
    exp.RegexpExtract: rewrite_regexp_substr,
}  # fmt: skip

"""Arguments of functions, as text or numbers where the engine would refuse or misread them."""

from sqlglot import exp

from local_account.engine.types import TEXT_TYPES, T, is_variant, kind_of
from local_account.sql.rewrites.casts import to_text
from local_account.sql.rewrites.nodes import as_text, call, cast

PATTERNS = (exp.Like, exp.ILike)
IN_TEXT = (*PATTERNS, exp.Contains, exp.StartsWith, exp.EndsWith)
OF_TEXT = (*IN_TEXT, exp.Length, exp.Lower, exp.Upper, exp.Reverse, exp.Replace, exp.Pad, exp.Left, exp.Right,
           exp.Trim, exp.SplitPart, exp.Substring, exp.MD5, exp.RegexpLike,
           exp.RegexpReplace, exp.RegexpExtract, exp.Initcap, exp.Repeat)  # fmt: skip
OF_NUMBERS = (exp.Sum, exp.Avg, exp.Round, exp.Abs)
TAKE_VARIANT = (exp.Coalesce, exp.If, exp.Count, exp.AnyValue, exp.FirstValue, exp.LastValue, exp.NthValue, exp.Lag,
                exp.Lead, exp.Nvl2, exp.Nullif, exp.Exists, exp.And, exp.Or, exp.Not, exp.EqualNull,
                exp.ApproxDistinct)  # fmt: skip


def rewrite_plain(node: exp.Expression) -> exp.Expression:
    """Rewrite a function that has no rule of its own: VARIANT arguments become text, or numbers."""
    if isinstance(node, (exp.Func, *PATTERNS)) and not isinstance(node, TAKE_VARIANT):
        for value in list(node.args.values()):
            for argument in value if isinstance(value, list) else [value]:
                if isinstance(argument, exp.Expression) and is_variant(argument):
                    made = call("sf_number", argument.copy(), kind=T.DOUBLE) if isinstance(node, OF_NUMBERS) else None
                    argument.replace(made or as_text(argument.copy()))
    for key in ("this", "expression") if isinstance(node, IN_TEXT) else ("this",) if isinstance(node, OF_TEXT) else ():
        value = node.args[key]
        several = isinstance(value, (exp.Any, exp.All))  # LIKE ANY ('a%', 'b%')
        if key == "expression" and isinstance(value, exp.Null):
            node.set(key, cast(value, "VARCHAR", T.TEXT))
        elif not several and kind_of(value) not in TEXT_TYPES | {T.BINARY, T.VARBINARY, T.NULL, None}:
            node.set(key, to_text(value))
    return node

"""The small pieces that rewrites are made of: engine calls, casts, literals."""

from sqlglot import exp

from local_account.engine.types import T, is_variant


def call(name: str, *args: exp.Expression, kind: T | str | None = None) -> exp.Expression:
    """An engine function or macro; ``kind`` is the type of its value, for the rewrites above it."""
    node = exp.Anonymous(this=name, expressions=list(args))
    if kind is not None:
        node.type = exp.DataType(this=kind) if isinstance(kind, T) else exp.DataType.build(kind)
    return node


def cast(node: exp.Expression, engine: str, kind: T | None = None) -> exp.Expression:
    """A cast in the engine's own terms, not to be rewritten again."""
    made = exp.Cast(this=node, to=exp.DataType.build(engine, dialect="duckdb"))
    made.type = exp.DataType(this=kind) if kind else made.to
    return made


def text(value: str) -> exp.Literal:
    made = exp.Literal.string(value)
    made.type = exp.DataType(this=T.TEXT)
    return made


def variant(node: exp.Expression) -> exp.Expression:
    """Any value as VARIANT; SQL NULL stays SQL NULL."""
    return node if is_variant(node) else call("sf_variant", node, kind=T.VARIANT)


def as_text(node: exp.Expression) -> exp.Expression:
    return call("sf_text", node, kind=T.TEXT) if is_variant(node) else node


def engine_node(node: exp.Expression) -> exp.Expression:
    node.meta["engine"] = True
    return node


def engine_tree(node: exp.Expression) -> exp.Expression:
    """The same for all that the expression consists of."""
    for part in node.walk():
        engine_node(part)
    return node

"""Rewrites for VARIANT, OBJECT and ARRAY, which are the engine's JSON here: paths, literals, aggregates, calls."""

from sqlglot import exp

from local_account.engine.types import T
from local_account.engine.variant_functions import FUNCTIONS
from local_account.sql.rewrites.nodes import as_text, call, cast, text, variant
from local_account.text.errors import unsupported


def json_call(name: str, arguments: list[exp.Expression]) -> exp.Expression:
    """The call of one of variant_functions.FUNCTIONS."""
    if not arguments:
        return cast(text("{}" if FUNCTIONS[name][1] == "OBJECT" else "[]"), "JSON", T[FUNCTIONS[name][1]])
    given = [cast(variant(argument), "VARCHAR", T.TEXT) for argument in arguments]
    made = call("account_rows" if name == ".FLATTEN" else "account_call", text(f"json:{name}"), *given, kind=T.TEXT)
    kind = FUNCTIONS[name][1]
    if kind == "TEXT":
        return made
    return cast(made, "JSON" if kind in ("ARRAY", "OBJECT", "VARIANT") else kind, T[kind])


def rewrite_path(node: exp.JSONExtract) -> exp.Expression:
    path = node.expression
    spelled = path.sql(dialect="duckdb").strip("'") if isinstance(path, exp.JSONPath) else path.name
    if "[-" in spelled:
        raise unsupported("a negative index in a path", __name__)
    if is_converted(node):
        return call("json_extract", node.this, text(spelled), kind=T.VARIANT)
    return json_call("GET_PATH", [node.this, text(spelled.removeprefix("$"))])


def is_converted(node: exp.Expression) -> bool:
    """Whether the value is only cast or compared: then the engine's extraction, which respells numbers, will do."""
    parent = node.parent
    while isinstance(parent, exp.Paren):
        parent = parent.parent
    converts = isinstance(parent, (exp.Cast, exp.TryCast, exp.Binary, exp.Is, exp.In))
    return converts and not isinstance(parent, (exp.JSONExtract, exp.Dot))


def rewrite_bracket(node: exp.Bracket) -> exp.Expression:
    if is_converted(node):
        return call("sf_index", variant(node.this), node.expressions[0], kind=T.VARIANT)
    return json_call("GET", [node.this, node.expressions[0]])


def rewrite_parse_json(node: exp.ParseJSON) -> exp.Expression:
    """Blank text is no value."""
    maker = exp.TryCast if node.args.get("safe") else exp.Cast
    given = call("nullif", call("trim", as_text(node.this)), text(""), kind=T.TEXT)
    made = maker(this=given, to=exp.DataType.build("JSON", dialect="duckdb"))
    made.type = exp.DataType(this=T.VARIANT)
    return made


def rewrite_object_agg(node: exp.Expression) -> exp.Expression:
    key, value = node.this, cast(variant(node.expression), "VARCHAR")
    known = exp.Not(this=exp.Is(this=node.expression.copy(), expression=exp.null()))
    lists = [exp.Filter(this=call("list", item), expression=exp.Where(this=known.copy())) for item in (key, value)]
    return call("sf_object_agg", *lists, kind=T.OBJECT)


def rewrite_array_agg(node: exp.ArrayAgg) -> exp.Expression:
    node.set("nulls_excluded", True)
    return node


def pairs_of(node: exp.Struct) -> list[exp.Expression]:
    return [part for pair in node.expressions for part in (text(pair.this.name), pair.expression)]


RULES = {
    exp.JSONExtract: rewrite_path,
    exp.Bracket: rewrite_bracket,
    exp.ParseJSON: rewrite_parse_json,
    exp.ObjectAgg: rewrite_object_agg,
    exp.ArrayAgg: rewrite_array_agg,
    exp.Array: lambda node: json_call("ARRAY_CONSTRUCT", node.expressions),
    exp.Struct: lambda node: json_call("OBJECT_CONSTRUCT", pairs_of(node)),  # {'a': 1}
    exp.ToVariant: lambda node: variant(node.this),
}

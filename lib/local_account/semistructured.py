"""Rewrites for VARIANT, OBJECT and ARRAY, which are the engine's JSON here: paths, constructors, array functions."""

from __future__ import annotations

from sqlglot import exp

from .errors import unsupported
from .functions import RULES, as_text, call, cast, rule, text, variant
from .types import T, is_variant, kind_of


@rule(exp.JSONExtract)
def rewrite_path(node: exp.JSONExtract) -> exp.Expression:
    path = node.expression
    base = node.this if is_variant(node.this) or kind_of(node.this) is None else None
    if base is None:
        raise unsupported(f"a path on a value that is not VARIANT: {node.sql('snowflake')}", "functions.py")
    spelled = path.sql(dialect="duckdb").strip("'") if isinstance(path, exp.JSONPath) else path.name
    return call("json_extract", base, text(spelled), kind=T.VARIANT)


@rule(exp.Bracket)
def rewrite_bracket(node: exp.Bracket) -> exp.Expression:
    return call("sf_index", variant(node.this), node.expressions[0], kind=T.VARIANT)


@rule("GetExtract")
def rewrite_get(node: exp.Expression) -> exp.Expression:
    return call("sf_index", variant(node.this), node.expression, kind=T.VARIANT)


@rule(exp.ParseJSON)
def rewrite_parse_json(node: exp.ParseJSON) -> exp.Expression:
    maker = exp.TryCast if node.args.get("safe") else exp.Cast
    made = maker(this=as_text(node.this), to=exp.DataType.build("JSON", dialect="duckdb"))
    made.type = exp.DataType(this=T.VARIANT)
    return made


@rule(exp.Struct)
def rewrite_object(node: exp.Struct) -> exp.Expression:
    keys, values = [], []
    for pair in node.expressions:
        key = pair.this
        keys.append(text(key.name) if isinstance(key, exp.Identifier) else key)
        values.append(variant(pair.expression))
    if not keys:
        return call("json_object", kind=T.OBJECT)
    return call("sf_object", engine_list(keys), engine_list(values), kind=T.OBJECT)


def engine_list(members: list[exp.Expression]) -> exp.Expression:
    return call("list_value", *members)


@rule(exp.JSONObject)
def rewrite_object_keep_null(node: exp.JSONObject) -> exp.Expression:
    parts = [part for pair in node.expressions for part in (pair.this, variant(pair.expression))]
    return call("json_object", *parts, kind=T.OBJECT)


@rule(exp.Array)
def rewrite_array(node: exp.Array) -> exp.Expression:
    return call("json_array", *node.expressions, kind=T.ARRAY)


@rule("ObjectAgg", "JSONObjectAgg")
def rewrite_object_agg(node: exp.Expression) -> exp.Expression:
    return call("json_group_object", node.this, node.expression, kind=T.OBJECT)


@rule(exp.ArrayAgg)
def rewrite_array_agg(node: exp.ArrayAgg) -> exp.Expression:
    node.set("nulls_excluded", True)
    return node


@rule("IsNullValue")
def rewrite_is_json_null(node: exp.Expression) -> exp.Expression:
    return call("sf_is_json_null", node.this, kind=T.BOOLEAN)


MACRO_CALLS: dict[str, tuple[str, T, tuple[str, ...]]] = {
    # expression class -> macro, type of its value, arguments in order (a "v:" argument is made VARIANT)
    "ArraySize": ("sf_array_size", T.BIGINT, ("v:this",)),
    "ArrayContains": ("sf_array_contains", T.BOOLEAN, ("v:expression", "v:this")),
    "ArrayAppend": ("sf_array_append", T.ARRAY, ("v:this", "v:expression")),
    "ArrayToString": ("sf_array_text", T.TEXT, ("v:this", "expression")),
    "ArraySlice": ("sf_array_slice", T.ARRAY, ("v:this", "start", "end")),
    "ArrayDistinct": ("sf_array_distinct", T.ARRAY, ("v:this",)),
    "Typeof": ("sf_typeof", T.TEXT, ("v:this",)),
    "JSONKeys": ("sf_object_keys", T.ARRAY, ("v:this",)),
    "CheckJson": ("sf_check_json", T.TEXT, ("this",)),
    "Haversine": ("sf_haversine", T.DOUBLE, ()),
    "ObjectInsert": ("sf_object_insert", T.OBJECT, ("v:this", "key", "v:value")),
    "JSONFormat": ("json", T.TEXT, ("v:this",)),
}


def rewrite_macro_call(node: exp.Expression) -> exp.Expression:
    macro, kind, keys = MACRO_CALLS[type(node).__name__]
    arguments = []
    for key in keys:
        value = node.args.get(key.removeprefix("v:"))
        arguments.append(variant(value) if key.startswith("v:") else value)
    made = call(macro, *arguments, kind=kind)
    return cast(made, "VARCHAR", T.TEXT) if macro == "json" else made


for _name in MACRO_CALLS:
    if hasattr(exp, _name):
        RULES[getattr(exp, _name)] = rewrite_macro_call


@rule("Split")
def rewrite_split(node: exp.Expression) -> exp.Expression:
    return call("to_json", call("str_split", node.this, node.expression), kind=T.ARRAY)


@rule("ArrayConcat")
def rewrite_array_cat(node: exp.Expression) -> exp.Expression:
    return call("sf_array_cat", variant(node.this), variant(node.expressions[0]), kind=T.ARRAY)

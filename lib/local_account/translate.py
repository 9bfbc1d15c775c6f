"""Snowflake SQL -> DuckDB SQL: parse, resolve names, infer types, rewrite expressions.

The order matters. Names come first, because types need the columns of real tables; types come before rewrites,
because Snowflake's division, casts and comparisons depend on them; rewrites go from the leaves up, so that each sees
rewritten arguments.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from . import names, semistructured  # noqa: F401 - its rules register themselves
from .calls import resolve_calls
from .errors import SnowflakeError, compilation_error
from .functions import RULES, check, wrap_aggregates
from .sources import resolve_sources
from .types import T, annotation_type

if TYPE_CHECKING:
    from .session import Session

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of what the rewrites below take care of

TEXT = r"'(?:[^'\\]|\\.|'')*'|\$\$.*?\$\$"
METHOD = rf"\s*!\s*(?P<method>{names.PART})\s*\(\s*(?P<close>\))?"
MODEL = rf"\bMODEL\s*\(\s*(?P<model>{names.DOTTED})\s*(?:,\s*(?P<version>{names.PART})\s*)?\)"
SERVICE = rf"(?P<service>{names.DOTTED})"
METHOD_CALL = re.compile(rf"(?:{MODEL}|{SERVICE}){METHOD}|(?P<other>{TEXT}|{names.DOTTED})", re.I | re.S)


def translate(session: Session, sql: str) -> exp.Expression:
    """One Snowflake statement as a DuckDB syntax tree with every name resolved.

    Raises SnowflakeError for a syntax error, an unknown object, or something the account does not support.
    """
    tree = prepare(session, parse(sql))
    infer_types(session, tree)
    return rewrite(tree)


def generate(tree: exp.Expression) -> str:
    return tree.sql(dialect="duckdb", identify=True)


EXISTS_AFTER_NAME = re.compile(rf"^(CREATE\s[\w\s]*?TABLE\s+)({names.DOTTED})\s+(IF\s+NOT\s+EXISTS)\b", re.I)


def parse(sql: str) -> exp.Expression:
    sql = EXISTS_AFTER_NAME.sub(r"\1 \3 \2", sql)  # Snowflake takes the clause there too, and Snowpark writes it so
    try:
        found = [tree for tree in sqlglot.parse(spell_method_calls(sql), read="snowflake") if tree is not None]
    except SqlglotError as error:
        raise SnowflakeError(f"SQL compilation error:\nsyntax error: {error}", 1003, "42000") from error
    if len(found) != 1:
        raise compilation_error("empty SQL statement", 900)
    return normalize_identifiers(found[0], dialect="snowflake")


def spell_method_calls(sql: str) -> str:
    """``MODEL(m, v)!F(x)`` and ``svc!F(x)`` as ordinary calls, which the parser can read."""
    if "!" not in sql:
        return sql

    def spell(found: re.Match) -> str:
        if found["other"]:
            return found[0]
        if found["model"]:
            call, parts = "__MODEL_CALL", (found["model"], found["version"] or "DEFAULT", found["method"])
        else:
            call, parts = "__SERVICE_CALL", (found["service"], found["method"])
        return f"{call}({', '.join(map(names.literal, parts))}" + (")" if found["close"] else ", ")

    return METHOD_CALL.sub(spell, sql)


def prepare(session: Session, tree: exp.Expression) -> exp.Expression:
    """Names resolved, functions checked. Views are expanded through this same function."""
    name_projections(tree)
    tree = resolve_calls(session, tree)
    for node in tree.walk():
        if not node.meta.get("engine") and not is_table_function(node):
            check(node)
    resolve_sources(session, tree)
    return tree


def is_table_function(node: exp.Expression) -> bool:
    """Whether the call stands in TABLE(...): sources.py knows which of those there are."""
    parent = node.parent
    while isinstance(parent, exp.Dot):
        parent = parent.parent
    return isinstance(parent, (exp.TableFromRows, exp.Lateral))


def name_projections(tree: exp.Expression) -> None:
    """Snowflake names an expression's column by its text."""
    for select in tree.find_all(exp.Select):
        for node in list(select.expressions):
            if isinstance(node, (exp.Alias, exp.Column, exp.Star, exp.Aliases)) or node.is_star:
                continue
            spelled = node.sql(dialect="snowflake")
            spelled = spelled if "'" in spelled or '"' in spelled else spelled.upper()
            node.replace(exp.alias_(node.copy(), exp.to_identifier(spelled, quoted=True)))


VARIANT_CLASSES = [exp.JSONExtract, exp.Bracket, exp.GetExtract, exp.ParseJSON]


def infer_types(session: Session, tree: exp.Expression) -> None:
    """Set ``type`` on the expressions whose type can be known; the others keep none.

    Works on a qualified copy, so that a statement which the optimizer cannot qualify still runs, untyped.
    """
    nodes = {}
    for number, node in enumerate(tree.walk()):
        node.meta["id"] = number
        nodes[number] = node
    schema = schema_of(session, tree)
    check_case(tree, schema)
    try:
        copy = qualify(
            tree.copy(), schema=schema, dialect="snowflake", expand_stars=True, validate_qualify_columns=False,
            quote_identifiers=False,
        )  # fmt: skip
        copy = annotate_types(copy, schema=schema, dialect="snowflake", expression_metadata=annotators())
    except SqlglotError:
        return
    for node in copy.walk():
        original = nodes.get(node.meta.get("id"))
        if original is not None and node.type is not None and node.type.this != T.UNKNOWN:
            original.type = node.type


def check_case(tree: exp.Expression, schema: MappingSchema) -> None:
    """Refuse ``"a"`` for a column A: the engine would take it, for it does not tell case apart."""
    tables = (table for schemas in schema.mapping.values() for found in schemas.values() for table in found.values())
    stored = {column for table in tables for column in table}
    folded = {column.casefold() for column in stored}
    made = {node.name for node in tree.find_all(exp.Identifier) if not isinstance(node.parent, exp.Column)}
    for column in tree.find_all(exp.Column):
        if column.meta.get("engine") or column.name in stored or column.name in made:
            continue
        if column.name.casefold() in folded:
            raise compilation_error(f"invalid identifier '{column.sql('snowflake')}'")


def annotators() -> dict:
    """The annotator's table, with VARIANT known as such."""
    known = dict(sqlglot.Dialect.get_or_raise("snowflake").EXPRESSION_METADATA)
    return known | {cls: {"returns": T.VARIANT} for cls in VARIANT_CLASSES}


def schema_of(session: Session, tree: exp.Expression) -> MappingSchema:
    """The columns of every stored table that the statement reads or writes."""
    schema = MappingSchema(dialect="snowflake", normalize=False)
    for table in tree.find_all(exp.Table):
        if not (table.catalog and table.db and isinstance(table.this, exp.Identifier)):
            continue
        found = session.con.execute(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = ? AND schema_name = ? AND table_name = ?",
            [table.catalog, table.db, table.name],
        ).fetchall()
        columns = {name: exp.DataType.build(annotation_type(kind), dialect="snowflake") for name, kind in found}
        schema.add_table(
            exp.table_(table.name, table.db, table.catalog, quoted=True), columns, dialect="snowflake", normalize=False
        )
    return schema


def rewrite(tree: exp.Expression) -> exp.Expression:
    """Apply the rules of functions.py from the leaves up."""
    wrap_aggregates(tree)
    for node in reversed(list(tree.walk(bfs=False))):
        rule = RULES.get(type(node))
        if rule is None or node.meta.get("engine"):
            continue
        parent, key, index = node.parent, node.arg_key, node.index
        made = rule(node)
        if made is node:
            continue
        if parent is None:
            tree = made
        else:  # not node.replace(): the rule may have put the node inside what it made
            parent.set(key, made, index=index)
    return tree

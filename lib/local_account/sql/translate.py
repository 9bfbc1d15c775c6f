"""Snowflake SQL -> DuckDB SQL: resolve names, infer types, rewrite expressions.

The order matters. Names come first, because types need the columns of real tables; types come before rewrites,
because Snowflake's division, casts and comparisons depend on them; rewrites go from the leaves up, so that each sees
rewritten arguments.
"""

import datetime as dt
import decimal
import functools

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError, UnsupportedError
from sqlglot.optimizer.annotate_types import TypeAnnotator, annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from local_account.account.catalog import FILE
from local_account.account.session import Session
from local_account.engine.types import TEXT_TYPES, T, annotation_type, kind_of
from local_account.engine.variant_functions import FUNCTIONS
from local_account.sql.allowed_functions import refuse
from local_account.sql.dialect import SNOWFLAKE
from local_account.sql.dml_casts import convert_assigned_values
from local_account.sql.numeric_scale import note_scales
from local_account.sql.parser import LONG, parse, parsed
from local_account.sql.rewrites.aggregates import wrap_aggregates
from local_account.sql.rewrites.arguments import rewrite_plain
from local_account.sql.rewrites.dates import TIMESTAMPS
from local_account.sql.rewrites.rules import RULES
from local_account.sql.sources import created, prepare
from local_account.text import identifiers
from local_account.text.errors import compilation_error, demand_columns, unsupported

QUERIES = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)


def translate(session: Session, sql: str, binds: list | None = None) -> exp.Expression:
    """One Snowflake statement as a DuckDB syntax tree with every name resolved. ``binds`` give parameters their types.

    Raises SnowflakeError for a syntax error, an unknown object, or something the account does not support.
    """
    tree = parsed(sql).copy() if len(sql) < LONG else parse(sql)
    defines = isinstance(tree, exp.Create) and tree.kind in ("TABLE", "VIEW")
    if not defines and not isinstance(tree, (*QUERIES, exp.Insert, exp.Update, exp.Delete, exp.Merge)):
        raise unsupported(f"the statement {sql.split('(')[0][:80].strip()!r}", "local_account.statements.handlers")
    tree = prepare(session, tree)
    for marker, value in zip(tree.find_all(exp.Placeholder, bfs=False), binds or [], strict=False):
        marker.meta["kind"] = bind_type(value)
    kinds = infer_types(session, tree)
    convert_assignments(session, tree, kinds)
    tree = rewrite(tree)
    tree.meta["kinds"] = kinds
    return tree


def bind_type(value: object) -> exp.DataType:
    if isinstance(value, decimal.Decimal):
        return exp.DataType.build(f"DECIMAL(38, {max(0, -value.as_tuple().exponent)})")
    kinds = {bool: T.BOOLEAN, int: T.BIGINT, float: T.DOUBLE, str: T.TEXT, bytes: T.BINARY, dt.date: T.DATE}
    return exp.DataType(this=kinds.get(type(value), T.UNKNOWN))


def generate(tree: exp.Expression) -> str:
    """The engine's SQL. The tree is changed while it is written, which saves a copy; it can be written again."""
    try:
        return tree.sql(dialect="duckdb", identify=True, unsupported_level=ErrorLevel.RAISE, copy=False)
    except UnsupportedError as error:  # otherwise the part that sqlglot does not know would be left out
        raise unsupported(f"a part of this statement ({error})", "local_account.sql.allowed_functions") from error


def infer_types(session: Session, tree: exp.Expression) -> list[exp.DataType]:
    """Set ``type`` on the expressions whose type can be known. Returns the types of the result's columns.

    Works on a qualified copy, so that a statement which the optimizer cannot qualify still runs, untyped.
    """
    schema = schema_of(session, tree)
    if not session.load:  # the columns of staged files keep their case, and are not in the schema
        check_case(tree, schema)
    copy, nodes = tree.copy(), list(tree.walk())
    for number, node in enumerate(copy.walk()):
        node.meta["id"] = number
    try:
        for lateral in list(copy.find_all(exp.Lateral)):  # the optimizer infers types in subqueries only
            lateral.this.set("alias", lateral.args["alias"])
            lateral.replace(lateral.this)
        copy = qualify(
            as_query(copy), schema=schema, dialect=SNOWFLAKE, expand_stars=True, validate_qualify_columns=False,
            quote_identifiers=False,
        )  # fmt: skip
        copy = annotate_types(copy, schema=schema, dialect=SNOWFLAKE, expression_metadata=ANNOTATORS)
        note_scales(copy)
    except SqlglotError:
        return []
    for node in copy.walk():
        if "id" not in node.meta:
            continue
        original = nodes[node.meta["id"]]
        original.meta["scale"] = node.meta.get("scale")
        if node.type is not None and node.type.this != T.UNKNOWN:
            original.type = node.type
    for column in tree.find_all(exp.Column):
        select = column.find_ancestor(exp.Select) if kind_of(column) is None and not column.table else None
        if select is not None and column.name in select.named_selects:  # the name of another column of the SELECT
            column.type = select.expressions[select.named_selects.index(column.name)].unalias().type
    return result_types(copy)


def result_types(tree: exp.Expression) -> list[exp.DataType]:
    """The types of the result's columns. A stored column keeps its length, and whether it may be NULL, unless
    subqueries compute something that could be meant."""
    inner = (column for select in tree.find_all(exp.Select) if select is not tree for column in select.selects)
    plain = all(isinstance(column.unalias(), exp.Column) for column in inner)
    plain = plain and not tree.find(exp.SetOperation) and not any(join.side for join in tree.find_all(exp.Join))
    kinds = []
    for projected in getattr(tree, "selects", []):
        kind, stored = projected.type or exp.DataType(this=T.UNKNOWN), isinstance(projected.unalias(), exp.Column)
        kinds.append(kind if stored and plain else exp.DataType(this=kind.this))
    return kinds


def as_query(tree: exp.Expression) -> exp.Expression:
    """A change of rows as a query over its tables and expressions: the optimizer infers types in queries only."""
    if not isinstance(tree, (exp.Update, exp.Delete, exp.Merge)):
        return tree
    using = tree.args.get("using") or [source.this for source in tree.find_all(exp.From) if source.parent is tree]
    values = [node.this for node in [tree.args.get("where")] if node] + [tree.args.get("on")]
    values += [when.args.get("condition") for when in tree.find_all(exp.When)]
    values += [assigned.expression for update in tree.find_all(exp.Update) for assigned in update.expressions]
    values += [value for insert in tree.find_all(exp.Insert) for value in insert.expression.expressions]
    query = exp.select(*(exp.alias_(v, f"C{i}") for i, v in enumerate(values) if v is not None)).from_(tree.this)
    query.set("joins", [exp.Join(this=source) for source in (using if isinstance(using, list) else [using])])
    return query


def check_case(tree: exp.Expression, schema: MappingSchema) -> None:
    """Refuse ``"a"`` for a column A: the engine ignores case and would accept it."""
    tables = (table for schemas in schema.mapping.values() for found in schemas.values() for table in found.values())
    refuse_ambiguous(tree)
    stored = {column for table in tables for column in table}
    folded = {column.casefold() for column in stored}
    made = {node.name for node in tree.find_all(exp.Identifier) if not isinstance(node.parent, exp.Column)}
    for select in tree.find_all(exp.Select):
        listed = set(select.named_selects)
        if len({name.casefold() for name in listed}) < len(listed):
            raise unsupported("columns whose names differ in case alone", __name__)
    spelled = {name.casefold() for name in made}
    for column in tree.find_all(exp.Column):
        if column.table not in made and column.table.casefold() in spelled:
            raise compilation_error(f"invalid identifier '{column.sql('snowflake')}'")
        if column.meta.get("engine") or column.name in stored or column.name in made:
            continue
        if column.name.casefold() in folded:
            raise compilation_error(f"invalid identifier '{column.sql('snowflake')}'")


def refuse_ambiguous(tree: exp.Expression) -> None:
    """The engine takes the first of two columns of one name in a subquery."""
    for query in tree.find_all(exp.Subquery, exp.CTE):
        listed = query.this.named_selects if isinstance(query.this, exp.Query) else []
        twice = {name for name in listed if listed.count(name) > 1} - {"*"}
        for column in tree.find_all(exp.Column) if twice else ():
            select = column.find_ancestor(exp.Select)
            if column.name in twice and select is not None and reads_from(select, query):
                raise compilation_error(f"ambiguous column name '{column.name}'", 2028, "42601")


def reads_from(select: exp.Select, query: exp.Subquery | exp.CTE) -> bool:
    joins = select.args.get("joins") or ()
    sources = [source.this for source in (select.args.get("from_"), *joins) if source is not None]
    if isinstance(query, exp.CTE):
        return any(isinstance(source, exp.Table) and source.name == query.alias for source in sources)
    return any(source is query for source in sources)


def convert_assignments(session: Session, tree: exp.Expression, kinds: list[exp.DataType]) -> None:
    if isinstance(tree, (*QUERIES, exp.Delete)):
        return
    table = tree.find(exp.Table)
    stored = schema_of(session, table).mapping.get(table.catalog, {}).get(table.db, {}).get(table.name, {})
    if isinstance(tree, exp.Insert) and isinstance(tree.this, exp.Schema):
        demand_columns([column.name for column in tree.this.expressions], stored)
    convert_assigned_values(tree, {name: exp.DataType.build(kind) for name, kind in stored.items()}, kinds)


def annotate_call(annotator: TypeAnnotator, node: exp.Anonymous) -> exp.Anonymous:
    name = node.name.upper()
    kind = T[FUNCTIONS[name][1]] if name in FUNCTIONS else TIMESTAMPS.get(name, T.UNKNOWN)
    return annotator._set_type(node, kind)


def annotate_date_add(annotator: TypeAnnotator, node: exp.DateAdd) -> exp.DateAdd:
    """Text is read as a timestamp."""
    READ_DATE_ADD(annotator, node)
    return annotator._set_type(node, T.TIMESTAMPNTZ) if kind_of(node.this) in TEXT_TYPES else node


METADATA = sqlglot.Dialect.get_or_raise(SNOWFLAKE).EXPRESSION_METADATA
READ_DATE_ADD = METADATA[exp.DateAdd]["annotator"]
ANNOTATORS = {
    **METADATA,
    exp.DateAdd: {"annotator": annotate_date_add},
    **{cls: {"returns": T.VARIANT} for cls in (exp.JSONExtract, exp.Bracket, exp.ParseJSON)},
    exp.Array: {"returns": T.ARRAY},
    exp.ArrayAgg: {"returns": T.ARRAY},
    exp.Struct: {"returns": T.OBJECT},
    exp.Anonymous: {"annotator": annotate_call},
    exp.Placeholder: {"annotator": lambda self, node: self._set_type(node, node.meta.get("kind", T.UNKNOWN))},
}
"""The annotator's table, with VARIANT and parameters known."""


def schema_of(session: Session, tree: exp.Expression) -> MappingSchema:
    """The columns of every stored table that the statement reads or writes."""
    schema = MappingSchema(dialect="snowflake", normalize=False)
    for table in tree.find_all(exp.Table):
        if not (table.catalog and table.db and isinstance(table.this, exp.Identifier)) or created(table):
            continue
        stored = columns_of(session, table)
        types = table.meta.get("types", {})
        columns = {column: data_type(kind, types.get(column), null) for column, kind, null, *_ in stored}
        name = exp.table_(table.name, table.db, table.catalog, quoted=True)
        schema.add_table(name, columns, dialect="snowflake", normalize=False)
    return schema


def columns_of(session: Session, table: exp.Table) -> list[tuple]:
    place = identifiers.quote(table.catalog, table.db, table.name)

    def ask() -> list[tuple]:
        return session.con.execute(f"DESCRIBE {place}").fetchall()

    return session.ask(place, ask) if table.catalog == FILE else ask()  # others are temporary, and the session's own


@functools.cache
def data_type(kind: str, declared: str | None, null: str) -> exp.DataType:
    made = exp.DataType.build(declared or annotation_type(kind), dialect="snowflake")
    if null == "NO":
        made.set("nullable", False)
    return made


def rewrite(tree: exp.Expression) -> exp.Expression:
    """Apply the rewrites from the leaves up."""
    wrap_aggregates(tree)
    for node in reversed(list(tree.walk(bfs=False))):
        rule = RULES.get(type(node))
        if node.meta.get("engine"):
            continue
        refuse(node)
        parent, key, index = node.parent, node.arg_key, node.index
        made = rule(node) if rule else rewrite_plain(node)
        if made is node:
            continue
        if parent is None:
            tree = made
        else:  # not node.replace(): the rule may have put the node inside what it made
            parent.set(key, made, index=index)
    return tree

"""The sources of a query: tables, views, stages, directory tables, FLATTEN, GENERATOR, RESULT_SCAN, and the
INFORMATION_SCHEMA, each turned into a DuckDB table or subquery."""

import uuid

import sqlglot
from sqlglot import exp

from local_account.account import catalog
from local_account.account.session import Session
from local_account.engine.types import T
from local_account.sql import stage_files
from local_account.sql.allowed_functions import check
from local_account.sql.context_functions import resolve_calls
from local_account.sql.information_schema import information_schema
from local_account.sql.parser import parsed
from local_account.sql.rewrites.nodes import engine_tree
from local_account.text import identifiers
from local_account.text.errors import Missing, SnowflakeError, unsupported
from local_account.text.identifiers import Name
from local_account.text.literals import literal

FLATTEN_COLUMNS = {"SEQ": "BIGINT", "KEY": "VARCHAR", "PATH": "VARCHAR", "INDEX": "BIGINT", "VALUE": "JSON",
                   "THIS": "JSON"}  # fmt: skip


Known = dict[tuple[str, Name], catalog.Object | None]  # what the statement has looked up already


def prepare(session: Session, tree: exp.Expression, known: Known | None = None) -> exp.Expression:
    """Names resolved, functions checked. Views are expanded through this same function."""
    tree = resolve_calls(session, tree)
    for node in tree.walk():
        if not node.meta.get("engine") and not is_table_function(node):
            check(node)
    resolve_sources(session, tree, {} if known is None else known)
    return tree


def is_table_function(node: exp.Expression) -> bool:
    """Whether the call is an argument of TABLE(...). Those are checked by resolve_table_function."""
    parent = node.parent
    while isinstance(parent, (exp.Dot, exp.Window)):
        parent = parent.parent
    return isinstance(parent, (exp.TableFromRows, exp.Lateral))


def resolve_sources(session: Session, tree: exp.Expression, known: Known) -> None:
    """Replace every table of the statement by the engine's table or query for it."""
    for lateral in list(tree.find_all(exp.Lateral)):
        if not lateral.meta.get("engine"):
            resolve_lateral(lateral)
    for call in list(tree.find_all(exp.TableFromRows)):
        resolve_table_function(session, call)
    for values in list(tree.find_all(exp.Values)):
        name_value_columns(values)
    ctes = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if not table.meta.get("engine") and table.arg_key != "format":  # the name of a file format is not a table
            resolve_table(session, table, ctes, known)
    for parameter in list(tree.find_all(exp.Parameter)):
        if parameter.name.isdigit():
            parameter.replace(exp.column(exp.to_identifier(f"COLUMN{parameter.name}", quoted=True)))


def resolve_table(session: Session, table: exp.Table, ctes: set[str], known: Known) -> None:
    inner = table.this
    if isinstance(inner, exp.DirectoryStage):
        return replace_source(table, stage_files.directory(session, stage_text(inner.this)), "DIRECTORY")
    if isinstance(inner, (exp.Var, exp.Literal)) and stage_text(inner).startswith(("@", "snow://")):
        return replace_source(
            table, stage_files.select_files(session, stage_text(inner), stage_files.source_options(table)), "T"
        )
    if not isinstance(inner, exp.Identifier):
        raise unsupported(f"the source {table.sql('snowflake')}", __name__)
    if table.args.get("when"):
        raise unsupported("time travel (AT | BEFORE)", __name__)
    if not table.db and inner.name in ctes:
        return None
    if table.db.upper() == "INFORMATION_SCHEMA" or (not table.db and session.schema == "INFORMATION_SCHEMA"):
        database = table.catalog or session.database
        return replace_source(table, information_schema(session, database, inner.name), inner.name)
    name = session.qualify([part.name for part in table.parts])
    stored = None if created(table) else look_up(session, "TABLE", name, known)
    if stored is not None:
        table.meta["types"] = stored.properties.get("types", {})
    elif not created(table):
        view = look_up(session, "VIEW", name, known)
        if view is None or written(table):
            raise Missing("Object", str(name))
        return replace_source(table, expand_view(session, view, name, known), name.name)
    return point(table, session, name)


def look_up(session: Session, kind: str, name: Name, known: Known) -> catalog.Object | None:
    """Views over views name the same few objects again and again, and each look costs more than a millisecond."""
    if (kind, name) not in known:
        known[kind, name] = session.get(kind, name)
    return known[kind, name]


def stage_text(node: exp.Expression) -> str:
    return node.name if isinstance(node, (exp.Var, exp.Literal)) else node.sql("snowflake")


def written(table: exp.Table) -> bool:
    """Whether the table is the target of the statement rather than a source."""
    holder = table.parent.parent if isinstance(table.parent, exp.Schema) else table.parent
    target = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable)
    return isinstance(holder, target) and table.arg_key in ("this", "expressions")


def created(table: exp.Table) -> bool:
    return written(table) and table.find_ancestor(exp.Create) is not None


def point(table: exp.Table, session: Session, name: Name) -> None:
    """Name the engine's table: one schema per Snowflake schema, session tables in the engine's temporary schema."""
    if not table.alias and (not written(table) or isinstance(table.parent, (exp.Update, exp.Delete, exp.Merge))):
        table.set("alias", alias_of(name.name))
    for key, part in zip(("catalog", "db", "this"), session.place_parts(name), strict=True):
        table.set(key, exp.to_identifier(part, quoted=True))
    strip_qualifiers(table, name)


def strip_qualifiers(table: exp.Table, name: Name) -> None:
    """``SCHEMA.T.COLUMN`` -> ``T.COLUMN``: the engine knows the table by its alias."""
    scope = table.find_ancestor(exp.Select, exp.Update, exp.Delete, exp.Merge)
    for column in scope.find_all(exp.Column) if scope else ():
        if column.args.get("db") and column.table == name.name:
            column.set("db", None)
            column.set("catalog", None)


def replace_source(table: exp.Table, query: str | exp.Expression, default_alias: str) -> None:
    """Put a subquery in the table's place. Text is the engine's own SQL and is not rewritten again."""
    tree = engine_query(query) if isinstance(query, str) else query
    made = exp.Subquery(this=tree, alias=(table.args.get("alias") or alias_of(default_alias)).copy())
    for key in ("joins", "sample", "pivots"):
        if table.args.get(key):
            made.set(key, table.args[key])
    table.replace(made)


def engine_query(sql: str, hole: exp.Expression | None = None) -> exp.Expression:
    """Parse the engine's own SQL, marked so that neither checks nor rewrites touch it; ``hole`` goes where it says
    HOLE, and is rewritten like the rest of the statement."""
    tree = engine_tree(sqlglot.parse_one(sql, read="duckdb"))
    for column in list(tree.find_all(exp.Column)):
        if hole is not None and column.name == "HOLE":
            column.replace(hole)
    return tree


def expand_view(session: Session, view: catalog.Object, name: Name, known: Known) -> exp.Expression:
    """The view's own query, translated. Names in it belong to the view's schema."""
    kept = session.database, session.schema
    session.database, session.schema = view.properties["database"], view.properties["schema"]
    try:
        tree = prepare(session, parsed(view.properties["text"]).copy(), known)
    finally:
        session.database, session.schema = kept
    if columns := view.properties.get("columns"):
        tree = exp.select("*").from_(exp.Subquery(this=tree, alias=alias_of(name.name, columns)))
    return tree


def alias_of(name: str, columns: list[str] | None = None) -> exp.TableAlias:
    listed = [exp.to_identifier(column, quoted=True) for column in columns or []]
    return exp.TableAlias(this=exp.to_identifier(name, quoted=True), columns=listed)


def name_value_columns(values: exp.Values) -> None:
    """VALUES has the columns COLUMN1, COLUMN2, ... unless it is given others."""
    if isinstance(values.parent, exp.Insert):
        return
    alias = values.args.get("alias")
    if alias is not None and alias.args.get("columns"):
        return
    row = values.expressions[0]
    width = len(row.expressions) if isinstance(row, exp.Tuple) else 1
    name = alias.name if alias is not None and alias.name else f"V{uuid.uuid4().hex[:6]}"
    values.set("alias", alias_of(name, [f"COLUMN{i + 1}" for i in range(width)]))


def resolve_table_function(session: Session, call: exp.TableFromRows) -> None:
    function = call.this
    if isinstance(function, exp.Explode):
        put_rows(call, function, call.args.get("alias"))
        return
    if isinstance(function, exp.Window):
        raise unsupported("a table function over partitions", __name__)
    if isinstance(function, exp.Anonymous) and function.name.upper() in session.handlers.lateral_functions:
        rows = session.handlers.lateral_functions[function.name.upper()](session, function.expressions)
        put_lateral(call, rows, call.args.get("alias"))
        return
    query = table_function_query(session, function)
    call.replace(exp.Subquery(this=engine_query(query), alias=(call.args.get("alias") or alias_of("T")).copy()))


def table_function_query(session: Session, function: exp.Expression) -> str:
    if isinstance(function, exp.Generator):
        count = function.args.get("rowcount")
        if count is None:
            raise unsupported("GENERATOR without ROWCOUNT", __name__)
        return f'SELECT range AS "_" FROM range({int(count.name)})'
    called = function.expression if isinstance(function, exp.Dot) else function
    if not isinstance(called, exp.Func):
        raise unsupported(f"TABLE({called.sql('snowflake')})", __name__)
    name = called.name.upper() if isinstance(called, exp.Anonymous) else called.sql_name()
    arguments = [argument.name for argument in called.expressions]
    if name == "RESULT_SCAN":
        if arguments[0] not in session.results:
            raise SnowflakeError(f"Statement {arguments[0]} not found or its result has expired.", 709, "02000")
        table = f"RESULT_{arguments[0]}"
        session.con.register(table, session.results[arguments[0]].to_arrow())
        return f'SELECT * FROM "{table}"'
    if name in session.handlers.table_functions:
        return session.handlers.table_functions[name](session, arguments)
    raise unsupported(f"the table function {name}", __name__)


def rows_query(rows: list[tuple], columns: dict[str, str]) -> str:
    """Rows known here as an engine query; ``columns``: name -> engine type."""
    listed = ", ".join(
        f"CAST(c{i} AS {kind}) AS {identifiers.quote(name)}" for i, (name, kind) in enumerate(columns.items())
    )
    literals = [["NULL" if cell is None else literal(cell) for cell in row] for row in rows]
    values = ", ".join(f"({', '.join(row)})" for row in literals or [["NULL"] * len(columns)])
    labels = ", ".join(f"c{i}" for i in range(len(columns)))
    return f"SELECT {listed} FROM (VALUES {values}) AS t({labels}) WHERE {str(bool(rows)).lower()}"


def resolve_lateral(lateral: exp.Lateral) -> None:
    if not isinstance(lateral.this, exp.Explode):
        raise unsupported(f"LATERAL {lateral.this.sql('snowflake')}", __name__)
    put_rows(lateral, lateral.this, lateral.args.get("alias"))


def put_rows(node: exp.Expression, function: exp.Expression, alias: exp.TableAlias | None) -> None:
    """Replace ``LATERAL FLATTEN(...)``, ``TABLE(FLATTEN(...))`` by a lateral subquery."""
    statement = exp.Literal.string(uuid.uuid4().hex)
    arguments = {}
    for argument in [function.this, *function.expressions]:
        if isinstance(argument, exp.Kwarg):
            arguments[argument.this.name.upper()] = argument.expression
        else:
            arguments["INPUT"] = argument
    for unknown in arguments.keys() - {"INPUT", "PATH", "OUTER", "RECURSIVE", "MODE"}:
        raise unsupported(f"FLATTEN with {unknown}", __name__)
    flags = [arguments.get(key, exp.false()) for key in ("OUTER", "RECURSIVE")]
    rest = [arguments.get("PATH", exp.Literal.string("")), *flags, arguments.get("MODE", exp.Literal.string("BOTH"))]
    value = exp.Cast(this=arguments["INPUT"].copy(), to=exp.DataType(this=T.VARIANT))
    return put_lateral(node, json_rows(".FLATTEN", [statement, value, *rest], FLATTEN_COLUMNS), alias)


def json_rows(function: str, arguments: list[exp.Expression], columns: dict[str, str]) -> exp.Expression:
    """The rows of one of the table functions of variant_functions, as a query; ``columns``: name -> engine type."""
    listed = ", ".join(
        f"CAST(json_extract_string(m, '$.{name}') AS {kind}) AS {identifiers.quote(name)}"
        for name, kind in columns.items()
    )
    call = exp.Anonymous(this=function, expressions=[a.copy() for a in arguments])
    return engine_query(f"SELECT {listed} FROM (SELECT unnest(CAST(HOLE AS JSON[])) AS m) AS rows", call)


def put_lateral(node: exp.Expression, query: exp.Expression, alias: exp.TableAlias | None) -> None:
    """Join a subquery that depends on the rows to its left."""
    named = alias_of(alias.name if alias and alias.name else "F")
    lateral = exp.Lateral(this=exp.Subquery(this=query), alias=named)
    lateral.meta["engine"] = True
    if isinstance(node.parent, exp.Join):
        if node.parent.side:
            raise unsupported(f"{node.parent.side} JOIN LATERAL; FLATTEN has OUTER => TRUE", __name__)
        node.parent.set("this", lateral)
        node.parent.set("kind", "CROSS")
    elif isinstance(node.parent, (exp.From, exp.Subquery)):
        node.replace(exp.Subquery(this=query, alias=named))
    else:
        select = node.parent
        select.set("laterals", [other for other in select.args.get("laterals", []) if other is not node])
        select.append("joins", exp.Join(this=lateral, kind="CROSS"))

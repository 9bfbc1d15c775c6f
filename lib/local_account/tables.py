"""Tables and views: CREATE, ALTER, DROP, TRUNCATE, DESCRIBE, comments."""

from __future__ import annotations

import re

from sqlglot import exp

from . import catalog, names
from .catalog import FILE, Object
from .errors import already_exists, missing, unsupported
from .names import Name
from .results import Result, listing, status
from .session import Session
from .sources import engine_schema, table_name
from .statements import Matched, statement
from .types import snowflake_type

KNOWN_PROPERTIES = (exp.TemporaryProperty, exp.TransientProperty, exp.SchemaCommentProperty, exp.LikeProperty,
                    exp.SecureProperty, exp.CopyGrantsProperty)  # fmt: skip
KEPT_CONSTRAINTS = (exp.NotNullColumnConstraint, exp.DefaultColumnConstraint)
IGNORED_CONSTRAINTS = (exp.CommentColumnConstraint, exp.PrimaryKeyColumnConstraint, exp.UniqueColumnConstraint)


def engine_name(name: Name, temporary: bool) -> str:
    return names.quote("temp", "main", str(name)) if temporary else names.quote(FILE, engine_schema(name), name.name)


def table_exists(session: Session, name: Name) -> bool:
    if ("TABLE", name) in session.temporary:
        return True
    return engine_has(session, name)


def engine_has(session: Session, name: Name) -> bool:
    return session.con.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND table_name = ?",
        [FILE, engine_schema(name), name.name],
    ).fetchall()[0][0] > 0  # fmt: skip


def engine_columns(session: Session, engine_table: str) -> list[tuple]:
    """(name, engine type, nullable, default) of each column."""
    rows = session.con.execute(f"DESCRIBE {engine_table}").fetchall()
    return [(name, kind, null == "YES", default) for name, kind, null, _, default, *_ in rows]


def created_name(session: Session, tree: exp.Create) -> Name:
    """The name in a CREATE, whose table the translation has already pointed at the engine's schema."""
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if table.catalog == "temp":
        return Name(*names.split(table.name))
    database, _, schema = table.db.partition(".")
    return Name(database, schema, table.name)


def create_table_as(session: Session, tree: exp.Create, binds: list) -> Result:
    """CREATE TABLE with columns, AS SELECT, LIKE or CLONE."""
    from .translate import generate

    name = created_name(session, tree)
    session.need_schema(name.database, name.schema)
    properties = tree.args.get("properties") or exp.Properties(expressions=[])
    refuse_properties(tree)
    temporary = properties.find(exp.TemporaryProperty) is not None
    comment = properties.find(exp.SchemaCommentProperty)
    exists = ("TABLE", name) in session.temporary if temporary else engine_has(session, name)
    if exists and tree.args.get("exists"):
        return status(f"{name.name} already exists, statement succeeded.")
    if exists and not tree.args.get("replace"):
        raise already_exists(str(name))
    target = engine_name(name, temporary)
    columns = column_definitions(tree, generate)
    source = source_query(tree, properties, columns)
    with session.change(target):
        if exists:
            session.con.execute(f"DROP TABLE {target}")
        create = f"CREATE {'TEMP ' if temporary else ''}TABLE {target}"
        if columns and not source:
            session.con.execute(f"{create} ({', '.join(columns.values())})")
        else:
            session.con.execute(f"{create} AS {source}", binds or None)
        comment_columns(session, tree, target)
        record(session, name, temporary, comment.this.name if comment else "")
    return status(f"Table {name.name} successfully created.")


def refuse_properties(tree: exp.Create) -> None:
    """Raise for what would make another thing of it than a plain table or view: DYNAMIC, MATERIALIZED, CLUSTER BY."""
    for found in (tree.args.get("properties") or exp.Properties(expressions=[])).expressions:
        if not isinstance(found, KNOWN_PROPERTIES):
            raise unsupported(f"CREATE {tree.kind} with {found.sql('snowflake') or found.key}", "tables.py")


def record(session: Session, name: Name, temporary: bool, comment: str) -> None:
    table = Object("TABLE", name.database, name.schema, name.name, owner=session.role, comment=comment)
    if temporary:
        session.temporary["TABLE", name] = table
    else:
        catalog.put(session.con, table)


def column_definitions(tree: exp.Create, generate) -> dict[str, str]:
    """Column name -> its definition in the engine's words. Snowflake does not enforce keys, so they are not made."""
    found = {}
    if not isinstance(tree.this, exp.Schema):
        return found
    for column in tree.this.expressions:
        if isinstance(column, exp.Identifier):
            found[column.name] = ""
        elif isinstance(column, exp.ColumnDef):
            found[column.name] = column_definition(column, generate)
    return found


def column_definition(column: exp.ColumnDef, generate) -> str:
    parts = [names.quote(column.name), generate(column.kind) if column.kind else ""]
    for constraint in column.args.get("constraints", []):
        if isinstance(constraint.kind, KEPT_CONSTRAINTS):
            if not constraint.kind.args.get("allow_null"):
                parts.append(generate(constraint.kind))
        elif not isinstance(constraint.kind, IGNORED_CONSTRAINTS):
            raise unsupported(f"the column constraint {constraint.sql('snowflake')}", "tables.py")
    return " ".join(parts)


def source_query(tree: exp.Create, properties: exp.Properties, columns: dict[str, str]) -> str | None:
    from .translate import generate

    like = properties.find(exp.LikeProperty)
    if like:
        return f"SELECT * FROM {like.this.sql('duckdb')} LIMIT 0"
    if tree.args.get("clone"):
        return f"SELECT * FROM {tree.args['clone'].this.sql('duckdb')}"
    if tree.expression is None:
        return None
    query = generate(tree.expression)
    if not columns:
        return query
    listed = ", ".join(names.quote(column) for column in columns)
    typed = []
    for column in tree.this.expressions:
        kind = column.kind if isinstance(column, exp.ColumnDef) else None
        quoted = names.quote(column.name)
        typed.append(f"CAST({quoted} AS {generate(kind)}) AS {quoted}" if kind else quoted)
    return f"SELECT {', '.join(typed)} FROM ({query}) AS source({listed})"


def comment_columns(session: Session, tree: exp.Create, target: str) -> None:
    for column in tree.this.expressions if isinstance(tree.this, exp.Schema) else ():
        for constraint in column.args.get("constraints") or ():
            if isinstance(constraint.kind, exp.CommentColumnConstraint):
                set_comment(session, target, column.name, constraint.kind.this.name)


def set_comment(session: Session, target: str, column: str, comment: str) -> None:
    session.con.execute(f"COMMENT ON COLUMN {target}.{names.quote(column)} IS {names.literal(comment)}")


def create_view(session: Session, tree: exp.Create, sql: str) -> Result:
    """Keep the view's text: it is translated anew wherever it is read, so it may call models and functions."""
    name = created_name(session, tree)
    session.need_schema(name.database, name.schema)
    refuse_properties(tree)
    temporary = tree.find(exp.TemporaryProperty) is not None
    found = re.match(r"CREATE\b.*?\bVIEW\b.*?\bAS\b\s*(?=SELECT|WITH|\()(.*?);?\s*$", sql, re.I | re.S)
    columns = [column.name for column in tree.this.expressions] if isinstance(tree.this, exp.Schema) else None
    comment = tree.find(exp.SchemaCommentProperty)
    properties = {"text": found[1], "columns": columns, "database": session.database, "schema": session.schema}
    view = Object("VIEW", name.database, name.schema, name.name, owner=session.role, properties=properties)
    view.comment = comment.this.name if comment else ""
    with session.change(name):
        if session.get("VIEW", name) or table_exists(session, name):
            if tree.args.get("exists"):
                return status(f"{name.name} already exists, statement succeeded.")
            if not tree.args.get("replace") or table_exists(session, name):
                raise already_exists(str(name))
        if temporary:
            session.temporary["VIEW", name] = view
        else:
            catalog.put(session.con, view)
    return status(f"View {name.name} successfully created.")


@statement("DROP {TABLE|VIEW} [IF EXISTS] <name> [CASCADE|RESTRICT]", "executed")
def drop(session: Session, s: Matched) -> Result:
    kind, name = s.choice, session.resolve(s["name"])
    present = session.get("VIEW", name) is not None if kind == "VIEW" else table_exists(session, name)
    if not present:
        if s.if_exists:
            return status(f"Drop statement executed successfully ({name.name} already dropped).")
        raise missing(kind.capitalize(), str(name))
    temporary = (kind, name) in session.temporary
    target = engine_name(name, temporary)
    with session.change(target):
        if kind == "TABLE":
            session.con.execute(f"DROP TABLE {target}")
        if temporary:
            del session.temporary[kind, name]
        else:
            catalog.drop(session.con, kind, name)
    return status(f"{name.name} successfully dropped.")


@statement("TRUNCATE [TABLE] [IF EXISTS] <name>", "executed")
def truncate(session: Session, s: Matched) -> Result:
    name, target = table_name(session, s["name"])
    if not table_exists(session, name):
        if s.if_exists:
            return status()
        raise missing("Table", str(name))
    with session.change(target):
        session.con.execute(f"DELETE FROM {target}")
    return status()


@statement("ALTER TABLE [IF EXISTS] <name> RENAME TO <new>", "executed")
def rename(session: Session, s: Matched) -> Result:
    name, target = existing(session, s["name"])
    new = session.resolve(s["new"])
    if (new.database, new.schema) != (name.database, name.schema):
        raise unsupported("ALTER TABLE ... RENAME TO into another schema", "tables.py")
    if table_exists(session, new):
        raise already_exists(str(new))
    if ("TABLE", name) in session.temporary:
        raise unsupported("ALTER TABLE ... RENAME of a temporary table", "tables.py")
    with session.change(target):
        table = catalog.need(session.con, "TABLE", name)
        session.con.execute(f"ALTER TABLE {target} RENAME TO {names.quote(new.name)}")
        catalog.drop(session.con, "TABLE", name)
        table.name = new.name
        catalog.put(session.con, table)
    return status()


@statement("ALTER TABLE [IF EXISTS] <name> ADD [COLUMN] [IF NOT EXISTS] <column> <definition:rest>", "executed")
def add_column(session: Session, s: Matched) -> Result:
    from .translate import generate, translate

    name, target = existing(session, s["name"])
    tree = translate(session, f"CREATE TABLE {s['name']} ({s['column']} {s['definition']})")
    with session.change(target):
        have = {column for column, *_ in engine_columns(session, target)}
        for column in tree.this.expressions:
            if column.name in have:
                if s.if_not_exists:
                    continue
                raise already_exists(column.name)
            definition = column_definition(column, generate).replace("NOT NULL", "")
            session.con.execute(f"ALTER TABLE {target} ADD COLUMN {definition}")
        comment_columns(session, tree, target)
    return status()


@statement("ALTER TABLE [IF EXISTS] <name> DROP [COLUMN] [IF EXISTS] <column>", "executed")
def drop_column(session: Session, s: Matched) -> Result:
    _, target = existing(session, s["name"])
    with session.change(target):
        session.con.execute(f"ALTER TABLE {target} DROP COLUMN {names.quote(names.fold(s['column']))}")
    return status()


@statement("ALTER TABLE [IF EXISTS] <name> RENAME COLUMN <old> TO <new>", "executed")
def rename_column(session: Session, s: Matched) -> Result:
    _, target = existing(session, s["name"])
    old, new = names.fold(s["old"]), names.fold(s["new"])
    with session.change(target):
        session.con.execute(f"ALTER TABLE {target} RENAME COLUMN {names.quote(old)} TO {names.quote(new)}")
    return status()


def existing(session: Session, text: str) -> tuple[Name, str]:
    name, target = table_name(session, text)
    if not table_exists(session, name):
        raise missing("Table", str(name))
    return name, target


@statement("COMMENT [IF EXISTS] ON COLUMN <column> IS <comment:body>", "executed")
def comment_on_column(session: Session, s: Matched) -> Result:
    *table, column = names.split(s["column"])
    _, target = existing(session, names.quote(*table))
    with session.change(target):
        set_comment(session, target, column, s.value("comment"))
    return status()


@statement("{DESC|DESCRIBE} {TABLE|VIEW} <name>", "executed")
def describe_table(session: Session, s: Matched) -> Result:
    from .execute import describe

    name = session.resolve(s["name"])
    if session.get("VIEW", name):
        rows = [
            {"name": c.name, "type": show_kind(c), "kind": "COLUMN", "null?": "Y"}
            for c in describe(session, f"SELECT * FROM {s['name']}")
        ]
    else:
        _, target = existing(session, s["name"])
        rows = [
            {"name": column, "type": snowflake_type(kind), "kind": "COLUMN", "null?": "Y" if null else "N",
             "default": default}
            for column, kind, null, default in engine_columns(session, target)
        ]  # fmt: skip
    return listing("name type kind null? default", rows)


def show_kind(column) -> str:
    if column.kind == "FIXED":
        return f"NUMBER({column.precision},{column.scale})"
    sizes = {"TEXT": "VARCHAR(16777216)", "REAL": "FLOAT", "BINARY": "BINARY(8388608)"}
    return sizes.get(column.kind, column.kind + ("(9)" if column.kind.startswith("TIME") else ""))

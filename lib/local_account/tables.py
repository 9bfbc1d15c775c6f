"""Tables and views: CREATE, ALTER, DROP, TRUNCATE, DESCRIBE, comments."""

import json
import re

from sqlglot import exp

from . import names
from .catalog import Object
from .errors import already_exists, compilation_error, unsupported
from .names import Name
from .objects import BEFORE_REMOVAL, create
from .results import LENGTHS, Column, Result, column_of, listing
from .session import Session
from .statements import Matched, statement
from .translate import generate, translate
from .types import snowflake_type

KNOWN_PROPERTIES = (exp.TemporaryProperty, exp.TransientProperty, exp.SchemaCommentProperty, exp.LikeProperty,
                    exp.SecureProperty, exp.CopyGrantsProperty)  # fmt: skip
KEPT_CONSTRAINTS = (exp.NotNullColumnConstraint, exp.PrimaryKeyColumnConstraint, exp.DefaultColumnConstraint)
IGNORED_CONSTRAINTS = (exp.CommentColumnConstraint, exp.UniqueColumnConstraint)

BEFORE_REMOVAL["TABLE"] = lambda session, table: session.con.execute(f"DROP TABLE {session.key(table)}")


def engine_columns(session: Session, place: str) -> list[tuple]:
    """(name, engine type, nullable, default) of each column."""
    rows = session.con.execute(f"DESCRIBE {place}").fetchall()
    return [(name, kind, null == "YES", default) for name, kind, null, _, default, *_ in rows]


def existing(session: Session, text: str) -> tuple[Name, str]:
    """A table's name as typed -> its qualified name and the engine's name for it. Raises 002003."""
    name = session.need("TABLE", text).qualified
    return name, session.place(name)


def create_thing(session: Session, tree: exp.Create, sql: str, binds: list) -> Result:
    """CREATE TABLE (with columns, AS SELECT, LIKE or CLONE) and CREATE VIEW."""
    kept = tree.args.get("properties") or exp.Properties(expressions=[])
    for found in kept.expressions:  # what would make another thing of it: DYNAMIC, MATERIALIZED, CLUSTER BY
        if not isinstance(found, KNOWN_PROPERTIES):
            raise unsupported(f"CREATE {tree.kind} with {found.sql('snowflake') or found.key}", "tables.py")
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    # The translation has already pointed the name at the engine's schema.
    parts = names.split(table.name) if table.catalog == "temp" else [*table.db.split(".", 1), table.name]
    thing = Object(tree.kind, *parts)
    others = {other.name for other in session.find(thing.kind, *parts[:2])} - {thing.name}
    if thing.name.casefold() in map(str.casefold, others):
        raise unsupported("two tables whose names differ in case alone", "tables.py")
    comment = kept.find(exp.SchemaCommentProperty)
    thing.comment = comment.this.name if comment else ""
    temporary = kept.find(exp.TemporaryProperty) is not None
    said = {"or_replace": tree.args.get("replace"), "if_not_exists": tree.args.get("exists"), "temp": temporary}
    s = Matched(sql, {flag: "" for flag, given in said.items() if given})
    if tree.kind == "VIEW":
        thing.properties = view_properties(session, tree, sql)
        return create(session, s, thing)
    return create(session, s, thing, lambda _: make_table(session, tree, thing.qualified, temporary, binds))


def make_table(session: Session, tree: exp.Create, name: Name, temporary: bool, binds: list) -> None:
    place = session.place(name, temporary)
    columns = column_definitions(tree)
    source, constraints = source_query(tree, columns), constraints_of(session, tree)
    what = f"({', '.join(columns.values())})" if columns and not source else f"AS {source}"
    session.con.execute(
        f"CREATE OR REPLACE {'TEMP ' if temporary else ''}TABLE {place} {what}", binds if source else None
    )
    for column, clauses in constraints.items() if source else ():
        set_constraints(session, place, column, clauses)
    comment_columns(session, tree, place)


def column_definitions(tree: exp.Create) -> dict[str, str]:
    """Column name -> its definition in the engine's words. Snowflake does not enforce keys, so they are not made."""
    stated = tree.this.expressions if isinstance(tree.this, exp.Schema) else []
    columns = [column for column in stated if isinstance(column, (exp.Identifier, exp.ColumnDef))]
    listed = [column.name for column in columns]
    for name in {name for name in listed if listed.count(name) > 1}:
        raise compilation_error(f"duplicate column name '{name}'", 2025)
    return {c.name: column_definition(c) if isinstance(c, exp.ColumnDef) else "" for c in columns}


def column_definition(column: exp.ColumnDef) -> str:
    parts = [names.quote(column.name), generate(column.kind) if column.kind else ""]
    return " ".join([*parts, *kept_constraints(column)])


def kept_constraints(column: exp.Expression) -> list[str]:
    """In the engine's words. A primary key is not enforced, but its column takes no NULL."""
    kinds = [constraint.kind for constraint in column.args.get("constraints") or ()]
    for kind in kinds:
        if not isinstance(kind, (*KEPT_CONSTRAINTS, *IGNORED_CONSTRAINTS)):
            raise unsupported(f"the column constraint {kind.sql('snowflake')}", "tables.py")
    kept = [kind for kind in kinds if isinstance(kind, KEPT_CONSTRAINTS) and not kind.args.get("allow_null")]
    return ["NOT NULL" if isinstance(kind, exp.PrimaryKeyColumnConstraint) else generate(kind) for kind in kept]


def constraints_of(session: Session, tree: exp.Create) -> dict[str, list[str]]:
    """By column, NOT NULL and DEFAULT as the statement says, or as the table that it copies has them."""
    if copied := copied_table(tree):
        found = engine_columns(session, copied)
        return {c: ["NOT NULL"] * (not null) + [f"DEFAULT {d}"] * (d is not None) for c, _, null, d in found}
    stated = tree.this.expressions if isinstance(tree.this, exp.Schema) else ()
    return {column.name: kept_constraints(column) for column in stated}


def copied_table(tree: exp.Create) -> str | None:
    """The engine's name of the table that LIKE or CLONE names."""
    copied = tree.find(exp.LikeProperty) or tree.args.get("clone")
    return names.quote(*(part.name for part in copied.this.parts)) if copied else None


def set_constraints(session: Session, place: str, column: str, clauses: list[str]) -> None:
    for clause in clauses:
        session.con.execute(f"ALTER TABLE {place} ALTER COLUMN {names.quote(column)} SET {clause}")


def source_query(tree: exp.Create, columns: dict[str, str]) -> str | None:
    if copied := copied_table(tree):
        return f"SELECT * FROM {copied}{'' if tree.args.get('clone') else ' LIMIT 0'}"
    if tree.expression is None or not columns:
        return generate(tree.expression) if tree.expression else None
    typed = []
    for column in tree.this.expressions:
        kind = column.kind if isinstance(column, exp.ColumnDef) else None
        quoted = names.quote(column.name)
        typed.append(f"CAST({quoted} AS {generate(kind)}) AS {quoted}" if kind else quoted)
    listed = ", ".join(map(names.quote, columns))
    return f"SELECT {', '.join(typed)} FROM ({generate(tree.expression)}) AS source({listed})"


def comment_columns(session: Session, tree: exp.Create, place: str) -> None:
    for column in tree.this.expressions if isinstance(tree.this, exp.Schema) else ():
        for constraint in column.args.get("constraints") or ():
            if isinstance(constraint.kind, exp.CommentColumnConstraint):
                set_comment(session, place, column.name, constraint.kind.this.name)


def set_comment(session: Session, place: str, column: str, comment: str) -> None:
    session.con.execute(f"COMMENT ON COLUMN {place}.{names.quote(column)} IS {names.literal(comment)}")


def view_properties(session: Session, tree: exp.Create, sql: str) -> dict:
    """A view's text is kept: it is translated anew wherever it is read, so it may call models and functions."""
    found = re.match(r"CREATE\b.*?\bVIEW\b.*?\bAS\b\s*(?=SELECT|WITH|\()(.*?);?\s*$", sql, re.I | re.S)
    columns = [column.name for column in tree.this.expressions] if isinstance(tree.this, exp.Schema) else None
    return {"text": found[1], "columns": columns, "database": session.database, "schema": session.schema}


@statement("TRUNCATE [TABLE] [IF EXISTS] <name>", "executed")
def truncate(session: Session, s: Matched) -> None:
    _, place = existing(session, s["name"])
    with session.change(place):
        session.con.execute(f"DELETE FROM {place}")


@statement("ALTER TABLE [IF EXISTS] <name> RENAME TO <new>", "executed")
def rename(session: Session, s: Matched) -> None:
    name, place = existing(session, s["name"])
    new = session.resolve(s["new"])
    if new[:2] != name[:2] or ("TABLE", name) in session.temporary:
        raise unsupported("ALTER TABLE ... RENAME of a temporary table or into another schema", "tables.py")
    with session.change(place):
        if session.get("TABLE", new) or session.get("VIEW", new):
            raise already_exists(new)
        table = session.need("TABLE", name)
        session.con.execute(f"ALTER TABLE {place} RENAME TO {names.quote(new.name)}")
        session.forget(table)
        table.name = new.name
        session.put(table)


@statement("ALTER TABLE [IF EXISTS] <name> ADD [COLUMN] [IF NOT EXISTS] <column> <definition:rest>", "executed")
def add_column(session: Session, s: Matched) -> None:
    _, place = existing(session, s["name"])
    tree = translate(session, f"CREATE TABLE {s['name']} ({s['column']} {s['definition']})")
    with session.change(place):
        have = {column for column, *_ in engine_columns(session, place)}
        for column in tree.this.expressions:
            if column.name in have and not s.if_not_exists:
                raise already_exists(column.name)
            if column.name not in have:
                clauses = kept_constraints(column)  # the engine takes DEFAULT alone with a new column
                parts = [names.quote(column.name), generate(column.kind), *(c for c in clauses if c != "NOT NULL")]
                session.con.execute(f"ALTER TABLE {place} ADD COLUMN {' '.join(parts)}")
                set_constraints(session, place, column.name, clauses)
        comment_columns(session, tree, place)


@statement("ALTER TABLE [IF EXISTS] <name> {DROP} [COLUMN] [IF EXISTS] <column>", "executed")
@statement("ALTER TABLE [IF EXISTS] <name> {RENAME} COLUMN <column> TO <new>", "executed")
def change_column(session: Session, s: Matched) -> None:
    _, place = existing(session, s["name"])
    how = f" TO {names.quote(names.fold(s['new']))}" if s.choice == "RENAME" else ""
    with session.change(place):
        session.con.execute(f"ALTER TABLE {place} {s.choice} COLUMN {names.quote(names.fold(s['column']))}{how}")


@statement("COMMENT [IF EXISTS] ON COLUMN <column> IS <comment:body>", "executed")
def comment_on_column(session: Session, s: Matched) -> None:
    *table, column = names.split(s["column"])
    _, place = existing(session, names.quote(*table))
    with session.change(place):
        set_comment(session, place, column, s.value("comment"))


@statement("{DESC|DESCRIBE} {TABLE|VIEW} <name>", "executed")
def describe_table(session: Session, s: Matched) -> Result:
    from .execute import describe

    if session.get("VIEW", s["name"]):
        columns = [(c.name, show_kind(c), True, None) for c in describe(session, f"SELECT * FROM {s['name']}")]
    else:
        found = engine_columns(session, existing(session, s["name"])[1])
        columns = [(column, snowflake_type(kind), null, default) for column, kind, null, default in found]
    rows = [
        {"name": name, "type": kind, "kind": "COLUMN", "null?": "Y" if null else "N", "default": default}
        for name, kind, null, default in columns
    ]
    return listing("name type kind null? default", rows)


def show_kind(column: Column) -> str:
    if column.kind == "FIXED":
        return f"NUMBER({column.precision},{column.scale})"
    sizes = {"TEXT": "VARCHAR(16777216)", "REAL": "FLOAT", "BINARY": "BINARY(8388608)"}
    return sizes.get(column.kind, column.kind + ("(9)" if column.kind.startswith("TIME") else ""))


@statement("SHOW COLUMNS [LIKE <like:string>] IN [TABLE] <table>", "executed")
def show_columns(session: Session, s: Matched) -> Result:
    name, place = existing(session, s["table"])
    rows = [
        {"table_name": name.name, "schema_name": name.schema, "column_name": column, "data_type": data_type(kind, null),
         "null?": str(null).lower(), "database_name": name.database}
        for column, kind, null, _ in engine_columns(session, place)
        if names.like(s.value("like"), column)
    ]  # fmt: skip
    return listing("table_name schema_name column_name data_type null? database_name", rows)


def data_type(engine: str, nullable: bool) -> str:
    """A column's type as SHOW COLUMNS prints it."""
    column = column_of("", engine)
    numbers = {} if column.scale is None else {"precision": column.precision, "scale": column.scale}
    text = column.kind == "TEXT"
    lengths, fixed = (
        ({"length": LENGTHS["TEXT"], "byteLength": LENGTHS["TEXT"]}, {"fixed": False}) if text else ({}, {})
    )
    return json.dumps({"type": column.kind, **numbers, **lengths, "nullable": nullable, **fixed}, separators=(",", ":"))

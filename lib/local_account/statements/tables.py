"""Tables and views: CREATE, TRUNCATE, ALTER TABLE ... RENAME. Their columns are in columns.py."""

import re

from sqlglot import exp

from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.engine.results import Result
from local_account.engine.types import T, declared_type
from local_account.sql.statement_shapes import Matched, Statement
from local_account.sql.translate import generate
from local_account.statements.columns import (
    comment_columns,
    definition,
    existing,
    length_check,
    rebuild,
    stated_columns,
    stored_definitions,
)
from local_account.statements.objects import create
from local_account.text import identifiers
from local_account.text.errors import already_exists, unsupported
from local_account.text.identifiers import Name

KNOWN_PROPERTIES = (exp.TemporaryProperty, exp.TransientProperty, exp.SchemaCommentProperty, exp.LikeProperty,
                    exp.CopyGrantsProperty)  # fmt: skip
ENGINE = {"VARCHAR": T.VARCHAR, "BLOB": T.BLOB}
WIDENED = {  # columns of a query: those of NULLs alone become text, integers get 64 bits
    '"NULL"': "VARCHAR",
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER"), "BIGINT"),
}


def create_table_or_view(session: Session, tree: exp.Create, sql: str, binds: list) -> Result:
    """CREATE TABLE (with columns, AS SELECT, LIKE or CLONE) and CREATE VIEW."""
    kept = tree.args.get("properties") or exp.Properties(expressions=[])
    for found in kept.expressions:  # any other property makes another kind of object: DYNAMIC, MATERIALIZED, CLUSTER BY
        if not isinstance(found, KNOWN_PROPERTIES):
            raise unsupported(f"CREATE {tree.kind} with {found.sql('snowflake') or found.key}", __name__)
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    thing = Object(tree.kind, *name_of(table))
    others = {other.name for other in session.find(thing.kind, *thing.qualified[:2])} - {thing.name}
    if thing.name.casefold() in map(str.casefold, others):
        raise unsupported("two tables whose names differ in case alone", __name__)
    comment = kept.find(exp.SchemaCommentProperty)
    thing.comment = comment.this.name if comment else ""
    temporary = kept.find(exp.TemporaryProperty) is not None
    flags = {"or_replace": tree.args.get("replace"), "if_not_exists": tree.args.get("exists"), "temp": temporary}
    s = Matched(sql, {flag: "" for flag, given in flags.items() if given})
    if tree.kind == "VIEW":
        thing.properties = view_properties(session, tree, sql)
        return create(session, s, thing)
    if kept.find(exp.TransientProperty):
        thing.properties["kind"] = "TRANSIENT"
    return create(session, s, thing, lambda thing: make_table(session, tree, thing, temporary, binds))


def make_table(session: Session, tree: exp.Create, table: Object, temporary: bool, binds: list) -> None:
    place, columns = session.place(table.qualified, temporary), stated_columns(tree)
    copied = copied_table(session, tree)
    temp = "TEMP " if temporary else ""
    types = {column.name: column.kind.meta["declared"] for column in columns if isinstance(column, exp.ColumnDef)}
    if copied:
        found = session.place(copied.qualified)
        types = copied.properties.get("types", {})
        clone = tree.args.get("clone") is not None
        rebuild(
            session, temp, place, stored_definitions(session, found), f"FROM {found}" + ("" if clone else " LIMIT 0")
        )
    elif types:
        if len(types) < len(columns):
            raise unsupported("CREATE TABLE with types for some of its columns", __name__)
        defined = ", ".join(definition(column) for column in columns)
        if tree.expression is None:
            session.con.execute(f"CREATE OR REPLACE {temp}TABLE {place} ({defined})")
        else:
            rebuild(session, temp, place, defined, source_query(tree, columns), binds)
    else:
        query = source_query(tree, columns)
        made = session.con.sql(query, params=binds or None)
        found = [(name, WIDENED.get(str(kind), str(kind))) for name, kind in zip(made.columns, made.types, strict=True)]
        checked = ((identifiers.quote(name), kind) for name, kind in found)
        defined = ", ".join(f"{name} {kind} {length_check(name, ENGINE.get(kind), None)}" for name, kind in checked)
        rebuild(session, temp, place, defined, query, binds)
        types = made_types(found, tree.meta.get("kinds") or [])
    table.properties["types"] = {name: kind for name, kind in types.items() if kind}
    comment_columns(session, columns, place)


def made_types(found: list[tuple[str, str]], kinds: list[exp.DataType]) -> dict[str, str | None]:
    """The declared types of columns that a query made, which the engine has as JSON."""
    made = zip(found, kinds, strict=True) if len(found) == len(kinds) else ()
    return {name: declared_type(kind) for (name, engine), kind in made if engine == "JSON"}


def copied_table(session: Session, tree: exp.Create) -> Object | None:
    """The table that LIKE or CLONE names."""
    copied = tree.find(exp.LikeProperty) or tree.args.get("clone")
    return session.need("TABLE", Name(*name_of(copied.this))) if copied else None


def name_of(table: exp.Table) -> list[str]:
    """The name of a table that the translation has pointed at the engine's schema."""
    return identifiers.split(table.name) if table.catalog == "temp" else [*table.db.split(".", 1), table.name]


def source_query(tree: exp.Create, columns: list[exp.Expression]) -> str:
    if not columns:
        return generate(tree.expression)
    typed = []
    for column in columns:
        quoted = identifiers.quote(column.name)
        kind = column.kind if isinstance(column, exp.ColumnDef) else None
        typed.append(f"CAST({quoted} AS {generate(kind)}) AS {quoted}" if kind else quoted)
    listed = ", ".join(identifiers.quote(column.name) for column in columns)
    return f"SELECT {', '.join(typed)} FROM ({generate(tree.expression)}) AS source({listed})"


def view_properties(session: Session, tree: exp.Create, sql: str) -> dict:
    """The text of a view is stored, and translated wherever the view is read. So it may call models and functions."""
    found = re.match(r"CREATE\b.*?\bVIEW\b.*?\bAS\b\s*(?=SELECT|WITH|\()(.*?);?\s*$", sql, re.I | re.S)
    columns = [column.name for column in tree.this.expressions] if isinstance(tree.this, exp.Schema) else None
    return {"text": found[1], "columns": columns, "database": session.database, "schema": session.schema}


def truncate(session: Session, s: Matched) -> None:
    with session.edit("TABLE", s["name"]) as table:
        session.con.execute(f"DELETE FROM {session.place(table.qualified)}")
        table.properties.pop("loaded", None)  # COPY INTO may load the same files again


def rename(session: Session, s: Matched) -> None:
    name, place = existing(session, s["name"])
    new = session.resolve(s["new"])
    if new[:2] != name[:2] or ("TABLE", name) in session.temporary:
        raise unsupported("ALTER TABLE ... RENAME of a temporary table or into another schema", __name__)
    with session.transaction.change(place):
        if session.get("TABLE", new) or session.get("VIEW", new):
            raise already_exists(new)
        table = session.need("TABLE", name)
        session.con.execute(f"ALTER TABLE {place} RENAME TO {identifiers.quote(new.name)}")
        session.forget(table)
        table.name = new.name
        session.put(table)


STATEMENTS = [
    Statement("TRUNCATE [TABLE] [IF EXISTS] <name>", truncate),
    Statement("ALTER TABLE [IF EXISTS] <name> RENAME TO <new>", rename),
]  # fmt: skip

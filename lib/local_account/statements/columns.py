"""Columns of tables: their definitions in the engine's SQL, and ALTER TABLE of them."""

import re

from sqlglot import exp

from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.engine.lengths import SHOWN
from local_account.engine.types import LONGEST, LONGEST_BINARY, TEXT_TYPES, T
from local_account.sql.statement_shapes import Matched, Statement
from local_account.sql.translate import generate, translate
from local_account.text import identifiers
from local_account.text.errors import compilation_error, demand_columns, unsupported
from local_account.text.identifiers import Name
from local_account.text.literals import literal

KEPT_CONSTRAINTS = (exp.NotNullColumnConstraint, exp.PrimaryKeyColumnConstraint, exp.DefaultColumnConstraint)
REBUILT = "temp.main.rebuilt"  # keeps the rows of a table while it is rebuilt
IGNORED_CONSTRAINTS = (exp.CommentColumnConstraint, exp.UniqueColumnConstraint)


def engine_columns(session: Session, place: str) -> list[tuple]:
    """(name, engine type, nullable, default) of each column."""
    rows = session.con.execute(f"DESCRIBE {place}").fetchall()
    return [(name, kind, null == "YES", default) for name, kind, null, _, default, *_ in rows]


def existing(session: Session, text: str) -> tuple[Name, str]:
    """A table's name as typed -> its qualified name and the engine's name for it. Raises 002003."""
    name = session.need("TABLE", text).qualified
    return name, session.place(name)


# ---------------------------------------------------------------- definitions


def stated_columns(tree: exp.Create) -> list[exp.Expression]:
    """What CREATE TABLE lists in parentheses: definitions, or names alone. Raises for a duplicate name."""
    stated = tree.this.expressions if isinstance(tree.this, exp.Schema) else []
    columns = [column for column in stated if isinstance(column, (exp.Identifier, exp.ColumnDef))]
    listed = [column.name for column in columns] or getattr(tree.expression, "named_selects", [])
    for name in {name for name in listed if listed.count(name) > 1} - {"*"}:
        raise compilation_error(f"duplicate column name '{name}'", 2025)
    return columns


def declared_type(column: exp.ColumnDef) -> str | None:
    """The column's ``types.declared_type``, which the translation has noted."""
    return column.kind.meta["declared"]


def definition(column: exp.ColumnDef) -> str:
    """A column's definition in the engine's SQL. Snowflake enforces no keys, so none are made; it does enforce what
    ``declared_type`` returns, which becomes a CHECK."""
    name, declared = identifiers.quote(column.name), declared_type(column)
    parts = [name, generate(column.kind), *constraints(column)]
    if declared in ("ARRAY", "OBJECT"):
        parts.append(f"CHECK (json_type({name}) = '{declared}')")
    else:
        parts.append(length_check(name, column.kind.this, declared))
    return " ".join(parts)


def length_check(name: str, engine: T, declared: str | None) -> str:
    """The CHECK of a text or binary column: characters where a text's length is declared, bytes otherwise."""
    text = engine in TEXT_TYPES
    if not text and engine not in (T.BLOB, T.BINARY, T.VARBINARY):
        return ""
    size = re.search(r"\d+", declared)[0] if declared else LONGEST if text else LONGEST_BINARY
    longer = f"{'length' if text and declared else 'strlen' if text else 'octet_length'}({name}) > {size}"
    shown = f"left({name if text else f'hex({name})'}, {SHOWN})"
    words = f"error('String ''' || {shown} || ''' is too long and would be truncated')"
    return f"CHECK (CASE WHEN {longer} THEN {words} ELSE true END)"


def constraints(column: exp.ColumnDef) -> list[str]:
    """The constraints in the engine's SQL. A primary key is not enforced, but its column takes no NULL."""
    made = []
    for kind in (constraint.kind for constraint in column.args.get("constraints") or ()):
        if isinstance(kind, exp.PrimaryKeyColumnConstraint):
            made.append("NOT NULL")
        elif isinstance(kind, KEPT_CONSTRAINTS):
            made += [] if kind.args.get("allow_null") else [generate(kind)]
        elif not isinstance(kind, IGNORED_CONSTRAINTS):
            raise unsupported(f"the column constraint {kind.sql('snowflake')}", __name__)
    return made


def stored_definitions(session: Session, place: str) -> str:
    """The definitions of a table's columns, as CREATE TABLE has them between its parentheses."""
    sql = session.con.execute(f"SELECT sql FROM duckdb_tables() WHERE {where_stored(place)}").fetchall()[0][0]
    return re.sub(rf"^CREATE (TEMP )?TABLE {identifiers.DOTTED}\s*\(", "", sql).rstrip("; \n").removesuffix(")")


def rebuild(session: Session, temp: str, place: str, columns: str, source: str, binds: list | None = None) -> None:
    """Rebuild a table from definitions and the rows of an engine query, which may read the table itself."""
    session.con.execute(f"CREATE OR REPLACE TEMP TABLE {REBUILT} AS {source}", binds or None)
    session.con.execute(f"CREATE OR REPLACE {temp}TABLE {place} ({columns})")
    session.con.execute(f"INSERT INTO {place} BY NAME FROM {REBUILT}")
    session.con.execute(f"DROP TABLE {REBUILT}")


def where_stored(place: str) -> str:
    catalog, schema, table = map(literal, identifiers.split(place))
    return f"database_name = {catalog} AND schema_name = {schema} AND table_name = {table}"


def comment_columns(session: Session, columns: list[exp.Expression], place: str) -> None:
    for column in columns:
        for constraint in column.args.get("constraints") or ():
            if isinstance(constraint.kind, exp.CommentColumnConstraint):
                set_comment(session, place, column.name, constraint.kind.this.name)


def set_comment(session: Session, place: str, column: str, comment: str) -> None:
    session.con.execute(f"COMMENT ON COLUMN {place}.{identifiers.quote(column)} IS {literal(comment)}")


# ---------------------------------------------------------------- statements


def add_column(session: Session, s: Matched) -> None:
    tree = translate(session, f"CREATE TABLE {s['name']} ({s['column']} {s['definition']})")
    with session.edit("TABLE", s["name"]) as table:
        place = session.place(table.qualified)
        have = {column for column, *_ in engine_columns(session, place)}
        added = [column for column in stated_columns(tree) if column.name not in have]
        if len(added) < len(tree.this.expressions) and not s.if_not_exists:
            raise compilation_error(f"column '{identifiers.fold(s['column'])}' already exists", 1430, "42601")
        for column in added:
            add(session, table, column, place)
        comment_columns(session, added, place)


def add(session: Session, table: Object, column: exp.ColumnDef, place: str) -> None:
    """Add a column. The engine cannot add one with a CHECK: for those the table is rebuilt."""
    declared = declared_type(column)
    if declared is None and not length_check("x", column.kind.this, None):
        clauses = constraints(column)
        parts = [identifiers.quote(column.name), generate(column.kind), *(c for c in clauses if c != "NOT NULL")]
        session.con.execute(f"ALTER TABLE {place} ADD COLUMN {' '.join(parts)}")
        for clause in clauses:
            session.con.execute(f"ALTER TABLE {place} ALTER COLUMN {identifiers.quote(column.name)} SET {clause}")
        return
    comments = "SELECT column_name, comment FROM duckdb_columns() WHERE comment IS NOT NULL AND {}"
    commented = session.con.execute(comments.format(where_stored(place))).fetchall()
    columns = f"{stored_definitions(session, place)}, {definition(column)}"
    rebuild(session, "TEMP " * table.temporary, place, columns, f"FROM {place}")
    for commented_column, comment in commented:
        set_comment(session, place, commented_column, comment)
    if declared:
        table.properties.setdefault("types", {})[column.name] = declared


def change_column(session: Session, s: Matched) -> None:
    column, new = identifiers.fold(s["column"]), identifiers.fold(s["new"]) if s.choice == "RENAME" else None
    with session.edit("TABLE", s["name"]) as table:
        how = f" TO {identifiers.quote(new)}" if new else ""
        place = session.place(table.qualified)
        have = {name for name, *_ in engine_columns(session, place)}
        if column not in have and re.search(r"\bDROP\s+(COLUMN\s+)?IF\s+EXISTS\b", s.text, re.I):
            return
        demand_columns([column], have)
        session.con.execute(f"ALTER TABLE {place} {s.choice} COLUMN {identifiers.quote(column)}{how}")
        declared = table.properties.get("types", {}).pop(column, None)
        if new and declared:
            table.properties["types"][new] = declared


def comment_on_column(session: Session, s: Matched) -> None:
    *table, column = identifiers.split(s["column"])
    if not table:
        raise compilation_error(f"syntax error: {s['column']} names no table", 1003)
    _, place = existing(session, identifiers.quote(*table))
    demand_columns([column], {name for name, *_ in engine_columns(session, place)})
    with session.transaction.change(place):
        set_comment(session, place, column, s.value("comment"))


STATEMENTS = [
    Statement("ALTER TABLE [IF EXISTS] <name> ADD [COLUMN] [IF NOT EXISTS] <column> <definition:rest>", add_column),
    Statement("ALTER TABLE [IF EXISTS] <name> {RENAME} COLUMN <column> TO <new>", change_column),
    Statement("ALTER TABLE [IF EXISTS] <name> {DROP} [COLUMN] [IF EXISTS] <column>", change_column),
    Statement("COMMENT [IF EXISTS] ON COLUMN <column> IS <comment:body>", comment_on_column),
]  # fmt: skip

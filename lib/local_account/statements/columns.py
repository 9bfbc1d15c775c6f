"""Columns of tables: their definitions in the engine's words, and ALTER, DESCRIBE and SHOW of them."""

import json
import re
import uuid

from sqlglot import exp

from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.engine.results import Column, Result, column_of, declare, listing
from local_account.engine.types import snowflake_type
from local_account.sql.statement_shapes import Matched, statement
from local_account.sql.translate import generate, translate
from local_account.statements.objects import BEFORE_REMOVAL
from local_account.text import identifiers
from local_account.text.errors import compilation_error, unsupported
from local_account.text.identifiers import Name

IDENTITIES = (exp.AutoIncrementColumnConstraint, exp.GeneratedAsIdentityColumnConstraint)
KEPT_CONSTRAINTS = (exp.NotNullColumnConstraint, exp.PrimaryKeyColumnConstraint, exp.DefaultColumnConstraint)
NUMBERED = r"nextval\('([^']*\.)?\"(IDENTITY [^']*)\"'\)"
ASIDE = "temp.main.aside"  # where rows wait while their table is made anew
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
    """What CREATE TABLE lists in parentheses: definitions, or names alone. Raises for a name that stands twice."""
    stated = tree.this.expressions if isinstance(tree.this, exp.Schema) else []
    columns = [column for column in stated if isinstance(column, (exp.Identifier, exp.ColumnDef))]
    listed = [column.name for column in columns] or getattr(tree.expression, "named_selects", [])
    for name in {name for name in listed if listed.count(name) > 1} - {"*"}:
        raise compilation_error(f"duplicate column name '{name}'", 2025)
    return columns


def declared_type(column: exp.ColumnDef) -> str | None:
    """What ``types.declared_type`` said of it, before the translation gave it the engine's type."""
    return column.kind.meta["declared"]


def definition(session: Session, column: exp.ColumnDef, place: str) -> str:
    """A column of the table ``place``. Snowflake enforces no keys, so none are made; it does enforce what
    ``declared_type`` tells, which is a condition here."""
    name, declared = identifiers.quote(column.name), declared_type(column)
    parts = [name, generate(column.kind), *constraints(session, column, place)]
    if declared in ("ARRAY", "OBJECT"):
        parts.append(f"CHECK (json_type({name}) = '{declared}')")
    elif declared:
        longer = f"length({name}) > {declared.removeprefix('VARCHAR(').removesuffix(')')}"
        words = f"error('String ''' || {name} || ''' is too long and would be truncated')"
        parts.append(f"CHECK (CASE WHEN {longer} THEN {words} ELSE true END)")
    return " ".join(parts)


def constraints(session: Session, column: exp.ColumnDef, place: str) -> list[str]:
    """In the engine's words. A primary key is not enforced, but its column takes no NULL."""
    made = []
    for kind in (constraint.kind for constraint in column.args.get("constraints") or ()):
        if isinstance(kind, IDENTITIES):
            numbers = [kind.args.get(key) for key in ("start", "increment")]
            name = sequence(session, *("1" if number is None else number.sql() for number in numbers), place)
            made.append(f"DEFAULT nextval({identifiers.literal(name)})")
        elif isinstance(kind, exp.PrimaryKeyColumnConstraint):
            made.append("NOT NULL")
        elif isinstance(kind, KEPT_CONSTRAINTS):
            made += [] if kind.args.get("allow_null") else [generate(kind)]
        elif not isinstance(kind, IGNORED_CONSTRAINTS):
            raise unsupported(f"the column constraint {kind.sql('snowflake')}", "columns.py")
    return made


def sequence(session: Session, start: str, step: str, place: str) -> str:
    """Make the sequence that numbers a column's rows. Its name is what DESCRIBE says of the column."""
    label = f"IDENTITY START {start} INCREMENT {step} NOORDER {uuid.uuid4().hex}"
    name = identifiers.quote(*identifiers.split(place)[:-1], label)
    temp = "TEMP " if name.startswith('"temp"') else ""
    session.con.execute(f"CREATE {temp}SEQUENCE {name} START {start} INCREMENT {step}")
    return name


def stored_definitions(session: Session, place: str) -> str:
    """The columns of a table with all that is said of them, as they stand in parentheses."""
    sql = session.con.execute(f"SELECT sql FROM duckdb_tables() WHERE {where_stored(place)}").fetchall()[0][0]
    return re.sub(rf"^CREATE (TEMP )?TABLE {identifiers.DOTTED}\s*\(", "", sql).rstrip("; \n").removesuffix(")")


def refill(session: Session, temp: str, place: str, columns: str, source: str, binds: list | None = None) -> None:
    """Make a table anew from definitions and the rows of an engine query, which may read the table itself."""
    session.con.execute(f"CREATE OR REPLACE TEMP TABLE {ASIDE} AS {source}", binds or None)
    session.con.execute(f"CREATE OR REPLACE {temp}TABLE {place} ({columns})")
    session.con.execute(f"INSERT INTO {place} BY NAME FROM {ASIDE}")
    session.con.execute(f"DROP TABLE {ASIDE}")


def renumbered(session: Session, definitions: str, place: str, goes_on: bool) -> str:
    """The definitions of a copied table with sequences of their own, which start anew or go on where it stands."""

    def own(found: re.Match) -> str:
        label = found[2]
        start, step = re.findall(r"(?<= )-?\d+(?= )", label)
        if goes_on:
            asked = "SELECT last_value FROM duckdb_sequences() WHERE sequence_name = ?"
            last = session.con.execute(asked, [label]).fetchall()[0][0]
            start = start if last is None else str(last + int(step))
        return f"nextval({identifiers.literal(sequence(session, start, step, place))})"

    return re.sub(NUMBERED, own, definitions)


def drop_table(session: Session, table: Object) -> None:
    """And the sequences that number its rows."""
    place = session.key(table)
    numbered = re.findall(NUMBERED, " ".join(default or "" for *_, default in engine_columns(session, place)))
    session.con.execute(f"DROP TABLE {place}")
    for _, label in numbered:
        session.con.execute(f"DROP SEQUENCE {identifiers.quote(*identifiers.split(place)[:-1], label)}")


BEFORE_REMOVAL["TABLE"] = drop_table


def where_stored(place: str) -> str:
    catalog, schema, table = map(identifiers.literal, identifiers.split(place))
    return f"database_name = {catalog} AND schema_name = {schema} AND table_name = {table}"


def comment_columns(session: Session, columns: list[exp.Expression], place: str) -> None:
    for column in columns:
        for constraint in column.args.get("constraints") or ():
            if isinstance(constraint.kind, exp.CommentColumnConstraint):
                set_comment(session, place, column.name, constraint.kind.this.name)


def set_comment(session: Session, place: str, column: str, comment: str) -> None:
    session.con.execute(f"COMMENT ON COLUMN {place}.{identifiers.quote(column)} IS {identifiers.literal(comment)}")


# ---------------------------------------------------------------- statements


@statement("ALTER TABLE [IF EXISTS] <name> ADD [COLUMN] [IF NOT EXISTS] <column> <definition:rest>", "executed")
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
    """The engine adds a column with a default alone; for one with conditions the table is made anew."""
    declared = declared_type(column)
    if declared is None:
        said = constraints(session, column, place)
        parts = [identifiers.quote(column.name), generate(column.kind), *(c for c in said if c != "NOT NULL")]
        session.con.execute(f"ALTER TABLE {place} ADD COLUMN {' '.join(parts)}")
        for clause in said:
            session.con.execute(f"ALTER TABLE {place} ALTER COLUMN {identifiers.quote(column.name)} SET {clause}")
        return
    comments = "SELECT column_name, comment FROM duckdb_columns() WHERE comment IS NOT NULL AND {}"
    commented = session.con.execute(comments.format(where_stored(place))).fetchall()
    columns = f"{stored_definitions(session, place)}, {definition(session, column, place)}"
    refill(session, "TEMP " * table.temporary, place, columns, f"FROM {place}")
    for commented_column, comment in commented:
        set_comment(session, place, commented_column, comment)
    table.properties.setdefault("types", {})[column.name] = declared


@statement("ALTER TABLE [IF EXISTS] <name> {DROP} [COLUMN] [IF EXISTS] <column>", "executed")
@statement("ALTER TABLE [IF EXISTS] <name> {RENAME} COLUMN <column> TO <new>", "executed")
def change_column(session: Session, s: Matched) -> None:
    column, new = identifiers.fold(s["column"]), identifiers.fold(s["new"]) if s.choice == "RENAME" else None
    with session.edit("TABLE", s["name"]) as table:
        how = f" TO {identifiers.quote(new)}" if new else ""
        place = session.place(table.qualified)
        session.con.execute(f"ALTER TABLE {place} {s.choice} COLUMN {identifiers.quote(column)}{how}")
        declared = table.properties.get("types", {}).pop(column, None)
        if new and declared:
            table.properties["types"][new] = declared


@statement("COMMENT [IF EXISTS] ON COLUMN <column> IS <comment:body>", "executed")
def comment_on_column(session: Session, s: Matched) -> None:
    *table, column = identifiers.split(s["column"])
    _, place = existing(session, identifiers.quote(*table))
    with session.change(place):
        set_comment(session, place, column, s.value("comment"))


@statement("{DESC|DESCRIBE} {TABLE|VIEW} <name>", "executed")
def describe_table(session: Session, s: Matched) -> Result:
    from local_account.sql.execute import describe

    if session.get("VIEW", s["name"]):
        columns = [(c.name, show_kind(c), True, None) for c in describe(session, f"SELECT * FROM {s['name']}")]
    else:
        columns = table_columns(session, session.need("TABLE", s["name"]))
    rows = [
        {"name": name, "type": kind, "kind": "COLUMN", "null?": "Y" if null else "N", "default": default}
        for name, kind, null, default in columns
    ]
    return listing("name type kind null? default", rows)


def table_columns(session: Session, table: Object) -> list[tuple]:
    """(name, Snowflake's type, nullable, default) of each column."""
    declared = table.properties.get("types", {})
    return [
        (name, declared.get(name) or snowflake_type(kind), null, shown_default(default))
        for name, kind, null, default in engine_columns(session, session.place(table.qualified))
    ]


def shown_default(default: str | None) -> str | None:
    numbered = re.match(r"nextval\('.*(IDENTITY .*) \w+\"'\)$", default or "")
    return numbered[1] if numbered else default


def show_kind(column: Column) -> str:
    """A result column's type as DESCRIBE VIEW prints it."""
    if column.kind == "FIXED":
        return f"NUMBER({column.precision},{column.scale})"
    sizes = {"TEXT": f"VARCHAR({column.length})", "REAL": "FLOAT", "BINARY": "BINARY(8388608)"}
    return sizes.get(column.kind, column.kind + ("(9)" if column.kind.startswith("TIME") else ""))


@statement("SHOW COLUMNS [LIKE <like:string>] IN [TABLE] <table>", "executed")
def show_columns(session: Session, s: Matched) -> Result:
    table = session.need("TABLE", s["table"])
    rows = [
        {"table_name": table.name, "schema_name": table.schema, "column_name": column,
         "data_type": data_type(table, column, kind, null), "null?": str(null).lower(), "database_name": table.database}
        for column, kind, null, _ in engine_columns(session, session.place(table.qualified))
        if identifiers.like(s.value("like"), column)
    ]  # fmt: skip
    return listing("table_name schema_name column_name data_type null? database_name", rows)


def data_type(table: Object, name: str, engine: str, nullable: bool) -> str:
    """A column's type as SHOW COLUMNS prints it."""
    column = declare(column_of(name, engine), table.properties.get("types", {}).get(name))
    numbers = {} if column.scale is None else {"precision": column.precision, "scale": column.scale}
    text = {"length": column.length, "byteLength": column.length} if column.kind == "TEXT" else {}
    fixed = {"fixed": False} if text else {}
    return json.dumps({"type": column.kind, **numbers, **text, "nullable": nullable, **fixed}, separators=(",", ":"))

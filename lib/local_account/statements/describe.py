"""DESCRIBE TABLE and DESCRIBE VIEW, and SHOW COLUMNS."""

import json

from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.engine.results import Column, Result, column_of, declare, listing
from local_account.engine.types import snowflake_type
from local_account.sql.execute import describe
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements.columns import engine_columns
from local_account.text import identifiers


def describe_table(session: Session, s: Matched) -> Result:
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
        (name, declared.get(name) or snowflake_type(kind), null, default)
        for name, kind, null, default in engine_columns(session, session.place(table.qualified))
    ]


def show_kind(column: Column) -> str:
    """A result column's type as DESCRIBE VIEW prints it."""
    if column.kind == "FIXED":
        return f"NUMBER({column.precision},{column.scale})"
    sizes = {"TEXT": f"VARCHAR({column.length})", "REAL": "FLOAT", "BINARY": "BINARY(8388608)"}
    return sizes.get(column.kind, column.kind + ("(9)" if column.kind.startswith("TIME") else ""))


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


STATEMENTS = [
    Statement("{DESC|DESCRIBE} {TABLE|VIEW} <name>", describe_table),
    Statement("SHOW COLUMNS [LIKE <like:string>] IN [TABLE] <table>", show_columns),
]  # fmt: skip

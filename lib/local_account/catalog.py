"""The account's catalog: everything that is not a table, kept in one DuckDB table next to the user's own tables.

Databases, schemas, stages, models and their versions, services, experiments, tasks, warehouses, roles: each is a row of
``SYSTEM.objects`` with a kind, a name and a JSON of properties, so that a change of it commits or rolls back with the
statement that made it.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field

import duckdb

from .errors import missing
from .names import Name, like

FILE = "account"  # the name under which the account's database file is attached
SYSTEM = f'{FILE}."SYSTEM"'
ACCOUNT = Name("", "", "")  # the scope of objects that belong to no database


@dataclass
class Object:
    """One catalogued object. ``parent`` is set for parts of another object (a version of a model, a run)."""

    kind: str
    database: str
    schema: str
    name: str
    parent: str = ""
    created_on: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    owner: str = "SYSADMIN"
    comment: str = ""
    properties: dict = field(default_factory=dict)

    @property
    def qualified(self) -> Name:
        return Name(self.database, self.schema, self.name)

    def row(self) -> dict:
        """The columns that every SHOW command shares."""
        return {
            "created_on": self.created_on,
            "name": self.name,
            "database_name": self.database,
            "schema_name": self.schema,
            "owner": self.owner,
            "comment": self.comment,
        }


COLUMNS = "kind, database, schema, parent, name, created_on, owner, comment, properties"


def create_tables(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"CREATE SCHEMA IF NOT EXISTS {SYSTEM}")
    con.execute(
        f"""CREATE TABLE IF NOT EXISTS {SYSTEM}.objects (
            kind VARCHAR, database VARCHAR, schema VARCHAR, parent VARCHAR, name VARCHAR,
            created_on TIMESTAMPTZ, owner VARCHAR, comment VARCHAR, properties VARCHAR,
            PRIMARY KEY (kind, database, schema, parent, name))"""
    )
    con.execute(
        f"""CREATE TABLE IF NOT EXISTS {SYSTEM}.stage_files (
            stage VARCHAR, relative_path VARCHAR, size BIGINT, last_modified TIMESTAMPTZ, md5 VARCHAR)"""
    )


def put(con: duckdb.DuckDBPyConnection, thing: Object) -> None:
    """Insert the object or replace the one of that name."""
    con.execute(
        f"INSERT OR REPLACE INTO {SYSTEM}.objects ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [thing.kind, thing.database, thing.schema, thing.parent, thing.name]
        + [thing.created_on, thing.owner, thing.comment, json.dumps(thing.properties)],
    )


def get(con: duckdb.DuckDBPyConnection, kind: str, name: Name, parent: str = "") -> Object | None:
    found = select(con, "kind = ? AND database = ? AND schema = ? AND name = ? AND parent = ?", [kind, *name, parent])
    return found[0] if found else None


def need(con: duckdb.DuckDBPyConnection, kind: str, name: Name, parent: str = "", label: str | None = None) -> Object:
    """Like ``get``; raises 002003 when there is no such object."""
    found = get(con, kind, name, parent)
    if found is None:
        raise missing(label or kind.capitalize(), str(name) if name.database else name.name)
    return found


def find(
    con: duckdb.DuckDBPyConnection,
    kind: str,
    database: str | None = None,
    schema: str | None = None,
    parent: str = "",
    pattern: str | None = None,
) -> list[Object]:
    """Objects of a kind in the scope given (None: anywhere), oldest first, whose name is LIKE the pattern."""
    where, values = "kind = ? AND parent = ?", [kind, parent]
    for column, value in (("database", database), ("schema", schema)):
        if value is not None:
            where, values = f"{where} AND {column} = ?", [*values, value]
    return [thing for thing in select(con, where, values) if like(pattern, thing.name)]


def drop(con: duckdb.DuckDBPyConnection, kind: str, name: Name, parent: str = "") -> None:
    con.execute(
        f"DELETE FROM {SYSTEM}.objects WHERE kind = ? AND database = ? AND schema = ? AND name = ? AND parent = ?",
        [kind, *name, parent],
    )


def drop_parts(con: duckdb.DuckDBPyConnection, kind: str, owner: Name) -> None:
    """Forget every part (version, run) of an object."""
    con.execute(
        f"DELETE FROM {SYSTEM}.objects WHERE kind = ? AND database = ? AND schema = ? AND parent = ?", [kind, *owner]
    )


def select(con: duckdb.DuckDBPyConnection, where: str, values: list) -> list[Object]:
    rows = con.execute(
        f"SELECT {COLUMNS} FROM {SYSTEM}.objects WHERE {where} ORDER BY created_on, name", values
    ).fetchall()
    return [
        Object(kind, database, schema, name, parent, created_on, owner, comment, json.loads(properties))
        for kind, database, schema, parent, name, created_on, owner, comment, properties in rows
    ]


FIRST_OBJECTS = [
    Object("DATABASE", "", "", "SNOWFLAKE", comment="What every account shares"),
    Object("SCHEMA", "SNOWFLAKE", "", "SNOWPARK"),
    Object("ARTIFACT REPOSITORY", "SNOWFLAKE", "SNOWPARK", "PYPI_SHARED_REPOSITORY"),
    Object("ROLE", "", "", "SYSADMIN"),
    Object("ROLE", "", "", "ACCOUNTADMIN"),
    Object("ROLE", "", "", "SECURITYADMIN"),
    Object("ROLE", "", "", "USERADMIN"),
    Object("ROLE", "", "", "PUBLIC"),
    Object("WAREHOUSE", "", "", "COMPUTE_WH", properties={"WAREHOUSE_SIZE": "X-Small"}),
    Object(
        "COMPUTE POOL",
        "",
        "",
        "SYSTEM_COMPUTE_POOL_CPU",
        properties={"INSTANCE_FAMILY": "CPU_X64_S", "MIN_NODES": "1", "MAX_NODES": "1"},
    ),
    Object("STAGE", "", "", "~", properties={"folder": "~"}),
]

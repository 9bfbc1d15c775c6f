"""The account's catalog, kept in one DuckDB table next to the user's own tables.

Databases, schemas, tables, stages, models and their versions, services, experiments, tasks, warehouses, roles: each is
a row of ``SYSTEM.objects`` with a kind, a name and a JSON of properties, so that a change of it commits or rolls back
with the statement that made it.
"""

import datetime as dt
import json
from dataclasses import dataclass, field

from duckdb import DuckDBPyConnection

from local_account.text.identifiers import Name

FILE = "account"  # the name under which the account's database file is attached
SYSTEM = f'{FILE}."SYSTEM"'
COLUMNS = "kind, database, schema, name, parent, created_on, owner, comment, properties"
ACCOUNT_LEVEL = {"DATABASE", "WAREHOUSE", "COMPUTE POOL", "ROLE", "USER", "INTEGRATION", "RESOURCE MONITOR"}


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
    temporary: bool = False  # belongs to one session, and is not stored

    @property
    def qualified(self) -> Name:
        return Name(self.database, self.schema, self.name)

    def row(self) -> dict:
        """The columns that every SHOW command shares."""
        shared = {key: getattr(self, key) for key in ("created_on", "name", "owner", "comment")}
        return {**shared, "database_name": self.database, "schema_name": self.schema}


def create_tables(con: DuckDBPyConnection) -> None:
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


def put(con: DuckDBPyConnection, thing: Object) -> None:
    """Insert the object or replace the one of that name."""
    values = [getattr(thing, column) for column in COLUMNS.split(", ")[:-1]] + [json.dumps(thing.properties)]
    con.execute(f"INSERT OR REPLACE INTO {SYSTEM}.objects ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def find(con: DuckDBPyConnection, **where: str | None) -> list[Object]:
    """The objects whose columns have these values (None: any), oldest first."""
    return objects(rows(con, **where))


def rows(con: DuckDBPyConnection, **where: str | None) -> list[tuple]:
    given = {column: value for column, value in where.items() if value is not None}
    clause = " AND ".join(f"{column} = ?" for column in given) or "true"
    return con.execute(f"SELECT {COLUMNS} FROM {SYSTEM}.objects WHERE {clause}", [*given.values()]).fetchall()


def objects(rows: list[tuple]) -> list[Object]:
    found = [Object(*row, json.loads(properties)) for *row, properties in rows]
    return sorted(found, key=lambda thing: (thing.created_on, thing.name))


def get(con: DuckDBPyConnection, kind: str, name: Name, parent: str = "") -> Object | None:
    found = find(con, kind=kind, database=name.database, schema=name.schema, name=name.name, parent=parent)
    return found[0] if found else None


def drop(con: DuckDBPyConnection, thing: Object) -> None:
    con.execute(
        f"DELETE FROM {SYSTEM}.objects WHERE kind = ? AND database = ? AND schema = ? AND name = ? AND parent = ?",
        [thing.kind, *thing.qualified, thing.parent],
    )


FIRST_OBJECTS = [
    Object("DATABASE", "", "", "SNOWFLAKE", comment="What every account shares"),
    Object("SCHEMA", "SNOWFLAKE", "", "SNOWPARK"),
    Object("ARTIFACT REPOSITORY", "SNOWFLAKE", "SNOWPARK", "PYPI_SHARED_REPOSITORY"),
    *(Object("ROLE", "", "", name) for name in ("SYSADMIN", "ACCOUNTADMIN", "SECURITYADMIN", "USERADMIN", "PUBLIC")),
    Object("WAREHOUSE", "", "", "COMPUTE_WH", properties={"WAREHOUSE_SIZE": "X-Small"}),
    Object("COMPUTE POOL", "", "", "SYSTEM_COMPUTE_POOL_CPU",
           properties={"INSTANCE_FAMILY": "CPU_X64_S", "MIN_NODES": "1", "MAX_NODES": "1"}),
    Object("STAGE", "", "", "~", properties={"folder": "~"}),
]  # fmt: skip

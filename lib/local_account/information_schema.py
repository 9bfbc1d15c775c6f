"""INFORMATION_SCHEMA views, as engine queries over the catalog and the engine's own."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from . import catalog, names
from .errors import missing
from .types import snowflake_type

if TYPE_CHECKING:
    from .session import Session


def information_schema(session: Session, database: str, view: str) -> str:
    """The engine query for ``database.INFORMATION_SCHEMA.view``. Raises 002003 for a view that is not here."""
    makers = {"TABLES": tables, "COLUMNS": columns, "SCHEMATA": schemata, "PACKAGES": packages}
    if view.upper() not in makers:
        raise missing("Object", f"{database}.INFORMATION_SCHEMA.{view}")
    return makers[view.upper()](session, database)


def tables(session: Session, database: str) -> str:
    return f"""
        SELECT database AS "TABLE_CATALOG", schema AS "TABLE_SCHEMA", name AS "TABLE_NAME", owner AS "TABLE_OWNER",
            CASE kind WHEN 'TABLE' THEN 'BASE TABLE' ELSE kind END AS "TABLE_TYPE", created_on AS "CREATED",
            comment AS "COMMENT"
        FROM {catalog.SYSTEM}.objects WHERE kind IN ('TABLE', 'VIEW') AND database = {names.literal(database)}"""


def columns(session: Session, database: str) -> str:
    kinds = session.con.execute("SELECT DISTINCT data_type FROM duckdb_columns()").fetchall()
    cases = " ".join(
        f"WHEN {names.literal(k)} THEN {names.literal(snowflake_type(k).split('(')[0].replace('VARCHAR', 'TEXT'))}"
        for (k,) in kinds
    )
    return f"""
        SELECT {names.literal(database)} AS "TABLE_CATALOG", split_part(schema_name, '.', 2) AS "TABLE_SCHEMA",
            table_name AS "TABLE_NAME", column_name AS "COLUMN_NAME", column_index AS "ORDINAL_POSITION",
            CASE data_type {cases} END AS "DATA_TYPE", CASE WHEN is_nullable THEN 'YES' ELSE 'NO' END AS "IS_NULLABLE",
            comment AS "COMMENT"
        FROM duckdb_columns()
        WHERE database_name = '{catalog.FILE}' AND split_part(schema_name, '.', 1) = {names.literal(database)}"""


def schemata(session: Session, database: str) -> str:
    return f"""
        SELECT database AS "CATALOG_NAME", name AS "SCHEMA_NAME", owner AS "SCHEMA_OWNER", created_on AS "CREATED"
        FROM {catalog.SYSTEM}.objects WHERE kind = 'SCHEMA' AND database = {names.literal(database)}"""


def packages(session: Session, database: str) -> str:
    """What the warehouse's Python has: here, the packages of this environment."""
    found = {d.metadata["Name"].lower(): d.version.split("+")[0] for d in importlib.metadata.distributions()}
    if "torch" in found:
        found["pytorch"] = found["torch"]
    rows = ", ".join(f"({names.literal(name)}, {names.literal(version)})" for name, version in sorted(found.items()))
    return f"""
        SELECT name AS "PACKAGE_NAME", version AS "VERSION", 'python' AS "LANGUAGE",
            CAST(NULL AS VARCHAR) AS "RUNTIME_VERSION"
        FROM (VALUES {rows}) AS p(name, version)"""

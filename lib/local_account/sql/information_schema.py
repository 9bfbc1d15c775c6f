"""INFORMATION_SCHEMA views, as engine queries over the catalog and the engine's own."""

from local_account.account import catalog
from local_account.account.session import Session
from local_account.engine.types import snowflake_type
from local_account.sql.packages import rows
from local_account.text.errors import Missing
from local_account.text.literals import literal

VIEWS = {
    "TABLES": """
        SELECT database AS "TABLE_CATALOG", schema AS "TABLE_SCHEMA", name AS "TABLE_NAME", owner AS "TABLE_OWNER",
            CASE kind WHEN 'TABLE' THEN 'BASE TABLE' ELSE kind END AS "TABLE_TYPE", created_on AS "CREATED",
            comment AS "COMMENT"
        FROM {objects} WHERE kind IN ('TABLE', 'VIEW') AND database = {database}""",
    "SCHEMATA": """
        SELECT database AS "CATALOG_NAME", name AS "SCHEMA_NAME", owner AS "SCHEMA_OWNER", created_on AS "CREATED"
        FROM {objects} WHERE kind = 'SCHEMA' AND database = {database}
        UNION ALL SELECT {database}, 'INFORMATION_SCHEMA', '', NULL""",
    "COLUMNS": """
        SELECT o.database AS "TABLE_CATALOG", o.schema AS "TABLE_SCHEMA", table_name AS "TABLE_NAME",
            column_name AS "COLUMN_NAME", column_index AS "ORDINAL_POSITION",
            CASE WHEN json_extract_string(properties, pointer) IN ('ARRAY', 'OBJECT')
                THEN json_extract_string(properties, pointer) ELSE CASE data_type {types} END END AS "DATA_TYPE",
            CASE WHEN is_nullable THEN 'YES' ELSE 'NO' END AS "IS_NULLABLE", c.comment AS "COMMENT",
            CASE WHEN data_type IN ('BIGINT', 'HUGEINT') THEN 38 WHEN starts_with(data_type, 'DECIMAL')
                THEN numeric_precision END AS "NUMERIC_PRECISION",
            CASE WHEN data_type IN ('BIGINT', 'HUGEINT') THEN 0 WHEN starts_with(data_type, 'DECIMAL')
                THEN numeric_scale END AS "NUMERIC_SCALE",
            CASE data_type WHEN 'VARCHAR' THEN coalesce(CAST(regexp_extract(json_extract_string(properties, pointer),
                '[0-9]+') AS BIGINT), 16777216) END AS "CHARACTER_MAXIMUM_LENGTH"
        FROM (SELECT *, '/types/' || replace(replace(column_name, '~', '~0'), '/', '~1') AS pointer
              FROM duckdb_columns() WHERE database_name = '{file}') AS c JOIN {objects} AS o
            ON o.kind = 'TABLE' AND table_name = o.name AND schema_name = o.database || '.' || o.schema
        WHERE o.database = {database}""",
    "VIEWS": """
        SELECT database AS "TABLE_CATALOG", schema AS "TABLE_SCHEMA", name AS "TABLE_NAME", owner AS "TABLE_OWNER",
            json_extract_string(properties, '$.text') AS "VIEW_DEFINITION", created_on AS "CREATED",
            comment AS "COMMENT"
        FROM {objects} WHERE kind = 'VIEW' AND database = {database}""",
    "PACKAGES": """
        SELECT name AS "PACKAGE_NAME", version AS "VERSION", 'python' AS "LANGUAGE",
            CAST(NULL AS VARCHAR) AS "RUNTIME_VERSION" FROM (VALUES {packages}) AS p(name, version)""",
}


def information_schema(session: Session, database: str, view: str) -> str:
    """The engine query for ``database.INFORMATION_SCHEMA.view``. Raises 002003 for a view that is not here."""
    if view.upper() not in VIEWS:
        raise Missing("Object", f"{database}.INFORMATION_SCHEMA.{view}")
    given = {"database": literal(database), "objects": f"{catalog.SYSTEM}.objects", "file": catalog.FILE}
    kinds = session.con.execute("SELECT DISTINCT data_type FROM duckdb_columns()").fetchall()
    spelled = {kind: snowflake_type(kind).split("(")[0].replace("VARCHAR", "TEXT") for (kind,) in kinds}
    types = " ".join(f"WHEN {literal(kind)} THEN {literal(name)}" for kind, name in spelled.items())
    return VIEWS[view.upper()].format(
        **given, types=types, packages=packages(session) if view.upper() == "PACKAGES" else ""
    )


def packages(session: Session) -> str:
    return ", ".join(f"({literal(name)}, {literal(version)})" for name, version in rows(session.account.root))

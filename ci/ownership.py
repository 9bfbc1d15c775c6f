"""What a deployment would take from others, and what a teardown would remove of theirs: asked before any statement."""

from collections.abc import Collection

from snowflake.snowpark import Row, Session
from snowflake.snowpark.exceptions import SnowparkSQLException

from cxr.settings import Settings

ADMINISTRATOR = "ACCOUNTADMIN"


def refusal(session: Session, settings: Settings, steps: Collection[str]) -> str:
    """Why these steps must not run, and what to do; empty if they may."""
    if not {"account", "teardown", "schema"} & set(steps):
        return ""
    mine = session.sql("SELECT CURRENT_ROLE()").collect()[0][0]
    try:
        session.sql(f"USE ROLE {ADMINISTRATOR}").collect()  # another role may not see what is not its own
    except SnowparkSQLException:
        return ""  # no statement of these steps can run either, and the first one says so
    if "schema" in steps:
        return ""  # it removes what is in this schema, and nothing else
    databases = session.sql("SHOW DATABASES").collect()
    if "account" in steps:
        return _takes_over(settings, databases, mine)
    return _removes_too_much(session, settings, databases)


def _takes_over(settings: Settings, databases: list[Row], mine: str) -> str:
    """10_account.sql gives the database to the engineer's role, also if it exists."""
    database, engineer = settings.database.upper(), settings.engineer_role.upper()
    owners = [row["owner"] for row in databases if row["name"] == database]
    if not owners or owners[0] in (engineer, mine, ADMINISTRATOR):
        return ""
    return (
        f"The database {database} exists and belongs to {owners[0] or 'another account'}; this would give it to "
        f"{engineer}. Nothing was done. Choose another name (CXR_DATABASE=NAME). If it is meant for this project, let "
        f"its owner run: GRANT OWNERSHIP ON DATABASE {database} TO ROLE {engineer} COPY CURRENT GRANTS"
    )


def _removes_too_much(session: Session, settings: Settings, databases: list[Row]) -> str:
    """90_teardown.sql drops the database and the roles, whatever else is in the one and belongs to the others."""
    database, schema, engineer = (name.upper() for name in (settings.database, settings.schema, settings.engineer_role))
    names = {row["name"] for row in databases}
    shown = session.sql(f"SHOW SCHEMAS IN DATABASE {database}").collect() if database in names else []
    others = [f"the schema {database}.{name}" for name in sorted({row["name"] for row in shown})
              if name not in (schema, "PUBLIC", "INFORMATION_SCHEMA")]  # fmt: skip
    others += [f"the database {row['name']} of the role {engineer}" for row in databases
               if row["owner"] == engineer and row["name"] != database]  # fmt: skip
    if not others:
        return ""
    return (
        f"--teardown {database} removes the database, the roles and the pools, and there is more that needs them: "
        f"{', '.join(others)}. Nothing was done. To remove this schema alone: --teardown {database}.{schema}. To "
        "remove everything, remove the others first"
    )

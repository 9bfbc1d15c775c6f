"""Databases, schemas and account-level objects. The latter have nothing to run on here: they are recorded in the
catalog, shown by SHOW, and their answer says so."""

from __future__ import annotations

from . import catalog, names
from .catalog import FILE, Object
from .errors import already_exists, compilation_error, missing
from .grants import forget_grants
from .names import Name
from .results import Result, status
from .session import Session
from .sources import engine_schema
from .statements import Matched, options, statement

RECORDED = "recorded, not executed"
ACCOUNT_KINDS = (
    "WAREHOUSE|COMPUTE POOL|ROLE|USER|EXTERNAL ACCESS INTEGRATION|API INTEGRATION|NOTIFICATION INTEGRATION|"
    "STORAGE INTEGRATION|SECURITY INTEGRATION|RESOURCE MONITOR"
)
SCHEMA_KINDS = "NETWORK RULE|SECRET|IMAGE REPOSITORY|TAG|ALERT|FILE FORMAT|ARTIFACT REPOSITORY|MODEL MONITOR"


# ---------------------------------------------------------------- databases and schemas

SCOPE_OPTIONS = "COMMENT DATA_RETENTION_TIME_IN_DAYS MAX_DATA_EXTENSION_TIME_IN_DAYS"


@statement("CREATE [OR REPLACE] DATABASE ROLE [IF NOT EXISTS] <name> [<options:rest>]", "recorded")
def create_database_role(session: Session, s: Matched) -> Result:
    database, role = schema_name(session, s["name"])
    s.groups["choice"] = "DATABASE ROLE"
    return record(session, s, Name(database, "", role))


@statement("CREATE [OR REPLACE] [TRANSIENT] DATABASE [IF NOT EXISTS] <name> [<options:rest>]", "executed")
def create_database(session: Session, s: Matched) -> Result:
    name = account_name(s["name"])
    scope = Name("", "", name)
    with session.change(name):
        if catalog.get(session.con, "DATABASE", scope):
            if s.if_not_exists:
                return status(f"{name} already exists, statement succeeded.")
            if not s.or_replace:
                raise already_exists(name)
            remove_database(session, name)
        comment = options(s["options"], SCOPE_OPTIONS).get("COMMENT", "")
        catalog.put(session.con, Object("DATABASE", *scope_parts(scope), owner=session.role, comment=comment))
        add_schema(session, name, "PUBLIC", "")
    session.use_database(name)
    return status(f"Database {name} successfully created.")


@statement("CREATE [OR REPLACE] [TRANSIENT] SCHEMA [IF NOT EXISTS] <name> [<options:rest>]", "executed")
def create_schema(session: Session, s: Matched) -> Result:
    database, schema = schema_name(session, s["name"])
    catalog.need(session.con, "DATABASE", Name("", "", database))
    with session.change(f"{database}.{schema}"):
        if catalog.get(session.con, "SCHEMA", Name(database, "", schema)):
            if s.if_not_exists:
                return status(f"{schema} already exists, statement succeeded.")
            if not s.or_replace:
                raise already_exists(f"{database}.{schema}")
            remove_schema(session, database, schema)
        add_schema(session, database, schema, options(s["options"], SCOPE_OPTIONS).get("COMMENT", ""))
    session.use_schema(database, schema)
    return status(f"Schema {schema} successfully created.")


def account_name(text: str) -> str:
    parts = names.split(text)
    if len(parts) != 1:
        raise compilation_error(f"syntax error: the name of a database has one part, not {text}", 1003)
    return parts[0]


def scope_parts(name: Name) -> tuple[str, str, str]:
    return name.database, name.schema, name.name


def schema_name(session: Session, text: str) -> tuple[str, str]:
    parts = names.split(text)
    if len(parts) == 1:
        return session.qualify(["X", "X"]).database, parts[0]
    return parts[0], parts[1]


def add_schema(session: Session, database: str, schema: str, comment: str) -> None:
    catalog.put(session.con, Object("SCHEMA", database, "", schema, owner=session.role, comment=comment))
    session.con.execute(f"CREATE SCHEMA IF NOT EXISTS {FILE}.{names.quote(engine_schema(Name(database, schema, '')))}")


@statement("DROP DATABASE [IF EXISTS] <name> [CASCADE|RESTRICT]", "executed")
def drop_database(session: Session, s: Matched) -> Result:
    name = account_name(s["name"])
    if not catalog.get(session.con, "DATABASE", Name("", "", name)):
        if s.if_exists:
            return status(f"Drop statement executed successfully ({name} already dropped).")
        raise missing("Database", name)
    with session.change(name):
        remove_database(session, name)
    if session.database == name:
        session.database = session.schema = None
    return status(f"{name} successfully dropped.")


@statement("DROP SCHEMA [IF EXISTS] <name> [CASCADE|RESTRICT]", "executed")
def drop_schema(session: Session, s: Matched) -> Result:
    database, schema = schema_name(session, s["name"])
    if not catalog.get(session.con, "SCHEMA", Name(database, "", schema)):
        if s.if_exists:
            return status(f"Drop statement executed successfully ({schema} already dropped).")
        raise missing("Schema", f"{database}.{schema}")
    with session.change(f"{database}.{schema}"):
        remove_schema(session, database, schema)
    if (session.database, session.schema) == (database, schema):
        session.schema = None
    return status(f"{schema} successfully dropped.")


def remove_database(session: Session, database: str) -> None:
    for schema in catalog.find(session.con, "SCHEMA", database=database):
        remove_schema(session, database, schema.name)
    catalog.drop(session.con, "DATABASE", Name("", "", database))
    forget_grants(session, "DATABASE", database)


def remove_schema(session: Session, database: str, schema: str) -> None:
    """Forget all that is in the schema. Folders of its stages and models go when the account next opens."""
    from .services import stop_services

    stop_services(session, database, schema)
    session.con.execute(
        f"DROP SCHEMA IF EXISTS {FILE}.{names.quote(engine_schema(Name(database, schema, '')))} CASCADE"
    )
    session.con.execute(f"DELETE FROM {catalog.SYSTEM}.objects WHERE database = ? AND schema = ?", [database, schema])
    prefix = str(Name(database, schema, "X")).removesuffix("X")
    session.con.execute(f"DELETE FROM {catalog.SYSTEM}.stage_files WHERE starts_with(stage, ?)", [prefix])
    catalog.drop(session.con, "SCHEMA", Name(database, "", schema))


# ---------------------------------------------------------------- recorded objects


@statement(f"CREATE [OR REPLACE] {{{ACCOUNT_KINDS}}} [IF NOT EXISTS] <name> [<options:rest>]", "recorded")
def create_account_object(session: Session, s: Matched) -> Result:
    return record(session, s, Name("", "", names.split(s["name"])[-1]))


@statement(
    f"CREATE [OR REPLACE] [SCOPED] [TEMP|TEMPORARY] {{{SCHEMA_KINDS}}} [IF NOT EXISTS] <name> [<options:rest>]",
    "recorded",
)
def create_schema_object(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    session.need_schema(name.database, name.schema)
    return record(session, s, name)


def record(session: Session, s: Matched, name: Name) -> Result:
    kind = record_kind(s.choice)
    given = options(s["options"])
    with session.change(f"{kind} {name}"):
        if session.get(kind, name):
            if s.if_not_exists:
                return status(f"{name.name} already exists, statement succeeded.")
            if not s.or_replace:
                raise already_exists(name.name)
        thing = Object(kind, name.database, name.schema, name.name, owner=session.role, properties=given)
        thing.comment = given.get("COMMENT", "")
        if kind == "FILE FORMAT" and s.groups.get("temp"):
            session.temporary[kind, name] = thing
        else:
            catalog.put(session.con, thing)
    if kind == "FILE FORMAT":
        return status(f"File format {name.name} successfully created.")
    return status(f"{kind.capitalize()} {name.name} successfully created ({RECORDED}).")


def record_kind(words: str) -> str:
    return "INTEGRATION" if words.endswith("INTEGRATION") else words


@statement("ALTER COMPUTE POOL [IF EXISTS] <name> STOP ALL", "executed")
def stop_pool(session: Session, s: Matched) -> Result:
    """Drops every service on the pool, as Snowflake does."""
    from .services import remove_service, services_on

    pool = Name("", "", names.split(s["name"])[-1])
    if not s.if_exists:
        session.need("COMPUTE POOL", pool)
    for service in services_on(session, pool.name):
        remove_service(session, service.qualified)
    return status()


@statement("DROP COMPUTE POOL [IF EXISTS] <name>", "recorded")
def drop_pool(session: Session, s: Matched) -> Result:
    from .services import services_on

    pool = names.split(s["name"])[-1]
    if running := services_on(session, pool):
        listed = ", ".join(service.name for service in running)
        raise compilation_error(f"Compute pool {pool} has services: {listed}. Drop them, or ALTER it STOP ALL.")
    s.groups["choice"] = "COMPUTE POOL"
    return forget(session, s, Name("", "", pool))


@statement(f"ALTER {{{ACCOUNT_KINDS}}} [IF EXISTS] <name> <action:rest>", "recorded")
def alter_account_object(session: Session, s: Matched) -> Result:
    return alter(session, s, Name("", "", names.split(s["name"])[-1]))


@statement(f"ALTER {{{SCHEMA_KINDS}}} [IF EXISTS] <name> <action:rest>", "recorded")
def alter_schema_object(session: Session, s: Matched) -> Result:
    return alter(session, s, session.resolve(s["name"]))


def alter(session: Session, s: Matched, name: Name) -> Result:
    kind = record_kind(s.choice)
    if s.if_exists and session.get(kind, name) is None:
        return status()
    with session.change(f"{kind} {name}"):
        thing = session.need(kind, name)
        action = s["action"].strip().upper()
        if action in ("SUSPEND", "RESUME"):
            thing.properties["STATE"] = {"SUSPEND": "SUSPENDED", "RESUME": "STARTED"}[action]
        thing.properties |= options(s["action"])
        thing.comment = thing.properties.get("COMMENT", thing.comment)
        catalog.put(session.con, thing)
    return status(f"Statement executed successfully ({RECORDED}).")


@statement(f"DROP {{{ACCOUNT_KINDS}|INTEGRATION}} [IF EXISTS] <name>", "recorded")
def drop_account_object(session: Session, s: Matched) -> Result:
    return forget(session, s, Name("", "", names.split(s["name"])[-1]))


@statement(f"DROP {{{SCHEMA_KINDS}}} [IF EXISTS] <name>", "recorded")
def drop_schema_object(session: Session, s: Matched) -> Result:
    return forget(session, s, session.resolve(s["name"]))


def forget(session: Session, s: Matched, name: Name) -> Result:
    kind = record_kind(s.choice)
    if session.temporary.pop((kind, name), None):
        return status(f"{name.name} successfully dropped.")
    if catalog.get(session.con, kind, name) is None:
        if s.if_exists:
            return status(f"Drop statement executed successfully ({name.name} already dropped).")
        raise missing(kind.capitalize(), name.name)
    with session.change(f"{kind} {name}"):
        catalog.drop(session.con, kind, name)
        forget_grants(session, kind, str(name) if name.database else name.name)
    return status(f"{name.name} successfully dropped.")


COMMENTED = "DATABASE|SCHEMA|TABLE|VIEW|STAGE|WAREHOUSE|COMPUTE POOL|ROLE|SERVICE"


@statement(f"COMMENT [IF EXISTS] ON {{{COMMENTED}}} <name> IS <comment:body>", "executed")
def comment(session: Session, s: Matched) -> Result:
    kind = s.choice
    if kind in ("DATABASE", "WAREHOUSE", "COMPUTE POOL", "ROLE"):
        name = Name("", "", names.split(s["name"])[-1])
    elif kind == "SCHEMA":
        database, schema = schema_name(session, s["name"])
        name = Name(database, "", schema)
    else:
        name = session.resolve(s["name"])
    with session.change(name):
        thing = session.need(kind, name)
        thing.comment = s.value("comment")
        if (kind, name) not in session.temporary:
            catalog.put(session.con, thing)
    return status()

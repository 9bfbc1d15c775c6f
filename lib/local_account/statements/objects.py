"""What all catalogued objects have in common: they are created, altered, commented on and dropped the same way.

Account-level objects have nothing to run on here: they are recorded in the catalog, and their answer says so.
"""

from collections.abc import Callable
from functools import partial

from local_account.account import catalog
from local_account.account.catalog import FILE, Object
from local_account.account.session import Session
from local_account.engine.results import Result, status
from local_account.sql.stage_files import OPTIONS, check_options
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements import options
from local_account.statements.grants import forget_grants
from local_account.text import identifiers, literals
from local_account.text.errors import already_exists, compilation_error

RECORDED = "recorded, not executed"
ACCOUNT_KINDS = "WAREHOUSE|COMPUTE POOL|ROLE|EXTERNAL ACCESS INTEGRATION"
SCHEMA_KINDS = "NETWORK RULE|IMAGE REPOSITORY|MODEL MONITOR"
PARTS = {"MODEL": "MODEL VERSION", "EXPERIMENT": "RUN"}


def kind_of(s: Matched) -> str:
    return "INTEGRATION" if s.choice.endswith("INTEGRATION") else s.choice


def create(session: Session, s: Matched, thing: Object, fill: Callable | None = None, how: str = "") -> Result:
    """Run a CREATE. ``fill(thing)`` runs in the same transaction and makes what the object has besides its catalog row.

    Raises when the name is taken, unless the statement says OR REPLACE or IF NOT EXISTS.
    """
    name = thing.qualified
    if thing.schema:
        session.need_schema(thing.database, thing.schema)
    thing.owner, thing.comment = session.role, thing.comment or thing.properties.get("COMMENT", "")
    thing.temporary = bool(s.temp)
    with session.transaction.change(session.key(thing), temporary=thing.temporary):
        before = find_same(session, thing)
        if before and s.if_not_exists:
            return status(f"{thing.name} already exists, statement succeeded.")
        if before and (not s.or_replace or before.kind != thing.kind):
            raise already_exists(name)
        if before and thing.kind != "TABLE":  # the engine itself replaces a table, even by a query that reads it
            remove(session, before)
        if fill:
            fill(thing)
        session.put(thing)
    label = "Stage area" if thing.kind == "STAGE" else thing.kind.capitalize()
    return status(f"{label} {thing.name} successfully created{how}.")


def find_same(session: Session, thing: Object) -> Object | None:
    """What has the name already; a temporary object may hide a permanent one. Tables and views share their names."""
    kinds = ("TABLE", "VIEW") if thing.kind in ("TABLE", "VIEW") else (thing.kind,)
    if thing.temporary:
        found = [session.temporary.get((kind, thing.qualified)) for kind in kinds]
    else:
        found = [catalog.get(session.con, kind, thing.qualified) for kind in kinds]
    return next(filter(None, found), None)


def made(session: Session, s: Matched, kind: str, **properties: object) -> Object:
    return Object(kind, *session.named(kind, s["name"]), properties=properties)


def record(session: Session, s: Matched) -> Result:
    given = s.options()
    if given.pop("INITIALLY_SUSPENDED", "FALSE").upper() == "TRUE":
        given["STATE"] = "SUSPENDED"
    return create(session, s, made(session, s, kind_of(s), **given), how=f" ({RECORDED})")


def create_format(session: Session, s: Matched) -> Result:
    given = literals.free_options(s["options"])
    for option in given.keys() & {"FORMAT_NAME", "FORMAT", "PATTERN"}:
        raise compilation_error(f"syntax error or unknown property near '{option}'", 1003)
    return create(session, s, made(session, s, "FILE FORMAT", **given), lambda it: check_options(given, OPTIONS))


def create_scope(session: Session, s: Matched) -> Result:
    scope = made(session, s, s.choice, **s.options())
    if s.choice == "SCHEMA":
        session.need("DATABASE", identifiers.quote(scope.database))
    return create(session, s, scope, lambda _: make_schema(session, scope))


def make_schema(session: Session, scope: Object) -> None:
    """The schema itself, or a new database's PUBLIC; it comes into use."""
    if scope.kind == "DATABASE":
        scope = Object("SCHEMA", scope.name, "", "PUBLIC", owner=session.role)
        session.put(scope)
    session.con.execute(f"CREATE SCHEMA IF NOT EXISTS {FILE}.{identifiers.quote(f'{scope.database}.{scope.name}')}")
    session.database, session.schema = scope.database, scope.name


def remove(session: Session, thing: Object) -> None:
    """Forget an object and its parts within the open definition; its folder goes when that has committed."""
    if thing.kind in session.handlers.before_removal:
        session.handlers.before_removal[thing.kind](session, thing)
    if thing.kind in PARTS:
        for part in session.find(PARTS[thing.kind], thing.database, thing.schema, thing.name):
            remove(session, part)
    session.forget(thing)
    if "folder" in thing.properties:
        session.transaction.after_commit.append(lambda: session.folders.remove(thing))
    if not thing.parent:
        forget_grants(session, thing)


def remove_database(session: Session, database: Object) -> None:
    for thing in catalog.find(session.con, database=database.name, schema="", parent=""):
        remove(session, thing)
    if session.database == database.name:
        session.database = session.schema = None


def remove_schema(session: Session, schema: Object) -> None:
    for thing in catalog.find(session.con, database=schema.database, schema=schema.name, parent=""):
        remove(session, thing)
    session.con.execute(f"DROP SCHEMA IF EXISTS {FILE}.{identifiers.quote(f'{schema.database}.{schema.name}')} CASCADE")
    if (session.database, session.schema) == (schema.database, schema.name):
        session.schema = None


def refuse_used_pool(session: Session, pool: Object) -> None:
    if running := [service for service in services_on(session, pool.name) if not has_ended(service)]:
        listed = ", ".join(service.name for service in running)
        raise compilation_error(f"Compute pool {pool.name} has services: {listed}. Drop them, or ALTER it STOP ALL.")


def has_ended(service: Object) -> bool:
    """Whether it is a job that has ended: its row stays, its node is free."""
    return bool(service.properties.get("job")) and service.properties["status"] != "RUNNING"


def services_on(session: Session, pool: str) -> list[Object]:
    return [service for service in session.find("SERVICE") if service.properties.get("compute_pool") == pool]


def drop(session: Session, s: Matched) -> Result:
    kind = kind_of(s)
    thing = session.need(kind, s["name"])
    with session.transaction.change(session.key(thing), temporary=thing.temporary):
        remove(session, session.need(kind, thing.qualified))
    return status(f"{thing.name} successfully dropped.")


def stop_pool(session: Session, s: Matched) -> None:
    """Drops every service on the pool, as Snowflake does."""
    pool = session.need("COMPUTE POOL", s["name"])
    with session.transaction.change(pool.qualified):
        for service in services_on(session, pool.name):
            remove(session, service)


def alter(session: Session, s: Matched) -> Result:
    with session.edit(kind_of(s), s["name"]) as thing:
        thing.properties |= s.options()
        thing.comment = thing.properties.get("COMMENT", thing.comment)
    return status(f"Statement executed successfully ({RECORDED}).")


def suspend_or_resume(kind: str, session: Session, s: Matched) -> Result:
    with session.edit(kind, s["name"]) as thing:
        thing.properties["STATE"] = {"SUSPEND": "SUSPENDED", "RESUME": "STARTED"}[s.choice]
    return status(f"Statement executed successfully ({RECORDED}).")


COMMENTED = "DATABASE|SCHEMA|TABLE|VIEW|STAGE|WAREHOUSE|COMPUTE POOL|ROLE|SERVICE|MODEL"


def comment(session: Session, s: Matched) -> None:
    with session.edit(s.choice, s["name"]) as thing:
        thing.comment = s.value("comment")


STATEMENTS = [
    Statement(f"CREATE [OR REPLACE] [SCOPED] [TEMP|TEMPORARY] {{{SCHEMA_KINDS}}} [IF NOT EXISTS] <name> "
              "[WITH] [<options:rest>]", record, "recorded", options.RECORDED),
    Statement("CREATE [OR REPLACE] [SCOPED] [TEMP|TEMPORARY] FILE FORMAT [IF NOT EXISTS] <name> [<options:rest>]",
              create_format),
    Statement(f"CREATE [OR REPLACE] {{{ACCOUNT_KINDS}}} [IF NOT EXISTS] <name> [<options:rest>]", record, "recorded",
              options.RECORDED),
    Statement("CREATE [OR REPLACE] {DATABASE|SCHEMA} [IF NOT EXISTS] <name> [<options:rest>]", create_scope,
              options=options.COMMENT),
    Statement("DROP {SERVICE} [IF EXISTS] <name> [FORCE]", drop),
    Statement("DROP {STAGE|MODEL|EXPERIMENT|CODE BUNDLE|TASK|STREAMLIT} [IF EXISTS] <name>", drop),
    Statement("DROP {DATABASE|SCHEMA|TABLE|VIEW} [IF EXISTS] <name> [CASCADE|RESTRICT]", drop),
    Statement(f"DROP {{{ACCOUNT_KINDS}|INTEGRATION|{SCHEMA_KINDS}|ALERT|FILE FORMAT}} [IF EXISTS] <name>", drop,
              "recorded"),
    Statement("ALTER {COMPUTE POOL} [IF EXISTS] <name> STOP ALL", stop_pool),
    Statement(f"ALTER {{{ACCOUNT_KINDS}|{SCHEMA_KINDS}}} [IF EXISTS] <name> SET <options:rest>", alter, "recorded",
              options.CHANGED),
    Statement("ALTER WAREHOUSE [IF EXISTS] <name> {SUSPEND|RESUME}", partial(suspend_or_resume, "WAREHOUSE"),
              "recorded"),
    Statement("ALTER COMPUTE POOL [IF EXISTS] <name> {SUSPEND|RESUME}", partial(suspend_or_resume, "COMPUTE POOL"),
              "recorded"),
    Statement("ALTER {DATABASE|SCHEMA|TABLE|VIEW|MODEL} [IF EXISTS] <name> SET COMMENT = <comment:body>", comment),
    Statement(f"COMMENT [IF EXISTS] ON {{{COMMENTED}}} <name> IS <comment:body>", comment),
]  # fmt: skip

BEFORE_REMOVAL = {
    "DATABASE": remove_database,
    "SCHEMA": remove_schema,
    "TABLE": lambda session, table: session.con.execute(f"DROP TABLE {session.key(table)}"),
    "COMPUTE POOL": refuse_used_pool,
}

"""SHOW: every answer is read from the catalog or from the engine, never made up."""

from __future__ import annotations

from . import catalog, names
from .catalog import Object
from .errors import missing
from .names import Name
from .results import Result, listing
from .session import Session
from .statements import Matched, statement

SCOPE = "[IN ACCOUNT] [IN SCHEMA <in_schema>] [IN DATABASE <in_database>] [IN <in_name>]"
FILTER = "[STARTS WITH <prefix:string>] [LIMIT <limit:number>] [FROM <start:string>]"
COMMON = "created_on@ name database_name schema_name owner comment"


def scope(session: Session, s: Matched) -> tuple[str | None, str | None]:
    """The database and schema to show; None means any. Raises 002003 for one that does not exist."""
    if s["in_database"]:
        database, schema = names.split(s["in_database"])[-1], None
    elif s["in_schema"]:
        parts = names.split(s["in_schema"])
        database, schema = ([session.database] + parts)[-2:]
    elif s["in_name"]:
        parts = names.split(s["in_name"])
        database, schema = parts if len(parts) == 2 else (session.database, parts[0])
        if len(parts) == 1 and catalog.get(session.con, "DATABASE", Name("", "", parts[0])):
            database, schema = parts[0], None
    elif s.in_account:
        return None, None
    else:
        return session.database, session.schema
    if database and catalog.get(session.con, "DATABASE", Name("", "", database)) is None:
        raise missing("Database", database)
    if schema and schema != "INFORMATION_SCHEMA":
        session.need_schema(database, schema)
    return database, schema


def chosen(session: Session, s: Matched, kind: str, account_level: bool = False) -> list[Object]:
    """The objects of a kind that the statement's scope and filters leave."""
    database, schema = (None, None) if account_level else scope(session, s)
    found = catalog.find(session.con, kind, database, schema, pattern=s.value("like"))
    found += [
        thing
        for (other, name), thing in session.temporary.items()
        if other == kind and database in (None, name.database) and schema in (None, name.schema)
        and names.like(s.value("like"), name.name)
    ]  # fmt: skip
    prefix = s.value("prefix") or ""
    found = [thing for thing in found if thing.name.startswith(prefix)]
    return found[: int(s["limit"])] if s["limit"] else found


@statement(f"SHOW [TERSE] DATABASES [LIKE <like:string>] [IN ACCOUNT] {FILTER}", "executed")
def show_databases(session: Session, s: Matched) -> Result:
    rows = [
        {**d.row(), "is_current": "Y" if d.name == session.database else "N", "kind": "STANDARD"}
        for d in chosen(session, s, "DATABASE", account_level=True)
    ]
    return listing("created_on@ name is_current owner comment kind", rows)


@statement(
    f"SHOW [TERSE] SCHEMAS [LIKE <like:string>] [IN ACCOUNT] [IN DATABASE <in_database>] [IN <in_name>] {FILTER}",
    "executed",
)
def show_schemas(session: Session, s: Matched) -> Result:
    text = s["in_database"] or s["in_name"]
    database = names.split(text)[-1] if text else None if s.in_account else session.database
    if database and catalog.get(session.con, "DATABASE", Name("", "", database)) is None:
        raise missing("Database", database)
    rows = [
        {**d.row(), "is_current": "Y" if (d.database, d.name) == (session.database, session.schema) else "N"}
        for d in catalog.find(session.con, "SCHEMA", database, pattern=s.value("like"))
        if d.name.startswith(s.value("prefix") or "")
    ]
    return listing("created_on@ name is_current database_name owner comment", rows)


@statement(f"SHOW [TERSE] {{TABLES|VIEWS|OBJECTS}} [LIKE <like:string>] {SCOPE} {FILTER}", "executed")
def show_tables(session: Session, s: Matched) -> Result:
    kinds = {"TABLES": ["TABLE"], "VIEWS": ["VIEW"], "OBJECTS": ["TABLE", "VIEW"]}[s.choice]
    rows = []
    for kind in kinds:
        for thing in chosen(session, s, kind):
            temporary = (kind, thing.qualified) in session.temporary
            rows.append({**thing.row(), "kind": "TEMPORARY" if temporary else kind, "rows": row_count(session, thing)})
            if kind == "VIEW":
                rows[-1]["text"] = thing.properties["text"]
    extra = " text" if s.choice == "VIEWS" else " rows#"
    return listing("created_on@ name database_name schema_name kind owner comment" + extra, rows)


def row_count(session: Session, thing: Object) -> int | None:
    from .tables import engine_name

    if thing.kind != "TABLE":
        return None
    target = engine_name(thing.qualified, ("TABLE", thing.qualified) in session.temporary)
    return session.con.execute(f"SELECT count(*) FROM {target}").fetchall()[0][0]


@statement(f"SHOW COLUMNS [LIKE <like:string>] IN [TABLE] <table>", "executed")  # noqa: F541
def show_columns(session: Session, s: Matched) -> Result:
    from .tables import engine_columns, existing

    name, target = existing(session, s["table"])
    rows = [
        {"table_name": name.name, "schema_name": name.schema, "column_name": column, "data_type": kind,
         "null?": str(null).lower(), "database_name": name.database}
        for column, kind, null, _ in engine_columns(session, target)
        if names.like(s.value("like"), column)
    ]  # fmt: skip
    return listing("table_name schema_name column_name data_type null? database_name", rows)


@statement(f"SHOW STAGES [LIKE <like:string>] {SCOPE} {FILTER}", "executed")
def show_stages(session: Session, s: Matched) -> Result:
    rows = [
        {**stage.row(), "type": "INTERNAL", "url": "",
         "directory_enabled": "Y" if stage.properties.get("directory") else "N"}
        for stage in chosen(session, s, "STAGE") if stage.name != "~"
    ]  # fmt: skip
    return listing(f"{COMMON} url type directory_enabled", rows)


@statement(f"SHOW WAREHOUSES [LIKE <like:string>] {FILTER}", "executed")
def show_warehouses(session: Session, s: Matched) -> Result:
    rows = [
        {**w.row(), "state": w.properties.get("STATE", "STARTED"), "type": "STANDARD",
         "size": w.properties.get("WAREHOUSE_SIZE", "X-Small"),
         "is_current": "Y" if w.name == session.warehouse else "N"}
        for w in chosen(session, s, "WAREHOUSE", account_level=True)
    ]  # fmt: skip
    return listing("name state type size is_current created_on@ owner comment", rows)


@statement(f"SHOW COMPUTE POOLS [LIKE <like:string>] {FILTER}", "executed")
def show_pools(session: Session, s: Matched) -> Result:
    return pools(chosen(session, s, "COMPUTE POOL", account_level=True))


@statement("{DESC|DESCRIBE} COMPUTE POOL <name>", "executed")
def describe_pool(session: Session, s: Matched) -> Result:
    return pools(
        [catalog.need(session.con, "COMPUTE POOL", Name("", "", names.split(s["name"])[-1]), label="Compute pool")]
    )


def pools(found: list[Object]) -> Result:
    rows = [
        {**p.row(), "state": p.properties.get("STATE", "IDLE"),
         "min_nodes": int(p.properties.get("MIN_NODES", 1)), "max_nodes": int(p.properties.get("MAX_NODES", 1)),
         "instance_family": p.properties.get("INSTANCE_FAMILY"),
         "auto_suspend_secs": int(p.properties.get("AUTO_SUSPEND_SECS", 3600)), "auto_resume": "true"}
        for p in found
    ]  # fmt: skip
    shape = "name state min_nodes# max_nodes# instance_family auto_suspend_secs# auto_resume created_on@ owner comment"
    return listing(shape, rows)


@statement(f"SHOW {{ROLES|USERS|INTEGRATIONS|EXTERNAL ACCESS INTEGRATIONS}} [LIKE <like:string>] {FILTER}", "executed")
def show_account_objects(session: Session, s: Matched) -> Result:
    kind = "INTEGRATION" if s.choice.endswith("INTEGRATIONS") else s.choice[:-1]
    return listing("created_on@ name owner comment", [t.row() for t in chosen(session, s, kind, account_level=True)])


SHOWN = "NETWORK RULES|SECRETS|IMAGE REPOSITORIES|TAGS|ALERTS|FILE FORMATS|ARTIFACT REPOSITORIES|MODEL MONITORS"


@statement(f"SHOW {{{SHOWN}}} [LIKE <like:string>] {SCOPE} {FILTER}", "executed")
def show_schema_objects(session: Session, s: Matched) -> Result:
    kind = s.choice[:-3] + "Y" if s.choice.endswith("IES") else s.choice[:-1]
    return listing(COMMON, [thing.row() for thing in chosen(session, s, kind)])

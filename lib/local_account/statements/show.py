"""SHOW and DESCRIBE of catalogued objects: every answer is read from the catalog or from the engine, never made up."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from local_account.account.catalog import ACCOUNT_LEVEL, Object
from local_account.account.session import Session
from local_account.engine.results import Result, listing
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements import options
from local_account.text import identifiers

LIKE = "[LIKE <like:string>] [IN ACCOUNT]"
SCOPE = f"{LIKE} [IN SCHEMA <in_schema>] [IN DATABASE <in_database>] [IN <in_name>]"
FILTER = "[STARTS WITH <prefix:string>] [LIMIT <limit:number>]"
OF_ACCOUNT = "DATABASES|WAREHOUSES|COMPUTE POOLS|ROLES|INTEGRATIONS|EXTERNAL ACCESS INTEGRATIONS"
OF_SCHEMA = (
    "TABLES|VIEWS|OBJECTS|STAGES|MODELS|EXPERIMENTS|SERVICES|JOB SERVICES|CODE BUNDLES|TASKS|STREAMLITS|NETWORK RULES|"
    "IMAGE REPOSITORIES|ALERTS|FILE FORMATS|ARTIFACT REPOSITORIES|MODEL MONITORS"
)
TERSE = ("created_on", "name", "kind", "database_name", "schema_name")
COMMON = "created_on@ name database_name schema_name owner comment"


@dataclass(frozen=True)
class Shown:
    """How SHOW and DESCRIBE print the objects of one kind: the columns in the form that ``listing`` takes, and what an
    object's row has besides what every row has."""

    columns: str = COMMON
    row: Callable[[Session, Object], dict] = lambda *_: {}


def flag(value: object) -> str:
    return "Y" if value else "N"


def rows_of(session: Session, found: list[Object]) -> list[dict]:
    return [{**thing.row(), **shown(session, thing.kind).row(session, thing)} for thing in found]


def shown(session: Session, kind: str) -> Shown:
    return session.handlers.shown.get(kind, Shown())


def show(session: Session, s: Matched) -> Result:
    kind = singular(s.choice)
    database, schema = (None, None) if kind in ACCOUNT_LEVEL else scope(session, s)
    if kind == "SCHEMA":
        schema = ""
    kinds = ["TABLE", "VIEW"] if kind == "OBJECT" else [kind]
    found = [thing for kind in kinds for thing in session.find(kind, database, schema)]
    if kind == "SCHEMA":
        found += [Object("SCHEMA", name, "", "INFORMATION_SCHEMA") for name in {thing.database for thing in found}]
        found.sort(key=lambda thing: (thing.database, thing.name))
    found = [thing for thing in found if identifiers.like(s.value("like"), thing.name) and thing.name != "~"]
    found = [thing for thing in found if thing.name.startswith(s.value("prefix") or "")]
    if s.choice == "JOB SERVICES":
        found = [thing for thing in found if thing.properties.get("job")]
    columns = shown(session, kinds[0]).columns
    if s.terse:
        columns = " ".join(column for column in columns.split() if column.rstrip("@") in TERSE)
    return listing(columns, rows_of(session, found[: int(s["limit"]) if s["limit"] else None]))


def singular(plural: str) -> str:
    one = plural[:-3] + "Y" if plural.endswith("IES") else plural[:-1]
    return {"EXTERNAL ACCESS INTEGRATION": "INTEGRATION", "JOB SERVICE": "SERVICE"}.get(one, one)


def scope(session: Session, s: Matched) -> tuple[str | None, str | None]:
    """The database and schema to show; None means any. Raises 002003 for one that does not exist."""
    text = s.groups["in_database"] or s.groups.get("in_schema") or s.groups.get("in_name")
    if text is None:
        return (None, None) if s.in_account else (session.database, session.schema)
    *_, database = parts = identifiers.split(text)
    if s["in_database"] or (
        not s["in_schema"] and len(parts) == 1 and session.get("DATABASE", identifiers.quote(database))
    ):
        session.need("DATABASE", identifiers.quote(database))
        return database, None
    database, schema = [session.database, *parts][-2:]
    if schema != "INFORMATION_SCHEMA":
        session.need_schema(database, schema)
    return database, schema


def describe(session: Session, s: Matched) -> Result:
    described = session.handlers.shown.get(f"DESCRIBE {s.choice}", shown(session, s.choice))
    return listing(described.columns, rows_of(session, [session.need(s.choice, s["name"])]))


def describe_integration(session: Session, s: Matched) -> Result:
    given = session.need("INTEGRATION", s["name"]).properties
    return listing(
        "property property_value", [{"property": key, "property_value": value} for key, value in given.items()]
    )


def options_of(session: Session, it: Object) -> dict:
    """The options that were given, in columns of their names."""
    return {key.lower(): value for key, value in it.properties.items()}


STATEMENTS = [
    Statement(f"SHOW [USER] {{FUNCTIONS}} {SCOPE} {FILTER}", show),
    Statement(f"SHOW [TERSE] {{{OF_SCHEMA}}} {SCOPE} {FILTER}", show),
    Statement(f"SHOW [TERSE] {{SCHEMAS}} {LIKE} [IN [DATABASE] <in_database>] {FILTER}", show),
    Statement(f"SHOW [TERSE] {{{OF_ACCOUNT}}} {LIKE} {FILTER}", show),
    Statement("{DESC|DESCRIBE} {COMPUTE POOL|SERVICE|STREAMLIT|NETWORK RULE|MODEL MONITOR} <name>", describe),
    Statement("{DESC|DESCRIBE} [EXTERNAL ACCESS] {INTEGRATION} <name>", describe_integration),
]

SHOWN = dict.fromkeys(ACCOUNT_LEVEL, Shown("created_on@ name owner comment")) | {
    "DATABASE": Shown(
        "created_on@ name is_current owner comment kind",
        lambda session, it: {"is_current": flag(it.name == session.database), "kind": "STANDARD"},
    ),
    "SCHEMA": Shown(
        "created_on@ name is_current database_name owner comment",
        lambda session, it: {"is_current": flag((it.database, it.name) == (session.database, session.schema))},
    ),
    "TABLE": Shown(
        "created_on@ name database_name schema_name kind owner comment rows#",
        lambda session, it: {
            "kind": "TEMPORARY" if it.temporary else it.properties.get("kind", "TABLE"),
            "rows": session.con.execute(f"SELECT count(*) FROM {session.key(it)}").fetchall()[0][0],
        },
    ),
    "VIEW": Shown(
        "created_on@ name database_name schema_name kind owner comment text",
        lambda session, it: {"kind": "VIEW", "text": it.properties["text"]},
    ),
    "STAGE": Shown(
        f"{COMMON} url type directory_enabled",
        lambda session, it: {"type": "INTERNAL", "url": "", "directory_enabled": flag(it.properties.get("directory"))},
    ),
    "INTEGRATION": Shown("name type category enabled comment created_on@", lambda session, it: {
        "type": "EXTERNAL_ACCESS", "category": "EXTERNAL_ACCESS", "enabled": it.properties.get("ENABLED", "").lower(),
    }),
    "NETWORK RULE": Shown(f"{COMMON} type mode", options_of),
    "DESCRIBE NETWORK RULE": Shown(f"{COMMON} type mode value_list", options_of),
    "MODEL MONITOR": Shown(f"{COMMON} model version function source warehouse refresh_interval aggregation_window",
                           options_of),
    "DESCRIBE MODEL MONITOR": Shown(" ".join([COMMON, *(key.lower() for key in options.RECORDED["MODEL MONITOR"])]),
                                    options_of),
    "FILE FORMAT": Shown("created_on@ name database_name schema_name type owner comment format_options",
                         lambda session, it: {"type": it.properties.get("TYPE", "CSV").upper(),
                                              "format_options": json.dumps(it.properties)}),
    "WAREHOUSE": Shown(
        "name state type size is_current auto_suspend auto_resume created_on@ owner comment",
        lambda session, it: {
            "state": it.properties.get("STATE", "STARTED"), "size": it.properties.get("WAREHOUSE_SIZE", "X-Small"),
            "type": "STANDARD", "is_current": flag(it.name == session.warehouse),
            "auto_suspend": it.properties.get("AUTO_SUSPEND", "600"),
            "auto_resume": it.properties.get("AUTO_RESUME", "true").lower(),
        },
    ),
    "COMPUTE POOL": Shown(
        "name state min_nodes# max_nodes# instance_family auto_suspend_secs# auto_resume created_on@ owner comment",
        lambda session, it: {
            "state": it.properties.get("STATE", "IDLE"), "instance_family": it.properties.get("INSTANCE_FAMILY"),
            "min_nodes": int(it.properties.get("MIN_NODES", 1)), "max_nodes": int(it.properties.get("MAX_NODES", 1)),
            "auto_suspend_secs": int(it.properties.get("AUTO_SUSPEND_SECS", 3600)),
            "auto_resume": it.properties.get("AUTO_RESUME", "true").lower(),
        },
    ),
}  # fmt: skip

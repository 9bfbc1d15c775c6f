"""Code bundles, tasks and Streamlit apps: what is deployed from a stage and run later."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import yaml

from . import catalog
from .catalog import Object
from .errors import SnowflakeError, already_exists, compilation_error, missing
from .results import Column, Result, listing, status
from .services import need_pool
from .session import Session
from .show import FILTER, SCOPE, chosen
from .staged import locate
from .stages import copy_whole
from .statements import Matched, items, options, statement

SPECIFICATIONS = ("code_bundle.yml", "code_bundle.yaml")
BUNDLE = "{CODE BUNDLE|NOTEBOOK PROJECT}"


def keep(session: Session, s: Matched, kind: str, properties: dict) -> str:
    """Catalogue the object of a CREATE; the message of its answer. Raises when the name is taken."""
    name = session.resolve(s["name"])
    session.need_schema(name.database, name.schema)
    thing = Object(kind, name.database, name.schema, name.name, owner=session.role, properties=properties)
    with session.change(f"{kind} {name}"):
        if catalog.get(session.con, kind, name):
            if s.if_not_exists:
                return f"{name.name} already exists, statement succeeded."
            if not s.or_replace:
                raise already_exists(str(name))
        catalog.put(session.con, thing)
    return f"{kind.capitalize()} {name.name} successfully created."


def copy_source(session: Session, stage: str, label: str) -> str:
    """Snapshot a stage's files, as CREATE ... FROM does; the folder's name."""
    source = locate(session, stage)
    folder = session.account.root / "stages" / new_source(session, label)
    for file in source.files():
        copy_whole(file, folder / file.relative_to(source.target))
    return folder.name


# ---------------------------------------------------------------- code bundles


@statement(f"CREATE [OR REPLACE] {BUNDLE} [IF NOT EXISTS] <name> FROM <source:stage> [<options:rest>]", "executed")
def create_bundle(session: Session, s: Matched) -> Result:
    properties = {
        "folder": copy_source(session, s["source"], s["name"]),
        "comment": options(s["options"]).get("COMMENT"),
    }
    return status(keep(session, s, "CODE BUNDLE", properties))


@statement(f"ALTER {BUNDLE} <name> ADD VERSION FROM <source:stage> [<options:rest>]", "executed")
def add_version(session: Session, s: Matched) -> Result:
    folder = copy_source(session, s["source"], s["name"])
    with session.change(f"CODE BUNDLE {session.resolve(s['name'])}"):
        bundle = catalog.need(session.con, "CODE BUNDLE", session.resolve(s["name"]), label="Code bundle")
        bundle.properties["folder"] = folder
        catalog.put(session.con, bundle)
    return status()


EXECUTION = """ENTRYPOINT = <entrypoint:string> [EXECUTION_NAME = <execution:string>] [ARGUMENTS = <arguments:list>]
    [WITH SPECIFICATION <specification:body>]"""


@statement(f"EXECUTE {BUNDLE} <name> {EXECUTION}", "executed")
def execute_bundle(session: Session, s: Matched) -> Result:
    """Run a notebook or script of the bundle in a process of its own, and wait for it."""
    bundle = catalog.need(session.con, "CODE BUNDLE", session.resolve(s["name"]), label="Code bundle")
    source = session.account.root / "stages" / bundle.properties["folder"]
    given = s.value("specification")
    specification = yaml.safe_load(given)["bundle"] if given else read_specification(source)
    need_pool(session, specification["compute_options"]["compute_pool"])
    entrypoint = s.value("entrypoint")
    if not (source / entrypoint).is_file():
        raise compilation_error(f"The entrypoint '{entrypoint}' is not in the bundle.", 505187)
    run = Path(session.account.root / "logs" / f"{bundle.name}-{uuid.uuid4().hex[:8]}")
    shutil.copytree(source, run)
    code = run_entrypoint(session, run, entrypoint, items(s["arguments"]), specification)
    record_run(session, bundle, entrypoint, "DONE" if code == 0 else "FAILED")
    if code:
        tail = "\n".join((run / "output.log").read_text(errors="replace").splitlines()[-20:])
        raise SnowflakeError(f"Execution of {entrypoint} failed:\n{tail}", 505187, "22000")
    return Result([Column("status")], rows=[(f"{entrypoint} executed successfully; its output is in {run}.",)])


def read_specification(folder: Path) -> dict:
    found = next((folder / name for name in SPECIFICATIONS if (folder / name).is_file()), None)
    if found is None:
        raise SnowflakeError("Failed to load code bundle configuration: there is no code_bundle.yml.", 505187, "22000")
    return yaml.safe_load(found.read_text())["bundle"]


def run_entrypoint(session: Session, folder: Path, entrypoint: str, arguments: list[str], specification: dict) -> int:
    """The exit code. The process finds this account as its default connection."""
    given = {key: str(value) for pair in specification.get("env_vars") or [] for key, value in pair.items()}
    library = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "local_account.bundle_runner", entrypoint, json.dumps(arguments)]
    with open(folder / "output.log", "wb") as log:
        return subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
            env={**os.environ, **given, "SNOWFLAKE_HOME": str(session.account.root), "PYTHONPATH": path},
        ).returncode  # fmt: skip


def record_run(session: Session, bundle: Object, entrypoint: str, state: str) -> None:
    properties = {"entrypoint": entrypoint, "status": state}
    run = Object("BUNDLE RUN", bundle.database, bundle.schema, uuid.uuid4().hex, bundle.name, properties=properties)
    with session.change(f"CODE BUNDLE {bundle.qualified}"):
        catalog.put(session.con, run)


# ---------------------------------------------------------------- tasks

TASK = "CREATE [OR REPLACE] TASK [IF NOT EXISTS] <name> <options:clauses> AS <statement:rest>"


@statement(TASK, "emulated")
def create_task(session: Session, s: Matched) -> Result:
    """Kept and runnable by EXECUTE TASK; no clock starts it here."""
    properties = {"definition": s["statement"].strip().rstrip(";"), "state": "suspended", **options(s["options"])}
    properties |= {"database_in_use": session.database, "schema_in_use": session.schema}
    return status(keep(session, s, "TASK", properties))


@statement("ALTER TASK [IF EXISTS] <name> {RESUME|SUSPEND}", "recorded")
def alter_task(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    if s.if_exists and catalog.get(session.con, "TASK", name) is None:
        return status()
    with session.change(f"TASK {name}"):
        task = catalog.need(session.con, "TASK", name)
        task.properties["state"] = "started" if s.choice == "RESUME" else "suspended"
        catalog.put(session.con, task)
    return status("Statement executed successfully (the schedule is recorded, not executed).")


@statement("EXECUTE TASK <name>", "executed")
def execute_task(session: Session, s: Matched) -> Result:
    """Run the task's statement now, in its own schema."""
    from .execute import run

    task = catalog.need(session.con, "TASK", session.resolve(s["name"]))
    own = Session(session.account)
    own.database, own.schema = task.database, task.schema
    try:
        run(own, task.properties["definition"])
    finally:
        own.close()
    return status(f"Task {task.name} is scheduled to run immediately.")


# ---------------------------------------------------------------- Streamlit

STREAMLIT_OPTIONS = {
    "MAIN_FILE", "QUERY_WAREHOUSE", "RUNTIME_NAME", "COMPUTE_POOL", "COMMENT", "TITLE", "EXTERNAL_ACCESS_INTEGRATIONS",
    "ARTIFACT_REPOSITORIES", "IMPORTS", "SECRETS",
}  # fmt: skip


@statement("CREATE [OR REPLACE] STREAMLIT [IF NOT EXISTS] <name> [FROM <source:stage>] <options:rest>", "emulated")
def create_streamlit(session: Session, s: Matched) -> Result:
    """The files are copied, or sent later to snow://streamlit, and the options checked; ``streamlit run`` runs them."""
    given = options(s["options"])
    for key in given.keys() - STREAMLIT_OPTIONS:
        raise compilation_error(f"invalid property '{key}' for 'STREAMLIT'", 1423)
    if "COMPUTE_POOL" in given:
        need_pool(session, given["COMPUTE_POOL"])
    main = given.get("MAIN_FILE", "streamlit_app.py")
    if s["source"] and not (locate(session, s["source"]).target / main).is_file():
        raise compilation_error(f"Main file {main} was not found at {s['source']}.", 391921)
    made = copy_source(session, s["source"], s["name"]) if s["source"] else new_source(session, s["name"])
    return status(keep(session, s, "STREAMLIT", {"MAIN_FILE": main, **given, "folder": made}))


def new_source(session: Session, label: str) -> str:
    return session.account.new_folder("stages", label.replace('"', "")).name


@statement("{DESC|DESCRIBE} STREAMLIT <name>", "executed")
def describe_streamlit(session: Session, s: Matched) -> Result:
    app = catalog.need(session.con, "STREAMLIT", session.resolve(s["name"]))
    live = f"snow://streamlit/{app.qualified}/versions/live/"
    row = {key.lower(): value for key, value in app.properties.items() if isinstance(value, str)}
    return listing("name title main_file query_warehouse url_id runtime_name compute_pool live_version_location_uri",
                   [{**row, **app.row(), "url_id": app.name.lower(), "live_version_location_uri": live}])  # fmt: skip


@statement("ALTER STREAMLIT [IF EXISTS] <name> <action:rest>", "recorded")
def alter_streamlit(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    with session.change(f"STREAMLIT {name}"):
        app = catalog.need(session.con, "STREAMLIT", name)
        if not re.match(r"(ADD LIVE VERSION|SET)\b", s["action"], re.I):
            raise compilation_error(f"syntax error near '{s['action']}'", 1003)
        app.properties |= options(s["action"])
        catalog.put(session.con, app)
    return status()


# ---------------------------------------------------------------- all three

KINDS = "CODE BUNDLE|TASK|STREAMLIT"


@statement(f"DROP {{{KINDS}}} [IF EXISTS] <name>", "executed")
def drop(session: Session, s: Matched) -> Result:
    kind, name = s.choice, session.resolve(s["name"])
    with session.change(f"{kind} {name}"):
        thing = catalog.get(session.con, kind, name)
        if thing is None and s.if_exists:
            return status(f"Drop statement executed successfully ({name.name} already dropped).")
        if thing is None:
            raise missing(kind.capitalize(), str(name))
        catalog.drop(session.con, kind, name)
    return status(f"{name.name} successfully dropped.")


@statement(f"SHOW {{CODE BUNDLES|TASKS|STREAMLITS}} [LIKE <like:string>] {SCOPE} {FILTER}", "executed")
def show(session: Session, s: Matched) -> Result:
    rows = []
    for thing in chosen(session, s, s.choice[:-1]):
        kept = {key.lower(): value for key, value in thing.properties.items() if isinstance(value, str)}
        rows.append({**kept, **thing.row(), "url_id": thing.name.lower()})
    extra = {"TASKS": " warehouse schedule state definition", "STREAMLITS": " url_id main_file query_warehouse"}
    columns = "created_on@ name database_name schema_name owner comment" + extra.get(s.choice, "")
    return listing(columns, rows)

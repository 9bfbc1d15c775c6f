"""Code bundles, tasks and Streamlit apps."""

import json
import shutil
import subprocess
import sys
import uuid
from functools import partial
from pathlib import Path

import yaml

from local_account.account.catalog import Object
from local_account.account.process import environment
from local_account.account.session import Session
from local_account.engine.results import Result, status
from local_account.sql.execute import run
from local_account.sql.stage_files import locate
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements import options
from local_account.statements.objects import RECORDED, create, made
from local_account.statements.show import COMMON, Shown
from local_account.statements.stages import snapshot
from local_account.text.errors import SnowflakeError, compilation_error
from local_account.text.literals import items

BUNDLE = "{CODE BUNDLE|NOTEBOOK PROJECT}"
EXECUTION = "ENTRYPOINT = <entrypoint:string> [ARGUMENTS = <arguments:list>] [WITH SPECIFICATION <specification:body>]"
SUPPORTED_KEYS = {"type", "compute_type", "language", "compute_options", "properties", "env_vars"}
IGNORED_KEYS = {"stage_mounts", "secrets", "external_access_integrations", "artifact_repositories"}
TASK = "<options:clauses> [AFTER <after>] AS <statement:rest>"
ALERT = "<options:clauses> IF ( EXISTS <condition:list> ) THEN <action:rest>"


def create_bundle(session: Session, s: Matched) -> Result:
    source, bundle = locate(session, s["source"]), made(session, s, "CODE BUNDLE", **s.options())
    return create(session, s, bundle, lambda bundle: snapshot(session, bundle, source))


def add_version(session: Session, s: Matched) -> None:
    """A run may still read the version before, so its folder is removed when the account opens again."""
    source = locate(session, s["source"])
    with session.edit("CODE BUNDLE", s["name"]) as bundle:
        snapshot(session, bundle, source)


def execute_bundle(session: Session, s: Matched) -> Result:
    """Run a notebook or script of the bundle in a process of its own, and wait for it."""
    bundle = session.need("CODE BUNDLE", s["name"])
    source, entrypoint = session.folders.path(bundle), s.value("entrypoint")
    specification = yaml.safe_load(s.value("specification") or read_specification(source))["bundle"]
    if unknown := specification.keys() - SUPPORTED_KEYS - IGNORED_KEYS:
        text = f"Failed to load code bundle configuration: unknown fields {sorted(unknown)}."
        raise SnowflakeError(text, 505187, "22000")
    session.need("COMPUTE POOL", specification["compute_options"]["compute_pool"])
    if not (source / entrypoint).is_file():
        raise compilation_error(f"The entrypoint '{entrypoint}' is not in the bundle.", 505187)
    run = session.account.root / "logs" / f"{bundle.name}-{uuid.uuid4().hex[:8]}"
    shutil.copytree(source, run)
    given = {key: str(value) for pair in specification.get("env_vars") or [] for key, value in pair.items()}
    command = [sys.executable, "-m", "local_account.workers.bundle", entrypoint, json.dumps(items(s["arguments"]))]
    with open(run / "output.log", "wb") as log:
        code = subprocess.run(
            command, cwd=run, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
            env=environment(**given, SNOWFLAKE_HOME=str(session.account.root)),
        ).returncode  # fmt: skip
    if code:
        tail = "\n".join((run / "output.log").read_text(errors="replace").splitlines()[-20:])
        raise SnowflakeError(f"Execution of {entrypoint} failed:\n{tail}", 505187, "22000")
    ignored = ", ".join(sorted(specification.keys() & IGNORED_KEYS))
    ignored = f" Ignored: {ignored}." if ignored else ""
    return status(f"{entrypoint} executed successfully; its output is in {run}.{ignored}")


def read_specification(folder: Path) -> str:
    for name in ("code_bundle.yml", "code_bundle.yaml"):
        if (folder / name).is_file():
            return (folder / name).read_text()
    raise SnowflakeError("Failed to load code bundle configuration: there is no code_bundle.yml.", 505187, "22000")


def create_task(session: Session, s: Matched) -> Result:
    """Kept and runnable by EXECUTE TASK; no clock starts it here, and no task before it."""
    given = {"definition": s["statement"].strip().rstrip(";"), "predecessors": s["after"], "state": "suspended"}
    return create(session, s, made(session, s, "TASK", **given, **s.options()))


def create_alert(session: Session, s: Matched) -> Result:
    """Kept and shown; no clock starts it here."""
    given = {"condition": s["condition"].strip()[1:-1].strip(), "action": s["action"].strip(), "state": "suspended"}
    return create(session, s, made(session, s, "ALERT", **given, **s.options()), how=f" ({RECORDED})")


def start_or_suspend(kind: str, session: Session, s: Matched) -> Result:
    if (kind, s.choice) == ("TASK", "RESUME"):
        _refuse_while_the_root_runs(session, session.need(kind, s["name"]))
    with session.edit(kind, s["name"]) as thing:
        thing.properties["state"] = "started" if s.choice == "RESUME" else "suspended"
    return status(f"Statement executed successfully (the schedule is {RECORDED}).")


def _refuse_while_the_root_runs(session: Session, task: Object) -> None:
    """As Snowflake does: a task graph is changed only while its root is suspended."""
    for name in filter(None, (part.strip() for part in (task.properties["predecessors"] or "").split(","))):
        root = session.get("TASK", session.resolve(name))
        if root and root.properties["state"] == "started":
            message = f"Unable to update graph with root task {name} since that root task is not suspended."
            raise SnowflakeError(message, 91421, "55000")


def execute_task(session: Session, s: Matched) -> Result:
    """Run the task's statement now, in its own schema."""
    task = session.need("TASK", s["name"])
    own = Session(session.account)
    own.database, own.schema = task.database, task.schema
    try:
        run(own, task.properties["definition"])
    finally:
        own.close()
    return status(f"Task {task.name} is scheduled to run immediately.")


def create_streamlit(session: Session, s: Matched) -> Result:
    """The files are copied, or sent later to snow://streamlit, and the options checked; ``streamlit run`` runs them."""
    given = {"MAIN_FILE": "streamlit_app.py", **s.options()}
    if "COMPUTE_POOL" in given:
        session.need("COMPUTE POOL", given["COMPUTE_POOL"])
    source = locate(session, s["source"]) if s["source"] else None
    if source and not (source.target / given["MAIN_FILE"]).is_file():
        raise compilation_error(f"Main file {given['MAIN_FILE']} was not found at {s['source']}.", 391921)
    app = made(session, s, "STREAMLIT", **given)
    return create(session, s, app, lambda app: snapshot(session, app, source))


def alter_streamlit(session: Session, s: Matched) -> None:
    with session.edit("STREAMLIT", s["name"]) as app:
        app.properties |= s.options()
        app.comment = app.properties.get("COMMENT", app.comment)


def row(session: Session, thing: Object) -> dict:
    given = {key.lower(): value for key, value in thing.properties.items() if isinstance(value, str)}
    live = f"snow://streamlit/{thing.qualified}/versions/live/"
    return {**given, "url_id": thing.name.lower(), "live_version_location_uri": live}


STATEMENTS = [
    Statement(f"CREATE [OR REPLACE] {BUNDLE} [IF NOT EXISTS] <name> FROM <source:stage> [<options:rest>]",
              create_bundle, options=options.COMMENT),
    Statement(f"ALTER {BUNDLE} <name> ADD VERSION FROM <source:stage>", add_version),
    Statement(f"EXECUTE {BUNDLE} <name> {EXECUTION}", execute_bundle),
    Statement(f"CREATE [OR REPLACE] TASK [IF NOT EXISTS] <name> {TASK}", create_task, "emulated", options.TASK),
    Statement("ALTER TASK [IF EXISTS] <name> {RESUME|SUSPEND}", partial(start_or_suspend, "TASK"), "recorded"),
    Statement("EXECUTE TASK <name>", execute_task),
    Statement(f"CREATE [OR REPLACE] ALERT [IF NOT EXISTS] <name> {ALERT}", create_alert, "recorded", options.ALERT),
    Statement("ALTER ALERT [IF EXISTS] <name> {RESUME|SUSPEND}", partial(start_or_suspend, "ALERT"), "recorded"),
    Statement("CREATE [OR REPLACE] STREAMLIT [IF NOT EXISTS] <name> [FROM <source:stage>] <options:rest>",
              create_streamlit, "emulated", options.STREAMLIT),
    Statement("ALTER STREAMLIT [IF EXISTS] <name> ADD LIVE VERSION FROM LAST", alter_streamlit, "recorded"),
    Statement("ALTER STREAMLIT [IF EXISTS] <name> SET <options:rest>", alter_streamlit, "recorded", options.STREAMLIT),
]  # fmt: skip

SHOWN = {
    "DESCRIBE STREAMLIT": Shown("name title main_file query_warehouse url_id runtime_name compute_pool "
                                "live_version_location_uri comment external_access_integrations "
                                "artifact_repositories", row),
    "STREAMLIT": Shown(f"{COMMON} url_id main_file query_warehouse", row),
    "TASK": Shown(f"{COMMON} warehouse schedule predecessors state definition allow_overlapping_execution", row),
    "ALERT": Shown(f"{COMMON} warehouse schedule state condition action", row),
    "CODE BUNDLE": Shown(COMMON, row),
}  # fmt: skip

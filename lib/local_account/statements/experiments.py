"""Experiments and their runs: parameters, metrics with steps, artifacts."""

import datetime as dt
import json

from local_account.account import catalog
from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.engine.results import Result, listing
from local_account.sql.sources import rows_query
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements import options
from local_account.statements.objects import create, made, remove
from local_account.text import identifiers
from local_account.text.errors import Missing, already_exists, compilation_error
from local_account.text.identifiers import Name
from local_account.text.literals import nested


def create_experiment(session: Session, s: Matched) -> Result:
    return create(session, s, made(session, s, "EXPERIMENT", id=unused_id(session, "EXPERIMENT")))


def unused_id(session: Session, kind: str) -> int:
    return 1 + max((thing.properties["id"] for thing in catalog.find(session.con, kind=kind)), default=0)


def find_runs(session: Session, experiment: Name, like: str | None = None) -> list[Object]:
    session.need("EXPERIMENT", experiment)
    return [run for run in session.find("RUN", *experiment) if identifiers.like(like, run.name)]


def need_run(session: Session, experiment: Name, run: str) -> Object:
    found = session.get("RUN", Name(*experiment[:2], identifiers.fold(run)), experiment.name)
    if found is None:
        raise Missing("Run", f"{experiment} {run}")
    return found


def add_run(session: Session, s: Matched) -> None:
    name, run = session.resolve(s["name"]), identifiers.fold(s["run"])
    given = nested(s["options"], options.RUN)
    with session.transaction.change(name):
        if any(known.name == run for known in find_runs(session, name)):
            raise already_exists(f"{name} run {run}")
        properties = {"id": unused_id(session, "RUN"), "status": "RUNNING", "metrics": [], "parameters": []}
        properties["source_info"] = given.get("SOURCE_INFO", "")
        made_run = Object("RUN", *name[:2], run, name.name, properties=properties)
        session.create_folder(made_run)
        session.put(made_run)


def add_values(session: Session, s: Matched) -> None:
    try:
        values = [dict(value) for value in json.loads(s.value("values"))]
    except (ValueError, TypeError) as error:
        raise compilation_error(f"invalid list of names and values: {error}", 1003) from error
    if s.choice == "METRICS":
        now = dt.datetime.now(dt.UTC).isoformat()
        values = [{**metric, "timestamp": now} for metric in values]
    name = session.resolve(s["name"])
    with session.transaction.change(name):
        run = need_run(session, name, s["run"])
        run.properties[s.choice.lower()] += values
        session.put(run)


def end_run(session: Session, s: Matched) -> None:
    name = session.resolve(s["name"])
    with session.transaction.change(name):
        run = need_run(session, name, s["run"])
        if s.choice == "DROP":
            remove(session, run)
        else:
            run.properties["status"] = s.value("status") or "FINISHED"
            session.put(run)


def show_runs(session: Session, s: Matched) -> Result:
    kept = ("status", "metrics", "parameters", "source_info")
    rows = [
        {**run.row(), "metadata": json.dumps({key: run.properties.get(key) for key in kept})}
        for run in find_runs(session, session.resolve(s["name"]), s.value("like"))
    ]
    return listing("created_on@ name metadata", rows)


def show_run_values(session: Session, s: Matched) -> Result:
    """The last value of each: a metric logged at many steps shows its last step."""
    rows = []
    for run in find_runs(session, session.resolve(s["name"])):
        last = {entry["name"]: entry["value"] for entry in run.properties[s.choice.lower()]}
        rows += [
            {"run_name": run.name, "name": key, "value": str(value)}
            for key, value in last.items()
            if identifiers.like(s.value("like"), key) and (s["run"] is None or run.name == identifiers.fold(s["run"]))
        ]
    return listing("run_name name value", rows)


def run_metrics(session: Session, arguments: list[str]) -> str:
    run = need_run(session, session.resolve(arguments[0]), arguments[1])
    metrics = run.properties["metrics"]
    logged = [(m["name"], int(m.get("step") or 0), float(m["value"]), m["timestamp"]) for m in metrics]
    columns = {"METRIC_NAME": "VARCHAR", "STEP": "BIGINT", "VALUE": "DOUBLE", "TIMESTAMP": "TIMESTAMPTZ"}
    return rows_query(logged, columns)


TABLE_FUNCTIONS = {"SYSTEM$GET_EXPERIMENT_RUN_METRICS": run_metrics}

SYSTEM_FUNCTIONS = {
    "SYSTEM$RESOLVE_EXPERIMENT_ID": lambda session, name: session.need("EXPERIMENT", name).properties["id"],
    "SYSTEM$RESOLVE_EXPERIMENT_RUN_ID": lambda s, name, run: need_run(s, s.resolve(name), run).properties["id"],
}


STATEMENTS = [
    Statement("CREATE [OR REPLACE] EXPERIMENT [IF NOT EXISTS] <name>", create_experiment),
    Statement("ALTER EXPERIMENT <name> ADD RUN <run> [WITH <options:list>]", add_run),
    Statement("ALTER EXPERIMENT <name> MODIFY RUN <run> ADD {METRICS|PARAMETERS} = <values:body>", add_values),
    Statement("ALTER EXPERIMENT <name> {DROP} RUN <run>", end_run),
    Statement("ALTER EXPERIMENT <name> {COMMIT} RUN <run> [WITH STATUS = <status:string>]", end_run),
    Statement("SHOW RUNS [LIKE <like:string>] IN EXPERIMENT <name>", show_runs),
    Statement("SHOW RUN {METRICS|PARAMETERS} [LIKE <like:string>] IN EXPERIMENT <name> [RUN <run>]", show_run_values),
]  # fmt: skip

"""Experiments and their runs: parameters, metrics with steps, artifacts."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

from . import catalog, names, stages
from .calls import system_function
from .catalog import Object
from .errors import already_exists, compilation_error, missing
from .names import Name
from .results import Result, listing, status
from .session import Session
from .show import FILTER, SCOPE, chosen
from .sources import TABLE_FUNCTIONS
from .statements import Matched, statement


@statement("CREATE [OR REPLACE] EXPERIMENT [IF NOT EXISTS] <name>", "executed")
def create_experiment(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    session.need_schema(name.database, name.schema)
    with session.change(name):
        if catalog.get(session.con, "EXPERIMENT", name):
            if s.if_not_exists:
                return status(f"{name.name} already exists, statement succeeded.")
            if not s.or_replace:
                raise already_exists(str(name))
            catalog.drop_parts(session.con, "RUN", name)
        properties = {"id": unused_id(session, "EXPERIMENT")}
        catalog.put(session.con, Object("EXPERIMENT", name.database, name.schema, name.name, properties=properties))
    return status(f"Experiment {name.name} successfully created.")


def unused_id(session: Session, kind: str) -> int:
    return 1 + max((thing.properties["id"] for thing in catalog.select(session.con, "kind = ?", [kind])), default=0)


@statement("DROP EXPERIMENT [IF EXISTS] <name>", "executed")
def drop_experiment(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    if s.if_exists and catalog.get(session.con, "EXPERIMENT", name) is None:
        return status(f"Drop statement executed successfully ({name.name} already dropped).")
    with session.change(name):
        catalog.need(session.con, "EXPERIMENT", name)
        runs = find_runs(session, name)
        catalog.drop_parts(session.con, "RUN", name)
        catalog.drop(session.con, "EXPERIMENT", name)
    for run in runs:
        stages.remove_folder(session.account, run)
    return status(f"{name.name} successfully dropped.")


def find_runs(session: Session, experiment: Name, pattern: str | None = None) -> list[Object]:
    catalog.need(session.con, "EXPERIMENT", experiment)
    return catalog.find(session.con, "RUN", experiment.database, experiment.schema, experiment.name, pattern)


def need_run(session: Session, experiment: Name, run: str) -> Object:
    found = catalog.get(session.con, "RUN", Name(experiment.database, experiment.schema, run), experiment.name)
    if found is None:
        raise missing("Run", f"{experiment} {run}")
    return found


# ---------------------------------------------------------------- runs


@statement("ALTER EXPERIMENT <name> ADD RUN <run> [WITH <options:list>]", "executed")
def add_run(session: Session, s: Matched) -> Result:
    name, run = session.resolve(s["name"]), names.fold(s["run"])
    with session.change(name):
        if any(existing.name == run for existing in find_runs(session, name)):
            raise already_exists(f"{name} run {run}")
        folder = session.account.new_folder("stages", f"{name}.{run}")
        properties = {"id": unused_id(session, "RUN"), "status": "RUNNING", "metrics": [], "parameters": []}
        made = Object(
            "RUN", name.database, name.schema, run, name.name, properties=properties | {"folder": folder.name}
        )
        catalog.put(session.con, made)
    return status()


def change_run(session: Session, s: Matched, change: Callable) -> Result:
    name = session.resolve(s["name"])
    with session.change(name):
        run = need_run(session, name, names.fold(s["run"]))
        change(run.properties)
        catalog.put(session.con, run)
    return status()


def read_values(s: Matched) -> list[dict]:
    try:
        return [dict(value) for value in json.loads(s.value("values"))]
    except (ValueError, TypeError) as error:
        raise compilation_error(f"invalid list of names and values: {error}", 1003) from error


@statement("ALTER EXPERIMENT <name> MODIFY RUN <run> ADD METRICS = <values:body>", "executed")
def add_metrics(session: Session, s: Matched) -> Result:
    now = dt.datetime.now(dt.UTC).isoformat()
    values = [{**metric, "timestamp": now} for metric in read_values(s)]
    return change_run(session, s, lambda properties: properties["metrics"].extend(values))


@statement("ALTER EXPERIMENT <name> MODIFY RUN <run> ADD PARAMETERS = <values:body>", "executed")
def add_parameters(session: Session, s: Matched) -> Result:
    return change_run(session, s, lambda properties: properties["parameters"].extend(read_values(s)))


@statement("ALTER EXPERIMENT <name> COMMIT RUN <run> [WITH STATUS = <status:string>]", "executed")
def commit_run(session: Session, s: Matched) -> Result:
    return change_run(session, s, lambda properties: properties.update(status=s.value("status") or "FINISHED"))


@statement("ALTER EXPERIMENT <name> DROP RUN <run>", "executed")
def drop_run(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    with session.change(name):
        run = need_run(session, name, names.fold(s["run"]))
        catalog.drop(session.con, "RUN", run.qualified, name.name)
    stages.remove_folder(session.account, run)
    return status()


# ---------------------------------------------------------------- showing


@statement(f"SHOW EXPERIMENTS [LIKE <like:string>] {SCOPE} {FILTER}", "executed")
def show_experiments(session: Session, s: Matched) -> Result:
    rows = [thing.row() for thing in chosen(session, s, "EXPERIMENT")]
    return listing("created_on@ name database_name schema_name owner comment", rows)


@statement("SHOW RUNS [LIKE <like:string>] IN EXPERIMENT <name>", "executed")
def show_runs(session: Session, s: Matched) -> Result:
    kept = ("status", "metrics", "parameters")
    rows = [
        {**run.row(), "metadata": json.dumps({key: run.properties[key] for key in kept})}
        for run in find_runs(session, session.resolve(s["name"]), s.value("like"))
    ]
    return listing("created_on@ name metadata", rows)


@statement("SHOW RUN {METRICS|PARAMETERS} [LIKE <like:string>] IN EXPERIMENT <name> [RUN <run>]", "executed")
def show_run_values(session: Session, s: Matched) -> Result:
    """The last value of each: a metric logged at many steps shows its last step."""
    rows = []
    for run in find_runs(session, session.resolve(s["name"])):
        if s["run"] and run.name != names.fold(s["run"]):
            continue
        last = {entry["name"]: entry["value"] for entry in run.properties[s.choice.lower()]}
        rows += [
            {"run_name": run.name, "name": key, "value": str(value)}
            for key, value in last.items()
            if names.like(s.value("like"), key)
        ]
    return listing("run_name name value", rows)


def run_metrics(session: Session, _: object, arguments: list[str]) -> str:
    run = need_run(session, session.resolve(arguments[0]), names.fold(arguments[1]))
    logged = [
        (m["name"], int(m.get("step") or 0), float(m["value"]), m["timestamp"]) for m in run.properties["metrics"]
    ]
    rows = ", ".join(f"({names.literal(n)}, {step}, {value!r}, {names.literal(at)})" for n, step, value, at in logged)
    return f"""
        SELECT n AS "METRIC_NAME", s AS "STEP", CAST(v AS DOUBLE) AS "VALUE", CAST(t AS TIMESTAMPTZ) AS "TIMESTAMP"
        FROM (VALUES {rows or "(NULL, NULL, NULL, NULL)"}) AS m(n, s, v, t) WHERE n IS NOT NULL"""


TABLE_FUNCTIONS["SYSTEM$GET_EXPERIMENT_RUN_METRICS"] = run_metrics


@system_function("SYSTEM$RESOLVE_EXPERIMENT_ID")
def resolve_experiment(session: Session, experiment: str) -> int:
    return catalog.need(session.con, "EXPERIMENT", session.resolve(experiment)).properties["id"]


@system_function("SYSTEM$RESOLVE_EXPERIMENT_RUN_ID")
def resolve_run(session: Session, experiment: str, run: str) -> int:
    return need_run(session, session.resolve(experiment), names.fold(run)).properties["id"]

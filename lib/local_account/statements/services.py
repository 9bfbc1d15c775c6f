"""Model services: SYSTEM$DEPLOY_MODEL, SHOW, SUSPEND, RESUME, DROP, and ``service!METHOD`` in SQL over HTTP."""

import json
import time
import urllib.error
import urllib.request

import pyarrow as pa
import yaml
from sqlglot import exp

from local_account.account.catalog import Object
from local_account.account.limits import read_limits
from local_account.account.session import Session
from local_account.engine.lengths import demand_fit
from local_account.engine.results import Result, listing, slices
from local_account.sql.context_functions import object_call
from local_account.sql.stage_files import locate
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements import options
from local_account.statements.jobs.job_rows import (
    CONTAINER_COLUMNS,
    container_row,
    has_container,
    job_log,
    job_row,
    job_status,
)
from local_account.statements.models import Version, call_model, feature_type, need_version
from local_account.statements.show import Shown
from local_account.text import identifiers
from local_account.text.errors import SnowflakeError, already_exists, unsupported
from local_account.text.identifiers import Name
from local_account.workers.loopback import HOST, OPENER
from local_account.workers.pool import BATCH_BYTES, BATCH_ROWS, ServiceProcess

SERVICE_COLUMNS = (
    "name status database_name schema_name owner compute_pool dns_name current_instances# target_instances# "
    "min_instances# max_instances# auto_resume auto_suspend_secs# created_on@ updated_on@ comment query_warehouse "
    "is_job is_async_job spec"
)
REQUEST_SECONDS = 600.0
CONTAINER = "model-inference"
IDLE_SECONDS = 1800  # of a service without min_instances
PROVISIONING = "Endpoints provisioning in progress... check back in a few minutes"
# Shown in the service's specification, without other effect.
WANTED = ("cpu", "memory", "gpu", "num_workers", "max_batch_rows")


# ---------------------------------------------------------------- deploying


def deploy(session: Session, specification: str) -> str:
    """Start a service as its deployment file says (its path on a stage, or its text), and wait until it answers."""
    if specification.startswith("@"):
        place = locate(session, specification)
        if not place.target.is_file():
            raise SnowflakeError(f"Remote file '{specification}' was not found.", 91016, "22000")
        specification = place.target.read_text()
    wanted = yaml.safe_load(specification)
    declared, model = wanted["service"], session.resolve(wanted["models"][0]["name"])
    for key in ("autocapture", "inference_engine_spec", "feature_retrieval", "adapters"):
        if declared.get(key):
            raise unsupported(f"{key} of a service", __name__)
    for part in (declared, wanted.get("image_build") or {}):
        if part.get("compute_pool"):
            session.need("COMPUTE POOL", part["compute_pool"])
    name = session.resolve(declared["name"])
    session.need_schema(name.database, name.schema)
    version = need_version(session, model, wanted["models"][0]["version"])
    if "SNOWPARK_CONTAINER_SERVICES" not in version.runnable_in:
        raise SnowflakeError(
            f"Model {model} version {version.name} cannot be served: it was logged without the target platform "
            "SNOWPARK_CONTAINER_SERVICES.", 393918, "22000"
        )  # fmt: skip
    properties = {
        "model": str(model), "version": version.name, "model_folder": version.folder.name,
        "compute_pool": identifiers.fold(declared["compute_pool"]), "ingress": bool(declared.get("ingress_enabled")),
        "min_instances": declared.get("min_instances", 0), "max_instances": declared.get("max_instances", 1),
        "status": "PENDING", "port": 0, "wanted": {key: declared[key] for key in WANTED if declared.get(key)},
    }  # fmt: skip
    service = Object("SERVICE", *name, owner=session.role, properties=properties)
    with session.transaction.change(name):
        if session.get("SERVICE", name):
            raise already_exists(name)
        session.put(service)
    try:
        ensure_running(session, service)
        set_status(session, name, "RUNNING", ready_at=time.time())
    except SnowflakeError:
        set_status(session, name, "FAILED")
        raise
    return f"Inference service {name} deployment complete."


def ensure_running(session: Session, service: Object) -> ServiceProcess:
    """The service's process, started if it is not there: after a restart of the account it comes back on demand."""
    account, name = session.account, service.qualified
    if service.properties["status"] == "SUSPENDED":
        set_status(session, name, "RUNNING")
    folder = account.root / "models" / service.properties["model_folder"]
    if not folder.is_dir():
        raise SnowflakeError(f"Service {name} cannot start: its model version has been dropped.", 395020, "22000")
    process = account.workers.service(str(name), folder, account.token, idle_seconds(service))
    if (service.properties["port"], service.properties["status"]) != (process.port, "RUNNING"):
        set_status(session, name, "RUNNING", port=process.port)
    return process


def idle_seconds(service: Object) -> float:
    """After how long without a request it is suspended: as stated, else half an hour without instances that stay."""
    given = service.properties
    return given.get("auto_suspend_secs", 0 if given.get("min_instances", 1) else IDLE_SECONDS)


def state_of(session: Session, service: Object) -> str:
    """The status on record, unless the service was suspended or woken since without a statement."""
    workers, name, state = session.account.workers, str(service.qualified), service.properties["status"]
    return "SUSPENDED" if name in workers.sleeping else "RUNNING" if name in workers.services else state


def set_status(session: Session, name: Name, state: str, **properties: object) -> None:
    """Not a definition, because a query may start a service too."""
    with session.account.locks.hold(name):
        service = session.get("SERVICE", name)
        if service is not None:
            service.properties |= {"status": state, **properties}
            session.put(service)


def version_of(session: Session, service: Object) -> Version:
    model = session.resolve(service.properties["model"])
    return need_version(session, model, identifiers.quote(service.properties["version"]))


# ---------------------------------------------------------------- calling


def service_function(session: Session, service: str, method: str) -> str:
    """The key by which the engine sends rows to ``service!METHOD`` over HTTP, in the flat form."""
    found = session.need("SERVICE", service)
    version = version_of(session, found)
    version.method(method)
    nested = [feature_type(feature) == "JSON" for feature in version.signature(method)["inputs"]]
    process, token = ensure_running(session, found), session.account.token
    route = identifiers.fold(method).lower().replace("_", "-")

    def call(table: pa.Table) -> list[str]:
        demand_fit(table.columns[1:])
        answers: list[str] = []
        for batch in slices(table.drop_columns(["key"]), BATCH_ROWS, BATCH_BYTES):
            rows = [
                [i, *map(json_value, row.values(), nested + [False] * len(row))]
                for i, row in enumerate(batch.to_pylist())
            ]
            answers += [json.dumps(output) for _, output in post(process.port, route, token, {"data": rows})]
        return answers

    key = f"{found.qualified}!{route}@{process.port}"
    session.account.functions.setdefault(key, call)
    return key


def call_service(session: Session, arguments: list[exp.Expression]) -> exp.Expression:
    """``s!METHOD(x)``. With a model's name it calls the model's default version."""
    service, method, *rest = arguments
    if session.get("SERVICE", service.name) is None and session.get("MODEL", service.name):
        return call_model(session, [service, exp.Literal.string("DEFAULT"), method, *rest])
    return object_call(service_function(session, service.name, method.name), rest)


def json_value(value: object, nested: bool) -> object:
    if nested and value is not None:
        return json.loads(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else float(value)


def post(port: int, route: str, token: str, body: dict) -> list:
    """One request to a service on loopback. Raises SnowflakeError with the service's own words."""
    headers = {"Authorization": f'Snowflake Token="{token}"', "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{HOST}:{port}/{route}", json.dumps(body).encode(), headers)
    try:
        with OPENER.open(request, timeout=REQUEST_SECONDS) as response:
            return json.load(response)["data"]
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        raise SnowflakeError(f"The service answered {error.code}: {text}", 391912, "22000") from error
    except OSError as error:
        raise SnowflakeError(f"Request to the service on port {port} failed: {error}", 391912, "22000") from error


# ---------------------------------------------------------------- showing


def service_row(session: Session, service: Object) -> dict:
    given = service.properties
    state = state_of(session, service)
    running = int(state == "RUNNING")
    image = {"name": CONTAINER, "image": "local", "env": {}, "resources": {"requests": given.get("wanted", {})}}
    return {
        "status": state, "compute_pool": given["compute_pool"],
        "dns_name": f"{service.name}.{service.schema}.{service.database}.local".lower().replace("_", "-"),
        "current_instances": running, "target_instances": given.get("replicas", running),
        "min_instances": given.get("min_instances", 1), "max_instances": given.get("max_instances", 1),
        "auto_resume": "true", "auto_suspend_secs": given.get("auto_suspend_secs", 0),
        "is_job": str(given.get("job", False)).lower(),
        "spec": yaml.safe_dump({"spec": {"containers": [image]}} | inference_of(given)),
    } | (job_row(service) if has_container(service) else {})  # fmt: skip


def inference_of(given: dict) -> dict:
    """What an inference job was asked for, beside the container that clients look for."""
    return {"inference": yaml.safe_load(given["specification"])} if given.get("specification") else {}


def show_endpoints(session: Session, s: Matched) -> Result:
    """Starts the service's process if it is not running, so that the address answers."""
    service = session.need("SERVICE", s["name"])
    url = None
    waits = read_limits(session.account.root).provisioning_seconds
    if service.properties["ingress"] and time.time() - service.properties.get("ready_at", 0) < waits:
        url = PROVISIONING
    elif service.properties["ingress"] and str(service.qualified) in session.account.workers.sleeping:
        url = f"127.0.0.1:{session.account.workers.ports.of(str(service.qualified))}"
    elif service.properties["ingress"] and state_of(session, service) == "RUNNING":
        url = f"127.0.0.1:{ensure_running(session, service).port}"
    row = {"name": "inference", "port": 5000, "protocol": "HTTP", "ingress_url": url,
           "is_public": str(service.properties["ingress"]).lower()}  # fmt: skip
    return listing("name port# protocol is_public ingress_url", [row])


def show_containers(session: Session, s: Matched) -> Result:
    service = session.need("SERVICE", s["name"])
    if has_container(service):
        return listing(CONTAINER_COLUMNS, [container_row(service)])
    state, there = state_of(session, service), has_instance(session, service)
    instance = ("READY" if state == "RUNNING" else state) if there else None
    row = {
        "database_name": service.database, "schema_name": service.schema, "service_name": service.name,
        "instance_id": "0" if there else None, "container_name": CONTAINER if there else None,
        "service_status": state, "instance_status": instance, "status": instance,
        "message": service.properties.get("message", "") if there else None,
    }  # fmt: skip
    return listing(" ".join(row), [row])


def has_instance(session: Session, service: Object) -> bool:
    return state_of(session, service) not in ("PENDING", "SUSPENDED")


def service_logs(session: Session, service: str, instance: str = "0", container: str = "", lines: str = "500") -> str:
    if has_container(found := session.need("SERVICE", service)):
        return job_log(session, found, instance, container, int(lines))
    if instance != "0" or not has_instance(session, found):
        raise SnowflakeError(f"Service {found.name} has no instance {instance}.", 395005, "22023")
    log = session.account.workers.service_log(str(found.qualified))
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-int(lines) :])


def service_status(session: Session, service: str, timeout: str = "0") -> str:
    found = session.need("SERVICE", service)
    if has_container(found):
        return job_status(found)
    return json.dumps([{"status": state_of(session, found), "serviceName": found.name, "instanceId": "0",
                        "containerName": CONTAINER}])  # fmt: skip


# ---------------------------------------------------------------- changing


def suspend_or_resume(session: Session, s: Matched) -> None:
    service = session.need("SERVICE", s["name"])
    if s.choice == "SUSPEND":
        session.account.workers.suspend_service(str(service.qualified))
        set_status(session, service.qualified, "SUSPENDED")
    else:
        ensure_running(session, service)


def alter_service(session: Session, s: Matched) -> None:
    given = s.options()
    with session.edit("SERVICE", s["name"]) as service:
        service.comment = given.pop("COMMENT", service.comment)
        service.properties |= {key.lower(): int(value) for key, value in given.items()}
        if process := session.account.workers.services.get(str(service.qualified)):
            process.idle_seconds = idle_seconds(service)


def stop_process(session: Session, service: Object) -> None:
    name = str(service.qualified)
    session.transaction.after_commit.append(lambda: session.account.workers.stop_service(name))
    if has_container(service):
        session.transaction.after_commit.append(lambda: remove_job(session, name, service.properties["log"]))


def remove_job(session: Session, name: str, log: str) -> None:
    session.account.jobs.stop(name, "CANCELLED")
    (session.account.root / "logs" / log).unlink(missing_ok=True)


STATEMENTS = [
    Statement("SHOW ENDPOINTS IN SERVICE <name>", show_endpoints),
    Statement("SHOW SERVICE {CONTAINERS|INSTANCES} IN SERVICE <name>", show_containers),
    Statement("ALTER SERVICE [IF EXISTS] <name> {SUSPEND|RESUME}", suspend_or_resume),
    Statement("ALTER SERVICE [IF EXISTS] <name> SET <options:rest>", alter_service, options=options.SERVICE),
]  # fmt: skip

SHOWN = {
    "SERVICE": Shown(SERVICE_COLUMNS, service_row),
}  # fmt: skip

SYSTEM_FUNCTIONS = {
    "SYSTEM$DEPLOY_MODEL": deploy,
    "SYSTEM$GET_SERVICE_LOGS": service_logs,
    "SYSTEM$GET_SERVICE_STATUS": service_status,
}

BEFORE_REMOVAL = {"SERVICE": stop_process}

CALLS = {"__SERVICE_CALL": call_service}

"""Model services: SYSTEM$DEPLOY_MODEL, SHOW, SUSPEND, RESUME, DROP, and ``service!METHOD`` in SQL over HTTP."""

from __future__ import annotations

import http.client
import json

import pyarrow as pa
import yaml

from . import catalog, names
from .calls import system_function
from .catalog import Object
from .errors import SnowflakeError, already_exists, compilation_error, missing
from .models import manifest, need_version
from .names import Name
from .results import Result, listing, status
from .session import Session
from .show import FILTER, SCOPE, chosen
from .staged import locate
from .statements import Matched, options, statement
from .workers import ServiceProcess, batches

SERVICE_COLUMNS = (
    "name status database_name schema_name owner compute_pool dns_name current_instances# target_instances# "
    "min_instances# max_instances# auto_resume created_on@ comment is_job spec"
)
REQUEST_SECONDS = 600.0
CONTAINER = "model-inference"


# ---------------------------------------------------------------- deploying


@system_function("SYSTEM$DEPLOY_MODEL")
def deploy(session: Session, specification: str) -> str:
    """Start a service as its deployment file says, and wait until it answers.

    ``specification`` is the path of the file on a stage, or its text.
    """
    if specification.startswith("@"):
        place = locate(session, specification)
        if not place.target.is_file():
            raise SnowflakeError(f"Remote file '{specification}' was not found.", 91016, "22000")
        specification = place.target.read_text()
    wanted = yaml.safe_load(specification)
    model_name, version = wanted["models"][0]["name"], wanted["models"][0]["version"]
    declared = wanted["service"]
    need_pool(session, declared["compute_pool"])
    if wanted.get("image_build", {}).get("compute_pool"):
        need_pool(session, wanted["image_build"]["compute_pool"])
    name = session.resolve(declared["name"])
    session.need_schema(name.database, name.schema)
    model = session.resolve(model_name)
    found = need_version(session, model, names.fold(version))
    if "SNOWPARK_CONTAINER_SERVICES" not in runnable_in(session, found):
        raise SnowflakeError(
            f"Model {model} version {found.name} cannot be served: it was logged without the target platform "
            "SNOWPARK_CONTAINER_SERVICES.", 393918, "22000"
        )  # fmt: skip
    properties = {
        "model": str(model),
        "version": found.name,
        "model_folder": found.properties["folder"],
        "compute_pool": names.fold(declared["compute_pool"]),
        "ingress": bool(declared.get("ingress_enabled")),
        "min_instances": declared.get("min_instances", 0),
        "max_instances": declared.get("max_instances", 1),
        "status": "PENDING",
        "port": 0,
    }
    service = Object("SERVICE", name.database, name.schema, name.name, owner=session.role, properties=properties)
    with session.change(name):
        if catalog.get(session.con, "SERVICE", name):
            raise already_exists(str(name))
        catalog.put(session.con, service)
    try:
        ensure_running(session, service)
    except SnowflakeError:
        set_status(session, name, "FAILED")
        raise
    return f"Inference service {name} deployment complete."


def need_pool(session: Session, pool: str) -> None:
    catalog.need(session.con, "COMPUTE POOL", Name("", "", names.fold(pool)), label="Compute pool")


def runnable_in(session: Session, version: Object) -> list[str]:
    platforms = manifest(session, version).get("target_platforms")
    return platforms or ["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"]


def ensure_running(session: Session, service: Object) -> ServiceProcess:
    """The service's process, started if it is not there: after a restart of the account it comes back on demand."""
    account, name = session.account, service.qualified
    if service.properties["status"] == "SUSPENDED":
        set_status(session, name, "RUNNING")
    folder = account.root / "models" / service.properties["model_folder"]
    if not folder.is_dir():
        raise SnowflakeError(f"Service {name} cannot start: its model version has been dropped.", 395020, "22000")
    process = account.workers.service(str(name), folder, service.properties["port"], account.token)
    if (service.properties["port"], service.properties["status"]) != (process.port, "RUNNING"):
        set_status(session, name, "RUNNING", port=process.port)
    return process


def set_status(session: Session, name: Name, state: str, **properties: object) -> None:
    with session.locked(name):
        service = catalog.get(session.con, "SERVICE", name)
        if service is not None:
            service.properties |= {"status": state, **properties}
            catalog.put(session.con, service)


def need_service(session: Session, text: str) -> Object:
    return catalog.need(session.con, "SERVICE", session.resolve(text), label="Service")


# ---------------------------------------------------------------- calling


def service_function(session: Session, service: str, method: str) -> str:
    """The engine function that sends rows to ``service!METHOD`` over HTTP, in the flat form."""
    found = need_service(session, service)
    version = need_version(session, session.resolve(found.properties["model"]), found.properties["version"])
    known = [m["name"] for m in manifest(session, version)["methods"]]
    if names.fold(method) not in known:
        raise compilation_error(
            f"Unknown function {names.fold(method)} of service {service}: it has {known}", 2140, "42601"
        )
    process = ensure_running(session, found)
    route, token = names.fold(method).lower().replace("_", "-"), session.account.token

    def call(_: pa.ChunkedArray, *columns: pa.ChunkedArray) -> pa.Array:
        table = pa.Table.from_arrays(list(columns), names=[str(i) for i in range(len(columns))])
        answers: list[str] = []
        for batch in batches(table):
            rows = [[i, *map(json_value, row.values())] for i, row in enumerate(batch.to_pylist())]
            answers += [json.dumps(output) for _, output in post(process.port, route, token, {"data": rows})]
        return pa.array(answers, pa.string())

    return session.account.register_function(f"{found.qualified}!{route}@{process.port}", call)


def json_value(value: object) -> object:
    return value if value is None or isinstance(value, (bool, int, float, str)) else float(value)


def post(port: int, route: str, token: str, body: dict) -> list:
    """One request to a service on loopback. Raises SnowflakeError with the service's own words."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
    headers = {"Authorization": f'Snowflake Token="{token}"', "Content-Type": "application/json"}
    try:
        connection.request("POST", f"/{route}", json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
    except OSError as error:
        raise SnowflakeError(f"Request to the service on port {port} failed: {error}", 391912, "22000") from error
    finally:
        connection.close()
    if response.status != 200:
        raise SnowflakeError(
            f"The service answered {response.status}: {text.decode(errors='replace')}", 391912, "22000"
        )
    return json.loads(text)["data"]


# ---------------------------------------------------------------- showing


def describe(service: Object) -> dict:
    properties = service.properties
    running = int(properties["status"] == "RUNNING")
    image = {"name": CONTAINER, "image": "local", "env": {}}
    return {
        **service.row(),
        "status": properties["status"],
        "compute_pool": properties["compute_pool"],
        "dns_name": f"{service.name}.{service.schema}.{service.database}.local".lower().replace("_", "-"),
        "current_instances": running,
        "target_instances": running,
        "min_instances": properties.get("min_instances", 1),
        "max_instances": properties.get("max_instances", 1),
        "auto_resume": "true",
        "is_job": str(properties.get("job", False)).lower(),
        "spec": yaml.safe_dump({"spec": {"containers": [image]}}),
    }


@statement(f"SHOW [JOB] SERVICES [LIKE <like:string>] {SCOPE} {FILTER}", "executed")
def show_services(session: Session, s: Matched) -> Result:
    return listing(SERVICE_COLUMNS, [describe(service) for service in chosen(session, s, "SERVICE")])


@statement("{DESC|DESCRIBE} SERVICE <name>", "executed")
def describe_service(session: Session, s: Matched) -> Result:
    return listing(SERVICE_COLUMNS, [describe(need_service(session, s["name"]))])


@statement("SHOW ENDPOINTS IN SERVICE <name>", "executed")
def show_endpoints(session: Session, s: Matched) -> Result:
    """Asking for the address starts the process if need be, so that the address answers."""
    service = need_service(session, s["name"])
    url = None
    if service.properties["ingress"] and service.properties["status"] == "RUNNING":
        url = f"127.0.0.1:{ensure_running(session, service).port}"
    row = {"name": "inference", "port": 5000, "protocol": "HTTP", "ingress_url": url,
           "is_public": str(service.properties["ingress"]).lower()}  # fmt: skip
    return listing("name port# protocol is_public ingress_url", [row])


@statement("SHOW SERVICE {CONTAINERS|INSTANCES} IN SERVICE <name>", "executed")
def show_containers(session: Session, s: Matched) -> Result:
    service = need_service(session, s["name"])
    state = service.properties["status"]
    instance = {"RUNNING": "READY", "SUSPENDED": "TERMINATED"}.get(state, state)
    row = {
        "database_name": service.database, "schema_name": service.schema, "service_name": service.name,
        "instance_id": "0", "container_name": CONTAINER, "service_status": state, "instance_status": instance,
        "status": instance, "message": service.properties.get("message", ""),
    }  # fmt: skip
    return listing(" ".join(row), [row])


@system_function("SYSTEM$GET_SERVICE_LOGS")
def service_logs(session: Session, service: str, instance: str = "0", container: str = "", lines: str = "100") -> str:
    name = session.resolve(service)
    if catalog.get(session.con, "SERVICE", name) is None:
        raise missing("Service", str(name))
    log = session.account.workers.service_log(str(name))
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-int(lines) :])


@system_function("SYSTEM$GET_SERVICE_STATUS")
def service_status(session: Session, service: str, timeout: str = "0") -> str:
    found = need_service(session, service)
    return json.dumps([{"status": found.properties["status"], "serviceName": found.name, "instanceId": "0",
                        "containerName": CONTAINER}])  # fmt: skip


# ---------------------------------------------------------------- changing


@statement("ALTER SERVICE [IF EXISTS] <name> {SUSPEND|RESUME}", "executed")
def suspend_or_resume(session: Session, s: Matched) -> Result:
    service = need_service(session, s["name"])
    if s.choice == "SUSPEND":
        session.account.workers.stop_service(str(service.qualified))
        set_status(session, service.qualified, "SUSPENDED")
    else:
        ensure_running(session, service)
    return status()


@statement("ALTER SERVICE [IF EXISTS] <name> SET <options:rest>", "executed")
def alter_service(session: Session, s: Matched) -> Result:
    service = need_service(session, s["name"])
    given = options(s["options"])
    for key in given.keys() - {"MIN_INSTANCES", "MAX_INSTANCES", "COMMENT", "AUTO_SUSPEND_SECS"}:
        raise compilation_error(f"invalid property '{key}' for 'SERVICE'", 1423)
    with session.change(service.qualified):
        service.comment = given.get("COMMENT", service.comment)
        service.properties |= {k.lower(): int(v) for k, v in given.items() if k.endswith(("INSTANCES", "SECS"))}
        catalog.put(session.con, service)
    return status()


@statement("DROP SERVICE [IF EXISTS] <name> [FORCE]", "executed")
def drop_service(session: Session, s: Matched) -> Result:
    name = session.resolve(s["name"])
    if s.if_exists and catalog.get(session.con, "SERVICE", name) is None:
        return status(f"Drop statement executed successfully ({name.name} already dropped).")
    need_service(session, s["name"])
    remove_service(session, name)
    return status(f"{name.name} successfully dropped.")


def services_on(session: Session, pool: str) -> list[Object]:
    return [thing for thing in catalog.find(session.con, "SERVICE") if thing.properties.get("compute_pool") == pool]


def remove_service(session: Session, name: Name) -> None:
    with session.change(name):
        catalog.drop(session.con, "SERVICE", name)
    session.account.workers.stop_service(str(name))


def stop_services(session: Session, database: str, schema: str) -> None:
    """Stop the processes of every service in a schema that is being dropped."""
    for service in catalog.find(session.con, "SERVICE", database, schema):
        session.account.workers.stop_service(str(service.qualified))

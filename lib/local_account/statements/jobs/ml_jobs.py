"""What snowflake.ml.jobs asks of the account: a runtime, and a job made from a payload on a stage."""

import json
import sys
import uuid
from pathlib import Path

import yaml

from local_account.account.session import Session
from local_account.sql.stage_files import locate
from local_account.statements.jobs.job_services import finish, new_folder, place_of, start
from local_account.statements.jobs.job_specifications import read_specification
from local_account.text import identifiers
from local_account.text.errors import SnowflakeError, compilation_error, unsupported
from local_account.text.identifiers import Name

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
REPOSITORY = "/snowflake/images/snowflake_images/st_plat/runtime/x86/runtime_image/snowbooks"
RUNTIME = "2.10.0"
PAYLOAD, RESULTS = "/mnt/job_stage", "/mnt/job_result"  # the first one is the client's
STARTER = Path(__file__).parents[2] / "workers" / "ml_job.py"
SPECIFICATION = (
    "STAGE_PATH ARGS ENV_VARS ENABLE_METRICS SPEC_OVERRIDES RUNTIME ENABLE_STAGE_MOUNT_V2 ARTIFACT_REPOSITORIES"
)
OPTIONS = "EXTERNAL_ACCESS_INTEGRATIONS QUERY_WAREHOUSE TARGET_INSTANCES MIN_INSTANCES ASYNC GENERATE_SUFFIX COMMENT"


def runtime(session: Session, pool: str, wanted: str = "") -> str:
    """SYSTEM$GET_ML_JOB_RUNTIME: the name of an image. The process uses the account's own Python, whichever it says."""
    session.need("COMPUTE POOL", pool)
    given = json.loads(wanted) if wanted.startswith("{") else {"runtimeEnvironment": wanted}
    if given.get("pythonVersion", PYTHON) != PYTHON:
        raise unsupported(f"ML Jobs with Python {given['pythonVersion']}: the account runs on {PYTHON}", __name__)
    image = given.get("runtimeEnvironment") or RUNTIME
    return image if ":" in image else f"{REPOSITORY}:{image}"


def execute_ml_job(session: Session, name: str, pool: str, specification: str, options: str) -> str:
    """SYSTEM$EXECUTE_ML_JOB: start the job; its qualified name is its id."""
    wanted, given = read_options(specification, SPECIFICATION), read_options(options, OPTIONS)
    for key in ("TARGET_INSTANCES", "MIN_INSTANCES"):
        if (given.get(key) or 1) != 1:
            text = f"{key.lower()} = {given[key]} of an ML Job: several instances need Ray, a job is one process here"
            raise unsupported(text, __name__)
    for repository in wanted.get("ARTIFACT_REPOSITORIES") or []:
        session.need("ARTIFACT REPOSITORY", repository)
    full = job_name(session, name, given.get("GENERATE_SUFFIX", True))
    folder = new_folder(session, full)
    found = read_specification(session, yaml.safe_dump(service_specification(session, full, wanted, folder)))
    found.command = starter(found.command)
    clauses = {"QUERY_WAREHOUSE": given.get("QUERY_WAREHOUSE") or "", "COMMENT": given.get("COMMENT") or "",
               "EXTERNAL_ACCESS_INTEGRATIONS": ", ".join(given.get("EXTERNAL_ACCESS_INTEGRATIONS") or []),
               "ASYNC": str(bool(given.get("ASYNC", True))).upper()}  # fmt: skip
    job = start(session, full, pool, found, clauses, folder)
    if clauses["ASYNC"] == "FALSE":
        finish(session, full, job)
    return str(full)


def read_options(text: str, known: str) -> dict:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise compilation_error(f"invalid options of SYSTEM$EXECUTE_ML_JOB: {error}", 1003) from error
    for key in given.keys() - set(known.split()):
        raise unsupported(f"{key} of an ML Job", __name__)
    return given


def job_name(session: Session, text: str, suffix: bool) -> Name:
    *place, name = identifiers.split(text.rstrip("_") if suffix else text)
    return session.qualify([*place, f"{name}_{uuid.uuid4().hex[:12].upper()}" if suffix else name])


def service_specification(session: Session, job: Name, wanted: dict, folder: Path) -> dict:
    """As the server makes it: the payload's stage and a folder for the result, below it, of this job alone.

    The result is mounted where the process finds it, because the launcher stores the paths of what it writes.
    """
    payload = locate(session, wanted["STAGE_PATH"])
    if not payload.stage:
        raise SnowflakeError(f"The payload at {wanted['STAGE_PATH']} is not on a named stage.", 391921, "22023")
    stage, results = f"@{payload.stage}/{payload.path}".rstrip("/"), str(place_of(folder, RESULTS))
    env = {**(wanted.get("ENV_VARS") or {}), "MLRS_STAGE_RESULT_PATH": results, "MLRS_RESULT_PATH": "mljob_result"}
    spec = {
        "containers": [{
            "name": "main", "image": wanted.get("RUNTIME") or f"{REPOSITORY}:{RUNTIME}", "command": wanted["ARGS"],
            "env": env,
            "volumeMounts": [{"name": "stage-volume", "mountPath": PAYLOAD},
                             {"name": "result-volume", "mountPath": results}],
        }],
        "volumes": [volume("stage-volume", stage), volume("result-volume", f"{stage}/{job.name}")],
    }  # fmt: skip
    return overridden({"spec": spec}, wanted.get("SPEC_OVERRIDES") or {})


def volume(name: str, place: str) -> dict:
    return {"name": name, "source": "stage", "stageConfig": {"name": place}}


def overridden(base: dict, over: dict) -> dict:
    """Mappings are joined; of lists, the members of the same name."""
    made = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(made.get(key), dict):
            made[key] = overridden(made[key], value)
        elif isinstance(value, list) and isinstance(made.get(key), list):
            named = {each.get("name"): each for each in value if isinstance(each, dict)}
            kept = [overridden(each, named.pop(each["name"], {})) for each in made[key]]
            made[key] = kept + list(named.values())
        else:
            made[key] = value
    return made


def starter(command: list[str]) -> list[str]:
    """``bash .../system/startup.sh ENTRYPOINT ...`` is for a container: here another script starts the launcher."""
    if command[:1] == ["bash"] and command[1:2] and command[1].endswith("/system/startup.sh"):
        launcher = command[1].replace("startup.sh", "mljob_launcher.py")
        return [sys.executable, str(STARTER), launcher, *command[2:]]
    return command


SYSTEM_FUNCTIONS = {"SYSTEM$GET_ML_JOB_RUNTIME": runtime, "SYSTEM$EXECUTE_ML_JOB": execute_ml_job}

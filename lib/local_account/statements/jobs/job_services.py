"""EXECUTE JOB SERVICE: a container's command as a process of this machine, its end as a row."""

import datetime as dt
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.engine.results import Result, listing, status
from local_account.sql.stage_files import is_whole, locate
from local_account.sql.statement_shapes import Matched, Statement
from local_account.statements.jobs.job_rows import last_lines
from local_account.statements.jobs.job_specifications import Specification, read_specification
from local_account.statements.options import JOB_SERVICE
from local_account.statements.stages import copy_all, copy_whole
from local_account.text import identifiers, literals
from local_account.text.errors import SnowflakeError, already_exists, compilation_error, unsupported
from local_account.text.identifiers import Name
from local_account.text.literals import items
from local_account.workers.containers import Container, Identity, RunningJob

JOB = "EXECUTE JOB SERVICE IN COMPUTE POOL <pool> [<before:clauses>] FROM"
FAILED = 395030  # Snowflake's own number is not known here
LOOK_SECONDS = 0.05
TAIL = 20  # lines of the log in the error of a job that fails


def execute(session: Session, s: Matched) -> Result:
    session.need("COMPUTE POOL", s["pool"])
    if s.groups.get("specification"):
        text = s.value("specification")
    else:
        text = staged_text(session, s["stage"], s.value("file"))
    given = literals.options(s["before"], JOB_SERVICE) | literals.options(s["after"], JOB_SERVICE)
    specification = read_specification(session, text)
    name = session.resolve(given["NAME"]) if "NAME" in given else generated(session)
    job = start(session, name, s["pool"], specification, given, new_folder(session, name))
    if flag(given, "ASYNC"):
        return status(f"Job {name.name} submitted successfully. Its status is in DESCRIBE SERVICE {name}.")
    return finish(session, name, job)


def staged_text(session: Session, stage: str, file: str) -> str:
    place = locate(session, stage)
    path = locate(session, f"@{place.stage}/{place.path}/{file}".replace("//", "/")).target
    if not path.is_file():
        raise SnowflakeError(f"Remote file '{stage}/{file}' was not found.", 91016, "22000")
    return path.read_text()


def generated(session: Session) -> Name:
    return session.resolve(f"JOB_{uuid.uuid4().hex.upper()}")


def flag(given: Mapping[str, str], option: str) -> bool:
    value = given.get(option, "FALSE").upper()
    if value not in ("TRUE", "FALSE"):
        raise compilation_error(f"invalid value [{value}] for parameter '{option}'", 1008)
    return value == "TRUE"


# ---------------------------------------------------------------- starting


def new_folder(session: Session, name: Name) -> Path:
    return session.account.jobs.folder / f"{str(name).replace('/', '_')}-{uuid.uuid4().hex[:8]}"


def start(
    session: Session, name: Name, pool: str, wanted: Specification, given: Mapping[str, str], folder: Path
) -> RunningJob:
    """Record the job and start its process. Raises for what the statement names and the account has not."""
    if not hasattr(os, "killpg"):
        raise unsupported("jobs on this operating system, which has no process groups", __name__)
    service = new_service(session, name, pool, wanted, given, folder)
    with session.transaction.change(name):
        if session.get("SERVICE", name):
            raise already_exists(name)
        session.put(service)
    log, identity = service.properties["log"], Identity(session.role, service.properties["query_warehouse"])
    mounts = {path: place_of(folder, path) for path in wanted.volumes}
    container = Container(
        wanted.name, wanted.command, own_variables(service) | wanted.env, folder, session.account.root / "logs" / log,
        mounts,
    )  # fmt: skip
    try:
        before = fill(session, wanted, mounts, folder)
        introduce(container, wanted)
        return session.account.jobs.start(
            str(name), container, identity, session.account.port,
            lambda job, code: settle(session, service, wanted, mounts, before, job, code),
        )  # fmt: skip
    except (OSError, SnowflakeError) as error:
        record_end(session, service, "FAILED", f"The container could not start: {error}", None)
        raise


def new_service(
    session: Session, name: Name, pool: str, wanted: Specification, given: Mapping[str, str], folder: Path
) -> Object:
    """The job's row. Raises for what the account has not."""
    session.need("COMPUTE POOL", pool)
    session.need_schema(name.database, name.schema)
    if given.get("REPLICAS", "1") != "1":
        raise unsupported(f"REPLICAS = {given['REPLICAS']}: a job is one process here", __name__)
    for integration in items(given.get("EXTERNAL_ACCESS_INTEGRATIONS")):
        session.need("INTEGRATION", integration)
    warehouse = given.get("QUERY_WAREHOUSE")
    return Object("SERVICE", *name, owner=session.role, comment=given.get("COMMENT", ""), properties={
        "job": True, "compute_pool": identifiers.fold(pool), "status": "RUNNING", "ingress": False,
        "container": wanted.name, "image": wanted.image, "spec": wanted.text, "log": f"{folder.name}.log",
        "query_warehouse": session.need("WAREHOUSE", warehouse).name if warehouse else None,
        "async": flag(given, "ASYNC"), "message": "Running",
    })  # fmt: skip


def place_of(folder: Path, path: str) -> Path:
    """Where the process finds what the container would see at this path."""
    return Path(path) if Path(path).is_relative_to(folder) else folder / "files" / path.lstrip("/")


def own_variables(service: Object) -> dict[str, str]:
    """As Snowflake sets them in every container."""
    return {
        "SNOWFLAKE_ACCOUNT": "LOCAL_ACCOUNT", "SNOWFLAKE_DATABASE": service.database,
        "SNOWFLAKE_SCHEMA": service.schema, "SNOWFLAKE_SERVICE_NAME": service.name,
    }  # fmt: skip


def fill(session: Session, wanted: Specification, mounts: dict[str, Path], folder: Path) -> dict[str, dict]:
    """The folders of the volumes, with the stages' files; what is in each."""
    folder.mkdir(mode=0o700, parents=True)
    for path, source in wanted.volumes.items():
        mounts[path].mkdir(parents=True)
        if source:
            location = locate(session, source)
            inside = [file for file in location.files() if file.is_relative_to(location.target)]
            copy_all(inside, location.target, mounts[path])
    return {path: contents(place) for path, place in mounts.items()}


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Relative path -> (bytes, time of the last change) of the files below a folder."""
    files = [(file, file.stat()) for file in folder.rglob("*") if is_whole(file) and not file.is_symlink()]
    return {file.relative_to(folder).as_posix(): (found.st_size, found.st_mtime_ns) for file, found in files}


def introduce(container: Container, wanted: Specification) -> None:
    """The log's first line: what here is not as it would be in the account."""
    words = f"[local account] The image {wanted.image} is only a name here: the command runs on this machine."
    for path, place in container.paths.items():
        words += f" {path} is {place}."
    container.log.write_text(f"{words}\n")
    container.log.chmod(0o600)


# ---------------------------------------------------------------- waiting, ending


def finish(session: Session, name: Name, job: RunningJob) -> Result:
    """Wait for the job. Raises if it fails; a statement that is cancelled cancels its job."""
    try:
        wait(session, job)
    except SnowflakeError:
        job.cancel("CANCELLED")
        raise
    service = session.need("SERVICE", name)
    state = service.properties["status"]
    if state != "DONE":
        tail = last_lines(session, service, TAIL)
        text = f"Job {name.name} failed with status: {state}. {service.properties['message']} Last lines:\n{tail}"
        raise SnowflakeError(text, FAILED, "22000")
    return status(f"Job {name.name} completed successfully with status: DONE.")


def wait(session: Session, job: RunningJob, seconds: float | None = None) -> bool:
    """Whether the job's end was recorded within the time. Raises when the client cancels the statement."""
    until = None if seconds is None else dt.datetime.now() + dt.timedelta(seconds=seconds)
    while not job.ended.wait(LOOK_SECONDS):
        session.demand()
        if until and dt.datetime.now() >= until:
            return False
    return True


def settle(
    session: Session, service: Object, wanted: Specification, mounts: dict[str, Path], before: dict[str, dict],
    job: RunningJob, code: int,
) -> None:  # fmt: skip
    """Store what the container left on its volumes, then how it ended."""
    own = Session(session.account)
    try:
        try:
            for path, source in wanted.volumes.items():
                if source:
                    write_back(own, source, mounts[path], before[path])
        except (OSError, SnowflakeError) as error:
            return record_end(own, service, "FAILED", f"Its files could not be stored on their stage: {error}", code)
        if job.cancelled:
            return record_end(own, service, job.cancelled, f"The job was ended: {job.cancelled}.", code)
        if code:
            text = f"Encountered fatal error while running, check container logs. Exit code: {code}."
            return record_end(own, service, "FAILED", text, code)
        return record_end(own, service, "DONE", "Completed successfully", code)
    finally:
        own.close()


def write_back(session: Session, source: str, folder: Path, before: dict) -> None:
    """New and changed files go to the stage; those that were removed go from it."""
    target, after = locate(session, source).target, contents(folder)
    for name, about in after.items():
        if before.get(name) != about:
            copy_whole(folder / name, target / name)
    for name in before.keys() - after.keys():
        (target / name).unlink(missing_ok=True)


def record_end(session: Session, service: Object, state: str, message: str, code: int | None) -> None:
    with session.transaction.change(service.qualified):
        found = session.get("SERVICE", service.qualified)
        if found is None or found.properties.get("log") != service.properties["log"]:
            return  # dropped meanwhile
        ended = dt.datetime.now(dt.UTC).isoformat()
        found.properties |= {"status": state, "message": message, "exit_code": code, "completed_on": ended}
        session.put(found)


# ---------------------------------------------------------------- methods of a job


def wait_for(session: Session, s: Matched) -> Result:
    """Raises when the time is over, as Snowflake does."""
    service = session.need("SERVICE", s["job"])
    _, seconds = (*items(s["arguments"]), "600")[:2]
    job = session.account.jobs.get(str(service.qualified))
    if job and not wait(session, job, float(seconds)):
        raise SnowflakeError(f"Timed out after {seconds} s: {service.name} is still running.", FAILED + 1, "22000")
    state = session.need("SERVICE", s["job"]).properties["status"]
    return listing("SPCS_WAIT_FOR", [{"SPCS_WAIT_FOR": state}])


def cancel(session: Session, s: Matched) -> Result:
    service = session.need("SERVICE", s["job"])
    running = session.account.jobs.get(str(service.qualified)) is not None
    session.account.jobs.stop(str(service.qualified), "CANCELLED")
    words = "Job cancelled." if running else "The job has already ended."
    return listing("SPCS_CANCEL_JOB", [{"SPCS_CANCEL_JOB": words}])


STATEMENTS = [
    Statement(f"{JOB} SPECIFICATION <specification:body> [<after:rest>]", execute, "emulated"),
    Statement(f"{JOB} <stage:stage> SPECIFICATION_FILE = <file:string> [<after:rest>]", execute, "emulated"),
    Statement("CALL <job>!SPCS_WAIT_FOR <arguments:list>", wait_for),
    Statement("CALL <job>!SPCS_CANCEL_JOB ( )", cancel),
]

"""How a job's row is shown: its status, its container, its log, its place in the history."""

import datetime as dt
import json

from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.sql.sources import rows_query
from local_account.text.errors import SnowflakeError, unsupported

CONTAINER_COLUMNS = (
    "database_name schema_name service_name service_status instance_id instance_status container_name status message "
    "image_name image_digest restart_count# start_time last_exit_code#"
)
HISTORY = {
    "NAME": "VARCHAR", "DATABASE_NAME": "VARCHAR", "SCHEMA_NAME": "VARCHAR", "STATUS": "VARCHAR", "MESSAGE": "VARCHAR",
    "OWNER": "VARCHAR", "COMPUTE_POOL_NAME": "VARCHAR", "PARAMETERS": "JSON", "CREATED_TIME": "TIMESTAMPTZ",
    "COMPLETED_TIME": "TIMESTAMPTZ", "DELETED_TIME": "TIMESTAMPTZ",
}  # fmt: skip


def has_container(service: Object) -> bool:
    """Whether the service is a job with a container of its own; inference jobs have none."""
    return "container" in service.properties


def job_row(service: Object) -> dict:
    """What SHOW SERVICES prints of a job besides what it prints of every service."""
    given = service.properties
    return {
        "current_instances": int(given["status"] == "RUNNING"), "target_instances": 1, "min_instances": 1,
        "max_instances": 1, "auto_resume": "false", "spec": given["spec"], "updated_on": completed(service),
        "query_warehouse": given["query_warehouse"], "is_async_job": str(given["async"]).lower(),
    }  # fmt: skip


def completed(service: Object) -> dt.datetime | None:
    text = service.properties.get("completed_on")
    return dt.datetime.fromisoformat(text) if text else None


def container_row(service: Object) -> dict:
    """One line of SHOW SERVICE CONTAINERS, also of SHOW SERVICE INSTANCES."""
    given = service.properties
    return {
        "database_name": service.database, "schema_name": service.schema, "service_name": service.name,
        "service_status": given["status"], "instance_id": "0", "instance_status": given["status"],
        "container_name": given["container"], "status": given["status"], "message": given["message"],
        "image_name": given["image"], "image_digest": None, "restart_count": 0,
        "start_time": service.created_on.isoformat(), "last_exit_code": given.get("exit_code"),
    }  # fmt: skip


def job_status(service: Object) -> str:
    """The answer of SYSTEM$GET_SERVICE_STATUS."""
    row = container_row(service)
    return json.dumps([{
        "status": row["status"], "message": row["message"], "containerName": row["container_name"],
        "instanceId": "0", "serviceName": service.name, "image": row["image_name"], "restartCount": 0,
        "startTime": row["start_time"],
    }])  # fmt: skip


def job_log(session: Session, service: Object, instance: str, container: str, lines: int) -> str:
    """Raises for an instance or a container that the job has not."""
    own = service.properties["container"]
    if instance != "0" or container not in ("", own):
        text = (
            f"Service {service.name} has no container {container} in instance {instance}; it has {own} in instance 0."
        )
        raise SnowflakeError(text, 395005, "22023")
    return last_lines(session, service, lines)


def last_lines(session: Session, service: Object, lines: int) -> str:
    log = session.account.root / "logs" / service.properties["log"]
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


def history(session: Session, arguments: list[str]) -> str:
    """TABLE(SNOWFLAKE.SPCS.GET_JOB_HISTORY()): jobs with a container, the latest first."""
    if arguments:
        raise unsupported(f"GET_JOB_HISTORY with {', '.join(arguments)}", __name__)
    jobs = [service for service in session.find("SERVICE") if has_container(service)]
    jobs.sort(key=lambda service: service.created_on, reverse=True)
    rows = [
        (job.name, job.database, job.schema, job.properties["status"], job.properties["message"], job.owner,
         job.properties["compute_pool"], '{"REPLICAS":1}', job.created_on.isoformat(),
         job.properties.get("completed_on"), None)
        for job in jobs
    ]  # fmt: skip
    return rows_query(rows, HISTORY)


TABLE_FUNCTIONS = {"GET_JOB_HISTORY": history}

"""The model service: which version it runs, its state and log, and a client for its public endpoint."""

import os
from pathlib import Path

import pandas as pd
from snowflake.ml.model import ModelVersion
from snowflake.snowpark import Session
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from cxr.account.readiness import holds
from cxr.account.session import SERVICE_TOKEN, is_local
from cxr.serving.rest_client import ServiceClient

PROVISIONING_SECONDS = 600.0  # Snowflake takes two to five minutes
STARTING_SECONDS = 1800.0  # a node may have to start, and to fetch an image of several GB


def runs_version(service: str, version: ModelVersion) -> bool:
    """Whether the service (full name) exists and runs this version."""
    services = version.list_services()
    return not services.empty and service in set(services["name"])


def may_open_endpoint(session: Session) -> bool:
    """Whether a service of the active role may have a public endpoint. If not, Snowflake creates no service that asks
    for one. The local account knows no privileges."""
    return is_local(session) or holds(session, "BIND SERVICE ENDPOINT")


def service_state(session: Session, service: str, lines: int = 20) -> tuple[pd.DataFrame, str]:
    """The containers of a service with their status, and the last `lines` of the first container's log.

    A service that is suspended or pending has no container: Snowflake shows its status alone, and there is no log.
    """
    rows = _containers(session, service)
    shown = rows[["service_name", "service_status", "instance_id", "container_name", "status", "message"]]
    first = rows.iloc[0]
    if pd.isna(first["instance_id"]):
        return shown, ""
    place = f"'{service}', '{first['instance_id']}', '{first['container_name']}'"
    return shown, session.sql(f"SELECT SYSTEM$GET_SERVICE_LOGS({place}, {lines})").collect()[0][0]


def wait_until_ready(session: Session, service: str, seconds: float = STARTING_SECONDS) -> None:
    """Wait until all containers of a service that was created or resumed can answer.

    Raises:
        RuntimeError: the service failed, or is not ready after so many seconds.
    """
    waiting = Retrying(
        retry=retry_if_result(lambda rows: not _is_ready(rows) and not _has_failed(rows)),
        wait=wait_exponential(multiplier=0.25, max=15),
        stop=stop_after_delay(seconds),
        retry_error_callback=lambda state: state.outcome.result(),
    )
    rows = waiting(lambda: _containers(session, service))
    if not _is_ready(rows):
        when = "" if _has_failed(rows) else f" after {seconds:.0f} s"
        said = "; ".join(rows["message"].dropna()) or "Snowflake says no more"
        raise RuntimeError(
            f"{service} is {rows.iloc[0]['service_status']}{when}: {said}. Look at its events and at its compute pool "
            f"(DESCRIBE SERVICE {service}; SHOW COMPUTE POOLS), then run this cell again"
        )


def _containers(session: Session, service: str) -> pd.DataFrame:
    rows = session.sql(f"SHOW SERVICE CONTAINERS IN SERVICE {service}").to_pandas()
    return rows.rename(columns=lambda name: name.strip('"'))


def _is_ready(rows: pd.DataFrame) -> bool:
    return len(rows) > 0 and bool((rows["status"] == "READY").all())


def _has_failed(rows: pd.DataFrame) -> bool:
    return bool(rows["service_status"].isin(("FAILED", "INTERNAL_ERROR", "DELETING", "DELETED")).any())


def wait_for_address(session: Session, service: str, seconds: float = PROVISIONING_SECONDS) -> str:
    """The host name of the service's public endpoint. A new endpoint has none for some minutes: until then Snowflake
    shows a sentence in its place.

    Raises:
        LookupError: there is no public endpoint, or after so many seconds it has no address yet.
    """
    waiting = Retrying(
        retry=retry_if_result(lambda shown: " " in shown),
        wait=wait_exponential(multiplier=0.25, max=15),
        stop=stop_after_delay(seconds),
        retry_error_callback=lambda state: state.outcome.result(),
    )
    shown = waiting(lambda: _shown_address(session, service))
    if " " in shown:
        raise LookupError(f"the endpoint of {service} has no address after {seconds:.0f} s: {shown}")
    return shown


def _shown_address(session: Session, service: str) -> str:
    endpoints = session.sql(f"SHOW ENDPOINTS IN SERVICE {service}").collect()
    addresses = [row["ingress_url"] for row in endpoints if row["ingress_url"]]
    if not addresses:
        raise LookupError(
            f"{service} has no public endpoint, because the role that created it lacked BIND SERVICE ENDPOINT "
            "(notebook 01 prints the statement). Grant it, drop the service, and create it again"
        )
    return addresses[0]


def connect_client(session: Session, service: str, token_file: str = "") -> ServiceClient:
    """A REST client of a running service.

    Args:
        token_file: a file with a programmatic access token, such as a mounted secret. Without it, the token is in the
            environment variable `CXR_SERVICE_TOKEN`.

    Raises:
        LookupError: there is no public endpoint, it has no address yet, or there is no token; the message says what to
            do.
        OSError: the file cannot be read.
    """
    address = wait_for_address(session, service)
    token = Path(token_file).read_text().strip() if token_file else os.environ.get(SERVICE_TOKEN)
    if not token:
        raise LookupError(
            f"no token: put a programmatic access token into the environment variable {SERVICE_TOKEN}, or name the "
            "file that holds it (setting service_token_file). Snowflake accepts a person's token only where a network "
            "policy applies to that person (docs/operations.md, A token for REST)"
        )
    return ServiceClient(address, token)

"""The model service: which version it runs, its state and log, and a client for its public endpoint."""

import os
from pathlib import Path

import pandas as pd
from snowflake.ml.model import ModelVersion
from snowflake.snowpark import Session
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from cxr.account.session import SERVICE_TOKEN
from cxr.serving.rest_client import ServiceClient

PROVISIONING_SECONDS = 600.0  # Snowflake takes two to five minutes


def runs_version(service: str, version: ModelVersion) -> bool:
    """Whether the service (full name) exists and runs this version."""
    services = version.list_services()
    return not services.empty and service in set(services["name"])


def service_state(session: Session, service: str, lines: int = 20) -> tuple[pd.DataFrame, str]:
    """The containers of a service with their status, and the last `lines` of the first container's log."""
    rows = session.sql(f"SHOW SERVICE CONTAINERS IN SERVICE {service}").to_pandas()
    rows.columns = [name.strip('"') for name in rows.columns]
    first = rows.iloc[0]
    place = f"'{service}', '{first['instance_id']}', '{first['container_name']}'"
    log = session.sql(f"SELECT SYSTEM$GET_SERVICE_LOGS({place}, {lines})").collect()[0][0]
    return rows[["service_name", "instance_id", "container_name", "status", "message"]], log


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
        raise LookupError(f"{service} has no public endpoint: create it with ingress_enabled=True")
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

"""`connect()`: a Snowpark session, in Snowflake, on a named connection, or on the local account."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from snowflake.snowpark import Session
from snowflake.snowpark.context import get_active_session
from snowflake.snowpark.exceptions import SnowparkSessionException, SnowparkSQLException

from cxr.account.container import container_login
from cxr.settings import Settings, load

SERVICE_TOKEN = "CXR_SERVICE_TOKEN"
PROJECT = Path(__file__).resolve().parents[3]


def connect(connection_name: str | None = None, settings: Settings | None = None) -> Session:
    """A Snowpark session in the project's database and schema if they exist, with the engineer's role if it owns them,
    and with a warehouse that this role may use.

    The first of these is taken: the connection `connection_name` of `connections.toml`; the active session (inside
    Snowflake); the connection named by the environment variable `CXR_CONNECTION`; the account that runs this
    container; the local account, which is started if it is not running.

    Raises:
        RuntimeError: the local account cannot be started; the message has the reason.
        snowflake.connector.errors.Error: the connection is refused or unknown.
    """
    settings = settings or load()
    session = None if connection_name else _active_session()
    if session is None:
        name = connection_name or os.environ.get("CXR_CONNECTION")
        found = {"connection_name": name} if name else container_login() or start_local_account(settings)
        session = Session.builder.configs(found).create()
    use_owner(session, settings)
    use_warehouse(session, settings)
    use_schema(session, settings)
    return session


def use_owner(session: Session, settings: Settings) -> None:
    """Switch to the engineer's role if it owns the database; print a hint if this user may not use that role.

    A code bundle starts with its user's default role. Objects created by another role than the engineer's would not be
    visible to the app, which the engineer's role owns.
    """
    owners = {row["owner"] for row in session.sql(f"SHOW DATABASES LIKE '{settings.database}'").collect()}
    wanted = settings.engineer_role.upper()
    if wanted in owners and session.sql("SELECT CURRENT_ROLE()").collect()[0][0] != wanted:
        try:
            session.sql(f"USE ROLE {wanted}").collect()
        except SnowparkSQLException:
            print(f"{settings.database} belongs to {wanted}, which you may not use: GRANT ROLE {wanted} TO USER ...")


def use_warehouse(session: Session, settings: Settings) -> None:
    """Use the project's warehouse if the session's role may not use the present one, or there is none.

    A connection starts with its user's default warehouse, on which the engineer's role need not have any right; queries
    then fail (error 606). Nothing is done where the role may use neither; notebook 01 says what is missing.
    """
    usable = {row["name"] for row in session.sql("SHOW WAREHOUSES").collect()}
    present, wanted = (session.get_current_warehouse() or "").strip('"'), settings.warehouse.upper()
    if present not in usable and wanted in usable:
        session.sql(f"USE WAREHOUSE {wanted}").collect()


def use_schema(session: Session, settings: Settings) -> bool:
    """Use the project's schema. Returns False if it does not exist yet (notebook 01 creates it)."""
    exists = session.sql(f"SHOW DATABASES LIKE '{settings.database}'").collect()
    if exists and session.sql(f"SHOW SCHEMAS LIKE '{settings.schema}' IN DATABASE {settings.database}").collect():
        session.use_database(settings.database)
        session.use_schema(settings.schema)
        return True
    return False


def is_local(session: Session) -> bool:
    """Whether the session is one on the local account."""
    return session.connection.host in ("127.0.0.1", "localhost", "::1")


def account_directory(settings: Settings) -> Path:
    """The folder of the local account."""
    return Path(settings.account_dir or PROJECT / ".account").resolve()


def start_local_account(settings: Settings) -> dict[str, object]:
    """Start the local account, a separate process, unless it is running. Returns its connection parameters.

    Raises:
        RuntimeError: it did not start; the message has its error output.
    """
    command = [sys.executable, "-m", "local_account", "start", "--root", str(account_directory(settings))]
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "lib")}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    if answer.returncode:
        raise RuntimeError(f"The local account did not start: {answer.stderr.strip() or 'no message'}")
    found = json.loads(answer.stdout)
    # As in Snowflake: a programmatic access token serves as password and authorises calls of service endpoints.
    os.environ[SERVICE_TOKEN] = found["password"]
    wanted = ("account", "user", "password", "host", "port", "protocol")
    return {key: found[key] for key in wanted} | {
        "warehouse": settings.warehouse,
        # Without a timeout, a client retries for ever after the account has stopped, even while Python exits.
        "network_timeout": 120,
        "session_parameters": {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
    }


def environment_line(session: Session) -> str:
    """Account, role, package versions and, if PyTorch is imported, the device: one line for the head of a notebook."""
    place = session.sql("SELECT CURRENT_ACCOUNT(), CURRENT_VERSION(), CURRENT_ROLE()").collect()[0]
    parts = [f"Snowflake {place[1]} on account {place[0]} as {place[2]}", f"Python {platform.python_version()}"]
    parts += [f"{name} {version(name)}" for name in ("torch", "snowflake-ml-python")]
    # Importing PyTorch for this line alone would take seconds.
    if torch := sys.modules.get("torch"):
        gpu = torch.cuda.is_available()
        parts.append(torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads")
    return " | ".join(parts)


def _active_session() -> Session | None:
    try:
        return get_active_session()
    except SnowparkSessionException:
        return None

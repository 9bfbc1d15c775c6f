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

from cxr.settings import Settings, load

SERVICE_TOKEN = "CXR_SERVICE_TOKEN"
PROJECT = Path(__file__).resolve().parents[3]


def connect(connection_name: str | None = None, settings: Settings | None = None) -> Session:
    """A Snowpark session that stands in this project's database and schema where they exist, in the engineer's role
    where that role owns them.

    The connection of that name in `connections.toml`; without a name the active session, as inside Snowflake; else the
    connection that `CXR_CONNECTION` names; else the local account, started if it is not running.

    Raises:
        RuntimeError: the local account cannot be started; says why.
        snowflake.connector.errors.Error: the connection is refused or unknown.
    """
    settings = settings or load()
    session = None if connection_name else _active_session()
    if session is None:
        name = connection_name or os.environ.get("CXR_CONNECTION")
        session = Session.builder.configs({"connection_name": name} if name else start_local_account(settings)).create()
    use_owner(session, settings)
    use_schema(session, settings)
    return session


def use_owner(session: Session, settings: Settings) -> None:
    """Take the engineer's role where it owns the database; says so where this user may not.

    A code bundle runs with its user's default role. What is made in another role is not the engineer's, and the app,
    which is, could not use it.
    """
    owners = {row["owner"] for row in session.sql(f"SHOW DATABASES LIKE '{settings.database}'").collect()}
    wanted = settings.engineer_role.upper()
    if wanted in owners and session.sql("SELECT CURRENT_ROLE()").collect()[0][0] != wanted:
        try:
            session.sql(f"USE ROLE {wanted}").collect()
        except SnowparkSQLException:
            print(f"{settings.database} belongs to {wanted}, which you may not use: GRANT ROLE {wanted} TO USER ...")


def use_schema(session: Session, settings: Settings) -> bool:
    """Stand in the project's schema; False where it does not exist yet (notebook 01 makes it)."""
    exists = session.sql(f"SHOW DATABASES LIKE '{settings.database}'").collect()
    if exists and session.sql(f"SHOW SCHEMAS LIKE '{settings.schema}' IN DATABASE {settings.database}").collect():
        session.use_database(settings.database)
        session.use_schema(settings.schema)
        return True
    return False


def account_directory(settings: Settings) -> Path:
    return Path(settings.account_dir or PROJECT / ".account").resolve()


def start_local_account(settings: Settings) -> dict[str, object]:
    """Connection parameters of the local account, which is a program of its own; started if it is not running.

    Raises:
        RuntimeError: it did not start; carries what it said.
    """
    command = [sys.executable, "-m", "local_account", "start", "--root", str(account_directory(settings))]
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "lib")}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    if answer.returncode:
        raise RuntimeError(f"The local account did not start: {answer.stderr.strip() or 'no message'}")
    found = json.loads(answer.stdout)
    # As in Snowflake, where a programmatic access token is a password and opens service endpoints too.
    os.environ[SERVICE_TOKEN] = found["password"]
    wanted = ("account", "user", "password", "host", "port", "protocol")
    return {key: found[key] for key in wanted} | {
        "warehouse": settings.warehouse,
        # Without it a client whose account has ended asks on for ever, even while Python ends.
        "network_timeout": 120,
        "session_parameters": {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
    }


def environment_line(session: Session) -> str:
    """What runs where, in one line, for the head of each notebook; names the device where PyTorch is in use."""
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

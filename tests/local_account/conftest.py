"""One account for all tests of this folder; each test module gets a database of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from snowflake.snowpark import Session


def local_account(command: str, root: Path, *options: str) -> subprocess.CompletedProcess:
    """Run ``python -m local_account COMMAND --root ROOT``."""
    line = [sys.executable, "-m", "local_account", command, "--root", str(root), *options]
    return subprocess.run(line, capture_output=True, text=True, timeout=60)


def start(root: Path, *options: str) -> dict:
    """Start the account and return what a client needs to connect, and the server's pid."""
    done = local_account("start", root, *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kill(pid: int, how: signal.Signals = signal.SIGKILL) -> None:
    """End a process, and wait until it has ended."""
    process = psutil.Process(pid)
    os.kill(pid, how)
    process.wait(timeout=20)


def open_session(account: dict, **more: str) -> Session:
    given = {key: account[key] for key in ("account", "user", "password", "host", "port", "protocol")}
    given["session_parameters"] = {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False}
    given["network_timeout"] = 120  # seconds; by default a client asks a killed server for ever
    return Session.builder.configs({**given, **more}).create()


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    root = tmp_path_factory.mktemp("account")
    info = start(root)
    yield {**info, "root": root}
    local_account("stop", root)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The folder of an account of its own, for a test that starts and ends servers."""
    yield tmp_path / "account"
    local_account("stop", tmp_path / "account")


@pytest.fixture(scope="session")
def tracking(account: dict) -> Iterator:
    """ExperimentTracking is one object a process, so one session serves all tests of it. It is ``tracking.session``."""
    from snowflake.ml.experiment import ExperimentTracking

    session = open_session(account)
    session.sql("CREATE DATABASE EXPERIMENTS").collect()
    made = ExperimentTracking(session, database_name="EXPERIMENTS", schema_name="PUBLIC")
    made.session = session
    yield made
    session.close()


@pytest.fixture(scope="module")
def connect(account: dict, request: pytest.FixtureRequest) -> Iterator[Callable[..., Session]]:
    """Open further sessions on the module's database."""
    database = request.module.__name__.rsplit(".", 1)[-1].upper()
    opened: list[Session] = []

    def new(**more: str) -> Session:
        opened.append(open_session(account, database=database, schema="PUBLIC", **more))
        return opened[-1]

    setup = open_session(account)
    setup.sql(f"CREATE OR REPLACE DATABASE {database}").collect()
    setup.close()
    yield new
    for session in opened:
        session.close()


@pytest.fixture(scope="module")
def session(connect: Callable[..., Session]) -> Session:
    return connect()


@pytest.fixture
def query(session: Session) -> Callable[..., list[tuple]]:
    """Run SQL and return plain tuples."""
    return lambda sql, params=None: [tuple(row) for row in session.sql(sql, params=params).collect()]

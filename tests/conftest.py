"""What several test folders share."""

import atexit
import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from snowflake.snowpark.session import _active_sessions, _remove_session
from xdist.scheduler import LoadFileScheduling

LONGEST = (
    "test_browser.py", "test_deploy_again.py", "test_rerun.py", "test_run.py", "test_nodes.py",
    "test_train_job.py", "test_ingest.py", "test_flood.py", "test_any_labels.py", "test_durability.py",
    "test_deploy.py", "test_staged_images.py", "test_patient_ids.py", "test_scoring_job.py", "test_registry.py",
    "test_promotion.py", "test_landing.py", "test_external_evaluation.py", "test_forgetting.py",
    "test_impostor.py", "test_process.py", "test_limits.py", "test_distributed.py", "test_trainer.py",
    "test_clients.py", "test_scripts.py", "test_functions.py", "test_resume.py",
)  # fmt: skip
CLI = Path(__file__).resolve().parents[1] / ".venv-cli" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
# The CLI's own entry point. Each call is a process, and a copy of one that has its imports, which take seconds.
SNOW = """
import json, os, signal, sys
from snowflake.cli._app.__main__ import main

for line in sys.stdin:
    folder, stdout, stderr, *arguments = json.loads(line)
    child = os.fork()
    if not child:
        signal.alarm(120)  # seconds
        os.chdir(folder)
        for number, path in enumerate((stdout, stderr), 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["snow", *arguments]
        sys.exit(main())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
WORKER = "PYTEST_XDIST_WORKER" in os.environ
if WORKER:
    gc.disable()
    atexit.register(os._exit, 0)  # registered first, it runs last: taking down so many modules would take seconds


def pytest_sessionfinish(exitstatus: int) -> None:
    """Registered last, this runs first: connections that tests left open would wait for accounts that were killed."""
    atexit.register(_leave, int(exitstatus))


def _leave(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


@pytest.fixture(autouse=True, scope="module")
def telemetry_asks_no_killed_server() -> None:
    """The ML client's telemetry asks the first connection it saw or any session: for ever if its server is gone.

    Some tests kill servers whose sessions they cannot close.
    """
    telemetry = sys.modules.get("snowflake.ml._internal.telemetry")
    if telemetry is None:
        return
    telemetry._conn = None
    for session in list(_active_sessions):
        connection = session.connection
        try:
            socket.create_connection((connection.host, int(connection.port)), timeout=1).close()
        except OSError:
            _remove_session(session)


def pytest_collection_finish() -> None:
    """What was imported stays. Looking for waste among it takes a tenth of the time of all tests."""
    if WORKER:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that keep a worker longest come first, so that no worker has one of them left in the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


class ByFile(LoadFileScheduling):
    """A file's tests stay on one worker; all tests of the app too, because filling their account takes a while."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "tests/app" if file.startswith("tests/app/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


@pytest.fixture(scope="session")
def snow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.CompletedProcess]]:
    """Run the Snowflake CLI: ``snow("sql", "-q", "SELECT 1", home=FOLDER)`` with the connections.toml of a folder."""
    if not CLI.is_file():
        pytest.skip("the Snowflake CLI is not installed: `python3 ci test` installs it")
    drivers: dict[Path, subprocess.Popen] = {}
    files = [tmp_path_factory.mktemp("snow") / name for name in ("stdout", "stderr")]

    def run(*arguments: str, home: Path, cwd: Path | None = None) -> subprocess.CompletedProcess:
        if home not in drivers:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            environment = {**os.environ, "SNOWFLAKE_HOME": str(home)}
            drivers[home] = subprocess.Popen([CLI, "-c", SNOW], env=environment, text=True, **pipes)
        driver = drivers[home]
        print(json.dumps([str(cwd or home), *map(str, files), *arguments]), file=driver.stdin, flush=True)
        code = int(driver.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, *(file.read_text() for file in files))

    yield run
    for driver in drivers.values():
        driver.communicate(timeout=60)


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests leave nothing in the user's cache, and find nothing there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def no_tracker_of_another_account() -> Iterator[None]:
    """ExperimentTracking is one object a process, bound to the first session; here each folder has its own account."""
    yield
    if module := sys.modules.get("snowflake.ml.experiment"):
        module.ExperimentTracking._instance = None

"""What several test folders share."""

import atexit
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

LONGEST = ("test_run.py", "test_registry.py", "test_browser.py", "test_deploy.py", "test_durability.py")
CLI = Path(__file__).resolve().parents[1] / ".venv-cli"
gc.disable()


def pytest_collection_finish() -> None:
    """What was imported stays. Looking for waste among it takes a tenth of the time of all tests."""
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)


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
def snow() -> Callable[..., subprocess.CompletedProcess]:
    """Run the Snowflake CLI: ``snow("sql", "-q", "SELECT 1", home=FOLDER)`` with the connections.toml of a folder."""
    program = shutil.which("snow", path=os.pathsep.join([str(CLI / "bin"), str(CLI / "Scripts"), os.environ["PATH"]]))
    if program is None:
        pytest.skip("the Snowflake CLI is not installed: `python3 ci test` installs it")

    def run(*arguments: str, home: Path, cwd: Path | None = None) -> subprocess.CompletedProcess:
        environment = {**os.environ, "SNOWFLAKE_HOME": str(home)}
        return subprocess.run(
            [program, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=120
        )

    return run


@pytest.fixture(scope="module", autouse=True)
def no_tracker_of_another_account() -> Iterator[None]:
    """ExperimentTracking is one object a process, bound to the first session; here each folder has its own account."""
    yield
    if module := sys.modules.get("snowflake.ml.experiment"):
        module.ExperimentTracking._instance = None

"""What several test folders share."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FIRST = ("notebooks/test_run.py", "cxr", "app", "local_account")
CLI = Path(__file__).resolve().parents[1] / ".venv-cli"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What stays together on one worker: a folder's tests on its account, else a file. The longest come first, so
    that no worker has one of them left in the end."""
    on_account = {item.path for item in items if "account" in item.fixturenames}
    for item in items:
        place = item.path.relative_to(Path(__file__).parent)
        group = (place.parent if item.path in on_account else place).as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
    groups = [item.get_closest_marker("xdist_group").args[0] for item in items]
    places = {group: FIRST.index(group) if group in FIRST else len(FIRST) for group in groups}
    items.sort(key=lambda item: places[item.get_closest_marker("xdist_group").args[0]])


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

"""The environments of `python3 ci`: one for each Python and set of versions; the oldest are those stated."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = runpy.run_path(str(ROOT / "ci" / "environment.py"))
choose = ENVIRONMENT["choose"]


@pytest.mark.parametrize(
    ("python", "oldest", "folder"),
    [
        ((3, 11), False, ".venv"),
        ((3, 12), False, ".venv-3.12"),
        ((3, 13), False, ".venv-3.13"),
        ((3, 11), True, ".venv-3.11-oldest"),
        ((3, 12), True, ".venv-3.12-oldest"),
    ],
)
def test_each_python_and_set_of_versions_has_a_folder_of_its_own(python, oldest, folder):
    chosen = choose(python, oldest)
    assert chosen.folder == ROOT / folder
    assert chosen.constraints.name == ("constraints-oldest.txt" if oldest else "constraints.txt")
    assert chosen.definition != choose(python, not oldest).definition


def pins(name: str) -> dict[str, Version]:
    lines = (ROOT / "ci" / name).read_text().splitlines()
    return {re.sub(r"[-_.]+", "-", n).lower(): Version(v) for n, v in (s.split("==") for s in lines if "==" in s)}


def test_what_the_oldest_versions_python_starts_stays_with_them(monkeypatch):
    oldest, entered, enter = choose(oldest=True), [], ENVIRONMENT["enter"]
    monkeypatch.setattr(sys, "prefix", str(oldest.folder))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(enter.__globals__, "_install", entered.append)
    monkeypatch.setattr(os, "execv", lambda *given: pytest.fail(f"left for {given[0]}"))
    enter()
    assert entered in ([], [oldest])


@pytest.fixture
def half_made(tmp_path):
    """An environment whose making ended before pip was in it, as on a Debian without python3-venv."""
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("")
    found = ENVIRONMENT["Environment"](tmp_path / ".venv", constraints)
    venv.create(found.folder, with_pip=False)
    return found


def test_an_environment_that_was_half_made_gets_pip_and_keeps_what_is_in_it(half_made):
    own = half_made.folder / "own.txt"
    own.touch()
    ENVIRONMENT["create"](half_made)
    assert subprocess.call([half_made.python, "-m", "pip", "--version"]) == 0
    assert own.exists()
    shutil.rmtree(next(half_made.folder.rglob("pip/_internal")))
    ENVIRONMENT["create"](half_made)
    assert subprocess.call([half_made.python, "-m", "pip", "--version"]) == 0, "a broken one is made anew"


def test_without_ensurepip_a_sentence_names_what_to_install(half_made, monkeypatch):
    def fails(folder, **options):
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(venv, "create", fails)
    with pytest.raises(SystemExit, match=r"python3-venv"):
        ENVIRONMENT["create"](half_made)


def test_windows_waits_for_the_job_and_ends_with_its_code(monkeypatch):
    """There `os.execv` returns to the shell at once, and splits arguments that contain spaces."""
    hand_over, called = ENVIRONMENT["hand_over"], []
    monkeypatch.setitem(hand_over.__globals__, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(subprocess, "call", lambda line: called.append(line) or 3)
    with pytest.raises(SystemExit) as ended:
        hand_over(["python.exe", "ci", "score", "--data", "C:/My X-rays"])
    assert ended.value.code == 3 and called == [["python.exe", "ci", "score", "--data", "C:/My X-rays"]]


def test_the_oldest_versions_are_those_that_the_project_states():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounds = {r.name: min(s.version for s in r.specifier) for r in map(Requirement, stated) if r.specifier}
    assert {"torch", "torchvision", "numpy", "pandas", "snowflake-ml-python", "snowflake-snowpark-python"} <= {*bounds}
    oldest, newest = pins("constraints-oldest.txt"), pins("constraints.txt")
    for name, bound in bounds.items():
        assert oldest[name].release[: len(Version(bound).release)] == Version(bound).release, name
        assert oldest[name] <= newest[name], name


def test_the_workflow_tests_every_python_that_the_platform_has_and_the_oldest_versions():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert 'python: ["3.11", "3.12", "3.13"]' in workflow and "python3 ci test --oldest" in workflow


def test_installing_shows_packages_but_never_the_index_that_they_come_from():
    said = """Looking in indexes: https://user:secret@index.example/pypi
Collecting torch==2.14.1 (from cxr==0.1.0)
  Downloading https://index.example/files/torch-2.14.1-cp311.whl (800.1 MB)
Installing collected packages: numpy, torch"""
    shown = [words for line in said.splitlines() if (words := ENVIRONMENT["progress_of"](line))]
    assert shown[0] == "torch" and shown[1].startswith("installing 2 packages") and len(shown) == 2

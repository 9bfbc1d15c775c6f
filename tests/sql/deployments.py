"""`python3 ci deploy` as a process, on an account of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(place: Path, *command: str, **variables: str) -> subprocess.CompletedProcess:
    """A Python command whose account, cache and connections lie in `place`."""
    own = {
        "CXR_ACCOUNT_DIR": str(place / "account"),
        "CXR_CACHE_DIR": str(place / "cache"),
        "SNOWFLAKE_HOME": str(place),
        "PYTHONPATH": str(ROOT / "lib"),
        "CXR_WEIGHTS": "random",
    }
    line = [sys.executable, *command]
    return subprocess.run(line, env=os.environ | own | variables, cwd=place, capture_output=True, text=True)


def deploy(place: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return run(place, str(ROOT / "ci"), "deploy", *arguments, **variables)


def stop(place: Path) -> None:
    command = [sys.executable, "-m", "local_account", "stop", "--root", str(place / "account")]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT / "lib")}, check=True)

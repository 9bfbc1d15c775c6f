"""The virtual environment: made once, reused while nothing that defines it has changed."""

import hashlib
import os
import platform
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv"
STAMP = FOLDER / "cxr-stamp"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def enter() -> None:
    """Go on in the project's environment; installs it first where it is missing or out of date."""
    wanted = _definition()
    current = STAMP.read_text() if STAMP.exists() else ""
    if current != wanted:
        _install(wanted)
    # On a busy machine, OpenMP threads that spin while they wait slow PyTorch down by a factor of up to nine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if Path(sys.prefix).resolve() != FOLDER.resolve():
        sys.stdout.flush()
        os.execv(PYTHON, [str(PYTHON), str(ROOT / "ci"), *sys.argv[1:]])


def _definition() -> str:
    parts = [platform.python_version(), str(ROOT)]
    parts += [(ROOT / name).read_text() for name in ("pyproject.toml", "ci/constraints.txt")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _install(wanted: str) -> None:
    print(f"Installing the environment into {FOLDER.name}/ (some minutes the first time, several GB) ...", flush=True)
    if not PYTHON.exists():
        venv.create(FOLDER, with_pip=True)
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "-q"]
    command += ["-c", str(ROOT / "ci" / "constraints.txt"), "-e", f"{ROOT}[local,test]"]
    print("  " + " ".join(command).replace(str(ROOT), "."), flush=True)
    # pip's warnings name where it looked for packages, which is nobody's business in a log.
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"pip could not install the environment (exit code {done.returncode}):\n{done.stderr}")
    STAMP.write_text(wanted)
    print("The environment is ready.", flush=True)

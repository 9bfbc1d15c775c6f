"""The virtual environment: created once, and again when the files that define it change."""

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
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
PYTHON = FOLDER / SCRIPTS / ("python.exe" if os.name == "nt" else "python")
CLI_FOLDER = ROOT / ".venv-cli"
CLI_PINS = ROOT / "ci" / "constraints-cli.txt"


def enter() -> None:
    """Continue in the project's environment. Installs it first if it is missing or out of date."""
    wanted = _definition()
    current = STAMP.read_text() if STAMP.exists() else ""
    if current != wanted:
        _install(wanted)
    # On a busy machine, OpenMP threads that wait actively slow PyTorch down, by up to nine times.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.path.append(str(ROOT))  # benchmarks and endurance checks share helpers with the tests
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
    # stderr is captured, because pip's warnings name the package index, which may be private.
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"pip could not install the environment (exit code {done.returncode}):\n{done.stderr}")
    STAMP.write_text(wanted)
    print("The environment is ready.", flush=True)


def install_cli() -> None:
    """Install the Snowflake CLI in an environment of its own, because it pins other versions of the Snowflake clients.

    Tests that need it are skipped if this fails.
    """
    stamp, wanted = CLI_FOLDER / "cxr-stamp", CLI_PINS.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Installing the Snowflake CLI into {CLI_FOLDER.name}/ (a minute, 200 MB) ...", flush=True)
    venv.create(CLI_FOLDER, with_pip=True)
    command = [str(CLI_FOLDER / SCRIPTS / PYTHON.name), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    done = subprocess.run([*command, "-r", str(CLI_PINS)], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"pip could not install the Snowflake CLI, so its tests will be skipped:\n{done.stderr}", flush=True)
        return
    stamp.write_text(wanted)

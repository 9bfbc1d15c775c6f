"""The virtual environments: each is created once, and again when the files that define it change."""

import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
PYTHON = "python.exe" if os.name == "nt" else "python"
_SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
CLI_FOLDER = ROOT / ".venv-cli"
CLI_PINS = ROOT / "ci" / "constraints-cli.txt"


@dataclass(frozen=True)
class Environment:
    """One virtual environment for each Python and set of versions, so that none replaces another."""

    folder: Path
    constraints: Path

    @property
    def python(self) -> Path:
        return self.folder / SCRIPTS / PYTHON

    @property
    def stamp(self) -> Path:
        return self.folder / "cxr-stamp"

    @property
    def definition(self) -> str:
        parts = [platform.python_version(), str(ROOT), (ROOT / "pyproject.toml").read_text()]
        return hashlib.sha256("\0".join([*parts, self.constraints.read_text()]).encode()).hexdigest()


def choose(python: tuple[int, int] = sys.version_info[:2], oldest: bool = False) -> Environment:
    """`.venv` for Python 3.11 and the newest versions, else `.venv-3.12`, `.venv-3.11-oldest` and so on."""
    parts = ["" if python == (3, 11) and not oldest else "{}.{}".format(*python), "oldest" if oldest else ""]
    name = "-".join([".venv", *filter(None, parts)])
    return Environment(ROOT / name, ROOT / "ci" / ("constraints-oldest.txt" if oldest else "constraints.txt"))


def enter(oldest: bool = False) -> None:
    """Continue in the environment for this Python. Installs it first if it is missing or out of date.

    Args:
        oldest: the one with the oldest versions that the library works with.
    """
    # What a test starts with the oldest versions' Python stays with them.
    inside = Path(sys.prefix).resolve() == choose(oldest=True).folder.resolve()
    chosen = choose(oldest=oldest or inside)
    if not chosen.stamp.exists() or chosen.stamp.read_text() != chosen.definition:
        _install(chosen)
    # On a busy machine, OpenMP threads that wait actively slow PyTorch down, by up to nine times.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.path.append(str(ROOT))  # benchmarks and endurance checks share helpers with the tests
    if Path(sys.prefix).resolve() != chosen.folder.resolve():
        sys.stdout.flush()
        hand_over([str(chosen.python), str(ROOT / "ci"), *sys.argv[1:]])


def hand_over(line: list[str]) -> None:
    """Continue as this command. Does not return."""
    if os.name == "nt":  # os.execv returns to the shell at once there, and splits arguments that contain spaces
        sys.exit(subprocess.call(line))
    os.execv(line[0], line)


def _install(chosen: Environment) -> None:
    name = chosen.folder.name
    print(f"Installing the environment into {name}/ (some minutes the first time, several GB) ...", flush=True)
    create(chosen)
    command = [str(chosen.python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["-c", str(chosen.constraints), "-e", f"{ROOT}[local,test]"]
    print("  " + " ".join(command).replace(str(ROOT), "."), flush=True)
    # What pip says is not shown as it is: it names the package index, which may be private.
    with tempfile.TemporaryFile("w+") as errors:
        pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        for line in pip.stdout:
            if words := progress_of(line):
                print(f"  {words}", flush=True)
        if pip.wait():
            errors.seek(0)
            sys.exit(f"pip could not install the environment (exit code {pip.returncode}):\n{errors.read()}")
    chosen.stamp.write_text(chosen.definition)
    print("The environment is ready.", flush=True)


def create(chosen: Environment) -> None:
    """Make the virtual environment, unless it has pip. If making it was interrupted, it has a Python and no pip."""
    for clear in (False, True):  # at first what is in it stays: another tool may have made it
        if chosen.python.exists() and not subprocess.call([chosen.python, "-m", "pip", "--version"], **_SILENT):
            return
        try:
            venv.create(chosen.folder, with_pip=True, clear=clear)
        except subprocess.CalledProcessError:
            version = "{}.{}".format(*sys.version_info)
            sys.exit(
                f"This Python could not put pip into {chosen.folder.name}/. On Debian and Ubuntu, install what it "
                f"lacks (apt-get install python3-venv, or python{version}-venv), then run the same command again."
            )


def progress_of(line: str) -> str | None:
    """What to show of a line of pip's output: the name of a package, or that all are being installed."""
    if found := re.match(r"Collecting ([A-Za-z0-9._-]+)", line):
        return found[1]
    if line.startswith("Installing collected packages:"):
        return f"installing {line.count(',') + 1} packages (the longest step; PyTorch alone has several GB) ..."
    return None


def install_cli() -> None:
    """Install the Snowflake CLI in an environment of its own, because it pins other versions of the Snowflake clients.

    Tests that need it are skipped if this fails.
    """
    stamp, wanted = CLI_FOLDER / "cxr-stamp", CLI_PINS.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Installing the Snowflake CLI into {CLI_FOLDER.name}/ (a minute, 200 MB) ...", flush=True)
    venv.create(CLI_FOLDER, with_pip=True)
    command = [str(CLI_FOLDER / SCRIPTS / PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    done = subprocess.run([*command, "-r", str(CLI_PINS)], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"pip could not install the Snowflake CLI, so its tests will be skipped:\n{done.stderr}", flush=True)
        return
    stamp.write_text(wanted)


def install_aside(name: str, *packages: str) -> None:
    """Make packages importable that one benchmark alone needs, without what they depend on: `build/<name>/`."""
    folder = ROOT / "build" / name
    if not folder.exists():
        unfinished = folder.with_name(f"{name}-unfinished")
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--upgrade", "--target", str(unfinished), *packages], check=True)
        unfinished.rename(folder)
    sys.path.append(str(folder))

"""The short jobs of `python3 ci`: tests, the app, style, the lock file."""

import os
import subprocess
import sys

from environment import ROOT, install_cli


def test(rest: list[str]) -> int:
    """A file's tests share an account, so they stay on one worker; few workers, because each holds PyTorch."""
    install_cli()
    workers = min(os.cpu_count() or 1, 4)
    options = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    # Threads of several workers on the same cores wait for one another.
    threads = {"OMP_NUM_THREADS": str((os.cpu_count() or 1) // workers)}
    return subprocess.call([sys.executable, "-m", "pytest", *options, *rest], cwd=ROOT, env=threads | os.environ)


def lint(rest: list[str]) -> int:
    """Style, and which package may import which."""
    ruff = [sys.executable, "-m", "ruff"]
    contracts = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    commands = ([*ruff, "check", "."], [*ruff, "format", "--check", "."], contracts)
    # import-linter finds the packages where Python does.
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    return max(subprocess.call(command, cwd=ROOT, env=environment) for command in commands)


def app(rest: list[str]) -> int:
    """The app reaches the account as it does in Snowflake, through `st.connection("snowflake")`.

    It asks nobody for a password, so it listens on this machine alone, unless `--server.address` among `rest` or
    STREAMLIT_SERVER_ADDRESS says otherwise.
    """
    from cxr.account.session import account_directory, start_local_account
    from cxr.settings import load

    settings = load(argv=[])
    start_local_account(settings)
    environment = os.environ | {"SNOWFLAKE_HOME": str(account_directory(settings))}
    command = [sys.executable, "-m", "streamlit", "run", "streamlit/streamlit_app.py"]
    if "STREAMLIT_SERVER_ADDRESS" not in environment:
        command.append("--server.address=127.0.0.1")
    command += rest  # of two addresses the last one counts
    try:
        return subprocess.call(command, cwd=ROOT, env=environment)
    except KeyboardInterrupt:
        return 0


def rekey(rest: list[str]) -> int:
    """`rest` are settings, such as `--data-csv TABLE`."""
    import cxr
    from cxr.data.rekey import rekey as make_anew

    return _say(lambda: make_anew(_project(cxr, rest)))


def truth(rest: list[str]) -> int:
    """`rest` is the table, then settings, such as `--add-class TB`."""
    import cxr
    from cxr.data.truth import add_truth

    if not rest or rest[0].startswith("-"):
        print("python3 ci truth TABLE: a CSV with the columns file and label")
        return 2
    return _say(lambda: add_truth(_project(cxr, rest[1:]), rest[0]))


def _project(cxr, arguments: list[str]):
    from cxr.account.project import Project

    settings = cxr.load(argv=arguments)
    return Project(cxr.connect(settings=settings), settings)


def _say(work) -> int:
    """What was done in numbers, or why nothing was."""
    try:
        counts = work()
    except (ValueError, OSError, RuntimeError) as error:
        print(error)
        return 1
    print(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))
    return 0


def lock(rest: list[str]) -> int:
    """Pins go by name and version alone: no address of an index, nothing of this machine."""
    frozen = subprocess.check_output([sys.executable, "-m", "pip", "freeze", "--exclude-editable"], text=True)
    pins = [line for line in frozen.splitlines() if "==" in line and " @ " not in line]
    head = "# Exact versions of everything that `python3 ci` installs. Renew with `python3 ci lock`."
    (ROOT / "ci" / "constraints.txt").write_text("\n".join([head, *pins]) + "\n")
    print(f"{len(pins)} versions pinned in ci/constraints.txt")
    return 0

"""The server process of an account folder: one at most, started on demand. server.json says where it listens."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from local_account import VERSION
from local_account.workers.loopback import HOST, OPENER, bind

START_SECONDS = 30.0
STOP_SECONDS = 10.0


class AccountError(Exception):
    """The reason why an account folder cannot be served, for the user to read."""


def start(root: Path, idle_seconds: float) -> dict:
    """Make sure that one server runs for the folder, and say how to reach it. Safe to call from many at once."""
    make_private(root)
    with file_lock(root / "start.lock", START_SECONDS * 2):
        info = running(root)
        if info is None:
            check_version(root)
            info = spawn(root, idle_seconds)
    given = {key: info[key] for key in ("host", "port", "account", "user", "pid")}
    return {**given, "password": info["token"], "protocol": "http"}


def environment(**more: str) -> dict[str, str]:
    """For a child process that imports this package."""
    library = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
    return {**os.environ, **more, "PYTHONPATH": path}


def spawn(root: Path, idle_seconds: float) -> dict:
    """Start the server in a session of its own and wait until it answers."""
    command = [sys.executable, "-m", "local_account", "serve", "--root", str(root), "--idle-seconds", str(idle_seconds)]
    with open(root / "server.log", "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=root, start_new_session=True,
            env=environment(),
        )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        info = running(root)
        if info is not None:
            return info
        if process.poll() is not None:
            break
        time.sleep(0.02)
    tail = (root / "server.log").read_text(errors="replace").strip().splitlines()[-1:]
    raise AccountError(f"the local account in {root} did not start: {' '.join(tail)} (see {root / 'server.log'})")


def running(root: Path) -> dict | None:
    """The server's own description if it answers, else None."""
    info = read_info(root) or {}
    if not info.get("pid"):
        return None
    try:
        with OPENER.open(f"http://{info['host']}:{info['port']}/health", timeout=5) as response:
            return info if json.load(response).get("pid") == info["pid"] else None
    except (OSError, ValueError):
        return None


def read_info(root: Path) -> dict | None:
    try:
        return json.loads((root / "server.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def check_version(root: Path) -> None:
    info = read_info(root)
    if info and info["version"] != VERSION:
        raise AccountError(
            f"the folder {root} was made by version {info['version']} of the local account, this is version {VERSION}: "
            "move the folder away, or choose another one"
        )


def stop(root: Path) -> bool:
    """Ask the server to stop and wait for it; False when none was running."""
    info = running(root)
    if info is None:
        return False
    os.kill(info["pid"], signal.SIGTERM)
    with file_lock(root / "server.lock", STOP_SECONDS):
        return True


@contextlib.contextmanager
def serving(root: Path) -> Iterator[tuple[dict, socket.socket]]:
    """Own the folder: its lock, its port, its server.json."""
    make_private(root)
    with file_lock(root / "server.lock", STOP_SECONDS):
        check_version(root)
        before = read_info(root) or {}
        listener = bind(before.get("port", 0))
        info = {
            "version": VERSION, "host": HOST, "port": listener.getsockname()[1], "account": "LOCAL_ACCOUNT",
            "user": "LOCAL_USER", "token": before.get("token") or secrets.token_urlsafe(24), "pid": os.getpid(),
        }  # fmt: skip
        write_private(root / "server.json", json.dumps(info, indent=2))
        write_private(root / "connections.toml", connections(info))
        try:
            yield info, listener
        finally:
            listener.close()
            write_private(root / "server.json", json.dumps({**info, "pid": None}, indent=2))


def connections(info: dict) -> str:
    """connections.toml for st.connection("snowflake") and the snow CLI."""
    keys = {"account": info["account"], "user": info["user"], "password": info["token"], "host": info["host"]}
    lines = [f'{key} = "{value}"' for key, value in keys.items()]
    lines += [f"port = {info['port']}", 'protocol = "http"', 'warehouse = "COMPUTE_WH"', "network_timeout = 120"]
    return "\n\n".join("\n".join([f"[{name}]", *lines]) for name in ("default", "local")) + "\n"


def make_private(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)
    except OSError as error:
        raise AccountError(f"the folder {root} cannot be used: {error.strerror}") from error


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read; a reader sees either the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


@contextlib.contextmanager
def file_lock(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock of a file, after waiting for it so long. The system releases it however the process ends."""
    lock = FileLock(path, timeout=seconds, poll_interval=0.02, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise AccountError(f"another process has held {path} for {seconds:.0f} s; is it hung?") from error
    except OSError as error:
        raise AccountError(f"the folder {path.parent} cannot be used: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()

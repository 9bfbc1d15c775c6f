"""The server process of an account folder: one at most, started on demand. server.json says where it listens.

Each server has a port, a password and a key of its own. server.json and connections.toml hold them, and are removed
when it ends; what a server that was killed has left in them opens nothing.
"""

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

from local_account import VERSION
from local_account.account.private_files import (  # fmt: skip
    AccountError,
    file_lock,
    is_locked,
    make_private,
    read_private,
    write_private,
)
from local_account.account.proof import is_proven
from local_account.workers.loopback import HOST, bind

START_SECONDS = 30.0
STOP_SECONDS = 15.0
INFO = {"version": str, "host": str, "port": int, "account": str, "user": str, "token": str, "key": str, "pid": int}


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
    log_file = root / "server.log"
    with open(os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        log_file.chmod(0o600)
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
    tail = log_file.read_text(errors="replace").strip().splitlines()[-1:]
    raise AccountError(f"the local account in {root} did not start: {' '.join(tail)} (see {log_file})")


def running(root: Path) -> dict | None:
    """The server's own description, if it has proved to be the server of this folder."""
    info = read_info(root)
    if info is None or not is_locked(root / "server.lock"):
        return None
    return info if is_proven(info["key"], info["port"], root) else None


def read_info(root: Path) -> dict | None:
    """What server.json says; None if it is no description of a server."""
    try:
        info = json.loads(read_private(root / "server.json") or "null")
    except (ValueError, RecursionError):
        return None
    fits = isinstance(info, dict) and all(isinstance(info.get(key), kind) for key, kind in INFO.items())
    return info if fits else None


def check_version(root: Path) -> None:
    """Raise for a folder that another version made. Folders made before there was a file for it say so in
    server.json."""
    try:
        before = json.loads(read_private(root / "server.json") or "null")
    except (ValueError, RecursionError):
        before = None
    said = [read_private(root / "VERSION"), before.get("version") if isinstance(before, dict) else None]
    for version in said:
        if isinstance(version, str) and version.strip() != VERSION:
            raise AccountError(
                f"the folder {root} was made by version {version.strip()} of the local account, this is version "
                f"{VERSION}: move the whole folder away, or choose another one"
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
        listener = bind(0)
        info = {
            "version": VERSION, "host": HOST, "port": listener.getsockname()[1], "account": "LOCAL_ACCOUNT",
            "user": "LOCAL_USER", "token": secrets.token_urlsafe(24), "key": secrets.token_urlsafe(32),
            "pid": os.getpid(),
        }  # fmt: skip
        write_private(root / "VERSION", VERSION)
        write_private(root / "server.json", json.dumps(info, indent=2))
        write_private(root / "connections.toml", connections(info))
        try:
            yield info, listener
        finally:
            listener.close()
            if (read_info(root) or {}).get("key") == info["key"]:  # not those of another server in this place
                (root / "server.json").unlink(missing_ok=True)
                (root / "connections.toml").unlink(missing_ok=True)


def connections(info: dict) -> str:
    """connections.toml for st.connection("snowflake") and the snow CLI."""
    keys = {"account": info["account"], "user": info["user"], "password": info["token"], "host": info["host"]}
    lines = [f'{key} = "{value}"' for key, value in keys.items()]
    lines += [f"port = {info['port']}", 'protocol = "http"', 'warehouse = "COMPUTE_WH"', "network_timeout = 120"]
    return "\n\n".join("\n".join([f"[{name}]", *lines]) for name in ("default", "local")) + "\n"

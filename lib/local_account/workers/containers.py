"""Jobs that run now: for each container one process, with a folder, an environment and a token of its own.

No image is run. The process sees this machine's files, and its ``python`` is the one that runs the account. Where the
container would see a volume at ``/mnt/images``, the process has a folder ``mnt/images`` in the job's own folder, and
its command and environment name that folder instead.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from local_account.workers.loopback import HOST

SUPERVISOR = Path(__file__).with_name("supervise.py")
# Everything else of the server's environment stays away from the job, as in a container.
KEPT = re.compile(r"LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|CUDA_\w+|NVIDIA_\w+|SSL_CERT_\w+")
THREADS = {name: value for name, value in os.environ.items() if name == "OMP_NUM_THREADS"}  # given to the server
STOP_SECONDS = 8.0


@dataclass(frozen=True)
class Identity:
    """What a session has that logs in with the container's token: the owner's role, and the job's warehouse."""

    role: str
    warehouse: str | None


@dataclass
class Container:
    """What a job's specification asks a process for."""

    name: str
    command: list[str]
    env: dict[str, str]
    folder: Path
    log: Path
    paths: dict[str, Path] = field(default_factory=dict)  # mount path in the container -> folder of the process

    def __post_init__(self) -> None:
        """Say the process's own paths in the command and the environment."""
        self.command = [self.translate(word) for word in self.command]
        self.env = {name: self.translate(value) for name, value in self.env.items()}

    def translate(self, text: str) -> str:
        """``--out=/mnt/out/model.pt`` -> the process's path. A path that only begins alike, ``/mnt/out2``, stays."""
        for path, folder in sorted(self.paths.items(), key=lambda item: -len(item[0])):
            text = re.sub(rf"(?<![\w./-]){re.escape(path)}(?![\w.-])", lambda _, to=str(folder): to, text)
        return text


class RunningJob:
    """One container's process. ``ended`` is set once its end has been recorded."""

    def __init__(self, container: Container, identity: Identity, port: int, settle: Callable[[int], None]):
        self.container, self.identity, self.settle = container, identity, settle
        self.token = secrets.token_urlsafe(24)
        self.cancelled = ""  # why, if it was: the status to record
        self.ended = threading.Event()
        command = [sys.executable, "-I", str(SUPERVISOR), *container.command]
        with open(container.log, "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=container.folder, stdin=subprocess.PIPE, stdout=log, stderr=log,
                env=self.environment(port), start_new_session=True,
            )  # fmt: skip
        threading.Thread(target=self.watch, daemon=True).start()

    def environment(self, port: int) -> dict[str, str]:
        """As Snowflake gives it to a container: where the account is, and the file with the token to log in with."""
        folder = self.container.folder
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(self.token)
        (folder / "root").mkdir(exist_ok=True)
        return {
            **{name: value for name, value in os.environ.items() if KEPT.fullmatch(name)},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "HOME": str(folder / "root"),
            "PYTHONUNBUFFERED": "1",  # lines are in the log when they are printed
            "SNOWFLAKE_HOST": HOST, "SNOWFLAKE_PORT": str(port), "SNOWFLAKE_PROTOCOL": "http",
            "SNOWFLAKE_TOKEN_FILE": str(token),
            **THREADS,
            **self.container.env,
        }  # fmt: skip

    def watch(self) -> None:
        code = self.process.wait()
        self.process.stdin.close()
        try:
            self.settle(code)
        finally:
            shutil.rmtree(self.container.folder, ignore_errors=True)
            self.ended.set()

    def cancel(self, status: str) -> None:
        self.cancelled = self.cancelled or status
        self.process.stdin.close()


class Jobs:
    """The account's running jobs, by their qualified names."""

    def __init__(self, root: Path):
        self.folder = root / "jobs"
        self.guard = threading.Lock()
        self.running: dict[str, RunningJob] = {}
        shutil.rmtree(self.folder, ignore_errors=True)  # left by a server that was killed
        self.folder.mkdir()

    def start(self, name: str, container: Container, identity: Identity, port: int, settle: Callable) -> RunningJob:
        """Start the container's process. ``settle(job, code)`` runs on a thread of its own when it has ended."""

        def end(code: int) -> None:
            try:
                settle(job, code)
            finally:
                with self.guard:
                    if self.running.get(name) is job:
                        del self.running[name]

        with self.guard:  # also keeps ``end`` waiting until there is a job
            job = RunningJob(container, identity, port, end)
            self.running[name] = job
        return job

    def get(self, name: str) -> RunningJob | None:
        with self.guard:
            return self.running.get(name)

    def holder(self, token: str) -> Identity | None:
        """Whom a token of a running job logs in."""
        with self.guard:
            given = token.encode(errors="replace")
            return next(
                (job.identity for job in self.running.values() if secrets.compare_digest(given, job.token.encode())),
                None,
            )

    def stop(self, name: str, status: str) -> None:
        """Cancel a job, if it runs, and wait until its end is recorded."""
        if job := self.get(name):
            job.cancel(status)
            job.ended.wait(STOP_SECONDS)

    def stop_all(self, status: str) -> None:
        with self.guard:
            jobs = list(self.running.values())
        for job in jobs:
            job.cancel(status)
        for job in jobs:
            job.ended.wait(STOP_SECONDS)

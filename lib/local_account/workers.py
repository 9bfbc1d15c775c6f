"""The processes that run models: one per model method for the warehouse, one per service for HTTP.

Models are never loaded into the server itself. A worker holds the reading end of a pipe from the server and ends when
that closes, so none outlives the server, even one that is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa

from .errors import SnowflakeError

IDLE_SECONDS = 600.0  # a warehouse worker that nobody has called for so long is stopped
START_SECONDS = 180.0
BATCH_ROWS = 256
BATCH_BYTES = 32 << 20
BARELY_BEGUN_SECONDS = 5.0  # no sooner is a service started again
THREADS = str(os.cpu_count() or 2)


def spawn(module: str, arguments: list[str], log: Path, secret: str = "") -> subprocess.Popen:
    """Start ``python -m local_account.<module>``; the secret travels by environment, not by command line."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")]))
    threads = {key: THREADS for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    with open(log, "ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", f"local_account.{module}", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, cwd=log.parent,
            env={**os.environ, **threads, "PYTHONPATH": path, "LOCAL_ACCOUNT_TOKEN": secret},
        )  # fmt: skip


def end(process: subprocess.Popen) -> None:
    """Close the worker's pipe, which asks it to finish; kill it if it does not."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


class WarehouseWorker:
    """One method of one model version, or one function, loaded once and fed batches through a pipe."""

    def __init__(self, module: str, folder: Path, method: str, log: Path):
        self.label, self.log = f"{folder.name} {method}", log
        self.process = spawn(module, [str(folder), method], log)
        self.lock = threading.Lock()
        self.last_use = time.monotonic()

    def call(self, table: pa.Table) -> list[str | None]:
        """One JSON text per row. Raises SnowflakeError with the model's own traceback."""
        answers: list[str | None] = []
        with self.lock:
            for batch in batches(table):
                self.last_use = time.monotonic()
                answers += self.exchange(batch)
            self.last_use = time.monotonic()
        return answers

    def exchange(self, batch: pa.Table) -> list[str | None]:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_table(batch)
        message = sink.getvalue()
        try:
            self.process.stdin.write(message.size.to_bytes(8, "big"))
            self.process.stdin.write(message)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died: reading finds out why
        kind, size = self.process.stdout.read(1), self.process.stdout.read(8)
        if not size:
            raise SnowflakeError(f"Python Interpreter Error:\nthe worker of {self.label} died; see {self.log}", 100357)
        body = self.process.stdout.read(int.from_bytes(size, "big"))
        if kind == b"E":
            raise SnowflakeError(f"Python Interpreter Error:\n{body.decode()}", 100357, "P0000")
        return json.loads(body)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None


def batches(table: pa.Table) -> list[pa.Table]:
    """Slices of at most BATCH_ROWS rows and about BATCH_BYTES bytes."""
    out, start = [], 0
    while start < table.num_rows:
        rows = min(BATCH_ROWS, table.num_rows - start)
        while rows > 1 and table.slice(start, rows).nbytes > BATCH_BYTES:
            rows //= 2
        out.append(table.slice(start, rows))
        start += rows
    return out


class ServiceProcess:
    """An HTTP server for one model version."""

    def __init__(self, folder: Path, port: int, token: str, log: Path):
        self.folder, self.token, self.log = folder, token, log
        self.started = time.monotonic()
        self.process = spawn("service_worker", [str(folder), str(port)], log, token)
        line = self.process.stdout.readline()  # the worker says its port once the model is loaded
        if not line:
            end(self.process)
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise SnowflakeError(f"The service failed to start:\n{tail}", 395020, "22000")
        self.port = json.loads(line)["port"]

    @property
    def alive(self) -> bool:
        return self.process.poll() is None


class Workers:
    """All worker processes of the account."""

    def __init__(self, logs: Path):
        self.logs = logs
        self.guard = threading.Lock()
        self.warehouse: dict[tuple[str, str], WarehouseWorker] = {}
        self.services: dict[str, ServiceProcess] = {}
        self.starting: dict[str, threading.Lock] = {}
        self.last_use = time.monotonic()
        threading.Thread(target=self.reap, daemon=True).start()

    def call(self, module: str, folder: Path, method: str, table: pa.Table) -> list[str | None]:
        """Run a model's method or a function over a table, on a warm worker if there is one."""
        with self.guard:
            key = (str(folder), method)
            worker = self.warehouse.get(key)
            if worker is None or not worker.alive:
                worker = WarehouseWorker(module, folder, method, self.logs / f"{folder.name}.log")
                self.warehouse[key] = worker
        self.last_use = time.monotonic()
        answers = worker.call(table)
        self.last_use = time.monotonic()
        return answers

    def service(self, name: str, folder: Path, port: int, token: str) -> ServiceProcess:
        """The service's process, started if it is not running. Raises SnowflakeError when it cannot start."""
        with self.guard:
            lock = self.starting.setdefault(name, threading.Lock())
        with lock:
            process = self.services.get(name)
            if process is None or not process.alive:
                process = ServiceProcess(folder, port, token, self.service_log(name))
                self.services[name] = process
            self.last_use = time.monotonic()
            return process

    def restart_services(self) -> None:
        """Start again, on its port, each service whose process has died, as Snowflake does."""
        for name, process in list(self.services.items()):
            if name not in self.services or process.alive or time.monotonic() - process.started < BARELY_BEGUN_SECONDS:
                continue
            with contextlib.suppress(SnowflakeError):  # its log says why; the next call tries again
                self.service(name, process.folder, process.port, process.token)

    def service_log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def stop_service(self, name: str) -> None:
        process = self.services.pop(name, None)
        if process is not None:
            end(process.process)

    def forget(self, folder: Path) -> None:
        """Stop the workers of a model version or function that is being dropped."""
        with self.guard:
            gone = [key for key in self.warehouse if key[0] == str(folder)]
            workers = [self.warehouse.pop(key) for key in gone]
        for worker in workers:
            end(worker.process)

    def reap(self) -> None:
        while True:
            time.sleep(1)
            self.restart_services()
            with self.guard:
                idle = [
                    key for key, worker in self.warehouse.items()
                    if time.monotonic() - worker.last_use > IDLE_SECONDS and not worker.lock.locked()
                ]  # fmt: skip
                workers = [self.warehouse.pop(key) for key in idle]
            for worker in workers:
                end(worker.process)

    def stop_all(self) -> None:
        for name in list(self.services):
            self.stop_service(name)
        with self.guard:
            workers = list(self.warehouse.values())
            self.warehouse.clear()
        for worker in workers:
            end(worker.process)

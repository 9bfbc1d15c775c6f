"""The processes that run models and functions: one per model version or function, and one per service.

The server itself loads no model and no function. A process holds the reading end of a pipe from the server and ends
when the pipe closes, so no process outlives the server, even a server that is killed. On Linux, processes that run
models are forks of one that has imported torch already: the import takes most of the time until a model can answer.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa

from local_account.engine.results import ipc, slices
from local_account.text.errors import SnowflakeError
from local_account.workers.loopback import Ports
from local_account.workers.sleeping import Sleeping

IDLE_SECONDS = 600.0  # a worker that has not been called for so long is stopped
BATCH_ROWS = 4096
ROWS_FOR_SEVERAL = 200  # a function over so many rows runs in several processes: each takes a second or two to start
BATCH_BYTES = 64 << 20
LOAD_SECONDS = 600.0  # for imports, before the first call
STOP_SECONDS = 3.0
RESTART_SECONDS = 5.0  # a service that dies sooner is not started again at once
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(os.cpu_count() or 2))
SPAWNED = multiprocessing.get_context("spawn")
FORKED = multiprocessing.get_context("forkserver") if sys.platform == "linux" else SPAWNED
IMPORTED = ("torch", "torchvision")  # by the process that is forked, if the first model needs them


def run_module(module: str, log: Path, requests: Connection, answers: Connection, *arguments: object) -> None:
    """Run a module's ``main`` in a new process; its output goes to its log."""
    with open(log, "ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.chdir(log.parent)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # otherwise all forks draw the same random numbers
    importlib.import_module(f".{module}", __package__).main(requests, answers, *arguments)


class Process:
    """``main(requests, answers, *arguments)`` of a module of this package, in a process of its own."""

    def __init__(self, module: str, arguments: list, log: Path, model: Path | None = None):
        self.log, self.started = log, time.monotonic()
        context = FORKED if model else SPAWNED
        if model:
            needed = "\n".join(file.read_text() for file in (model / "model" / "env").glob("*"))
            preload = [f"{__package__}.service", *(name for name in IMPORTED if name in needed)]
            context.set_forkserver_preload(preload)
        theirs, self.requests = context.Pipe(duplex=False)
        self.answers, to_us = context.Pipe(duplex=False)
        self.process = context.Process(target=run_module, args=(module, log, theirs, to_us, *arguments))
        self.process.start()
        theirs.close()
        to_us.close()

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def end(self, seconds: float = 5.0) -> None:
        """Close the process's pipe, which asks it to finish; kill it if it does not."""
        self.requests.close()
        self.process.join(timeout=seconds)
        if self.alive:
            self.process.kill()
            self.process.join()
        self.answers.close()


class WarehouseWorker(Process):
    """One model version with all its methods, or one function, loaded once and fed batches through a pipe."""

    def __init__(self, kind: str, folder: Path, log: Path):
        super().__init__("warehouse", [kind, folder], log, folder if kind == "model" else None)
        self.label = folder.name
        self.lock = threading.Lock()
        self.last_use = time.monotonic()

    @property
    def idle(self) -> bool:
        return time.monotonic() - self.last_use > IDLE_SECONDS and not self.lock.locked()

    def call(self, handler: str, table: pa.Table, seconds: float) -> list[str | None]:
        """One JSON text per row. Raises SnowflakeError with the code's own traceback, or if one call of the code takes
        longer than so many seconds."""
        answers: list[str | None] = []
        table = table.replace_schema_metadata({"handler": handler})
        with self.lock:
            for batch in slices(table, BATCH_ROWS, BATCH_BYTES):
                answers += self.exchange(ipc(batch), handler, seconds)
                self.last_use = time.monotonic()
        return answers

    def exchange(self, message: bytes, handler: str, seconds: float) -> list[str | None]:
        try:
            with contextlib.suppress(BrokenPipeError):  # the process has died: reading says so below
                self.requests.send_bytes(message)
            succeeded, answer = json.loads(self.receive(handler, seconds))
        except (OSError, EOFError):
            text = f"Python Interpreter Error:\nthe worker of {self.label} died; see {self.log}"
            raise SnowflakeError(text, 100357) from None
        if not succeeded:
            raise SnowflakeError(f"Python Interpreter Error:\n{answer}", 100357, "P0000")
        return answer

    def receive(self, handler: str, seconds: float) -> bytes:
        """The answer. Empty messages before it say that the code was loaded, and that a call of it has ended."""
        wait, message = LOAD_SECONDS, b""
        while not message:
            if not self.answers.poll(wait):
                self.process.kill()
                self.process.join()
                text = f"Python function {self.label} with handler {handler} timed out: a call may take {wait:g} s."
                raise SnowflakeError(
                    f"Python Interpreter Error:\n{text} Give it fewer rows (max_batch_size).", 100357, "P0000"
                )
            message, wait = self.answers.recv_bytes(), seconds
        return message


class ServiceProcess(Process):
    """An HTTP server for one model version."""

    def __init__(self, folder: Path, port: int, token: str, log: Path, idle_seconds: float):
        super().__init__("service", [folder, port, token], log, folder)
        self.folder, self.token, self.idle_seconds = folder, token, idle_seconds
        self.last_use = time.monotonic()
        try:
            self.port = json.loads(self.answers.recv_bytes())  # once the model is loaded
        except EOFError:
            self.end()
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise SnowflakeError(f"The service failed to start:\n{tail}", 395020, "22000") from None

    @property
    def idle(self) -> bool:
        """Whether nobody has asked it for so long; it tells by a message that it is asked."""
        with contextlib.suppress(EOFError, OSError):
            while self.answers.poll():
                self.answers.recv_bytes()
                self.last_use = time.monotonic()
        return 0 < self.idle_seconds < time.monotonic() - self.last_use


class Workers:
    """All worker processes of the account."""

    def __init__(self, logs: Path):
        self.logs = logs
        self.guard = threading.Lock()
        self.warehouse: dict[tuple[str, int], WarehouseWorker] = {}
        self.services: dict[str, ServiceProcess] = {}
        self.sleeping: dict[str, Sleeping] = {}
        self.starting: dict[str, threading.Lock] = {}
        self.ports = Ports()
        self.last_use = time.monotonic()
        if "OMP_NUM_THREADS" not in os.environ:
            os.environ.update(THREADS)
        threading.Thread(target=self.reap, daemon=True).start()

    def start_lock(self, name: str) -> threading.Lock:
        """The lock to hold while starting a process of that name, so that two callers start one."""
        with self.guard:
            return self.starting.setdefault(name, threading.Lock())

    def call(self, kind: str, folder: Path, handler: str, table: pa.Table, seconds: float) -> list[str | None]:
        """Run a model's method or a function over a table, on warm workers if there are any. A function over many rows
        runs on one for each core, as on a warehouse; a model has threads of its own."""
        count = os.cpu_count() or 1 if kind == "function" and table.num_rows >= ROWS_FOR_SEVERAL else 1
        share = -(-table.num_rows // count)
        parts = [table.slice(number * share, share) for number in range(count)]
        self.last_use = time.monotonic()
        with ThreadPoolExecutor(count) as pool:
            workers = [self.worker(kind, folder, number) for number in range(count)]
            calls = [pool.submit(each.call, handler, part, seconds) for each, part in zip(workers, parts, strict=True)]
        self.last_use = time.monotonic()
        return [answer for each in calls for answer in each.result()]

    def worker(self, kind: str, folder: Path, number: int) -> WarehouseWorker:
        key = (str(folder), number)
        with self.start_lock(f"{folder}#{number}"):
            worker = self.warehouse.get(key)
            if worker is None or not worker.alive:
                worker = WarehouseWorker(kind, folder, self.logs / f"{folder.name}.log")
                self.warehouse[key] = worker
            return worker

    def service(self, name: str, folder: Path, token: str, idle_seconds: float = 0) -> ServiceProcess:
        """The service's process, started if it is not running. Raises SnowflakeError when it cannot start.

        It is suspended when nobody has asked it for ``idle_seconds``; with 0 never."""
        with self.start_lock(name):
            process = self.services.get(name)
            if process is None or not process.alive:
                process = ServiceProcess(folder, self.ports.of(name), token, self.service_log(name), idle_seconds)
                self.services[name] = process
            if sleeping := self.sleeping.pop(name, None):
                sleeping.end()
            process.idle_seconds, process.last_use = idle_seconds, time.monotonic()
            self.last_use = time.monotonic()
            return process

    def restart_services(self) -> None:
        """Start again, on its port, each service whose process has died, as Snowflake does."""
        for name, process in list(self.services.items()):
            young = time.monotonic() - process.started < RESTART_SECONDS
            if name in self.services and not process.alive and not young:
                with contextlib.suppress(SnowflakeError):  # its log says why; the next call tries again
                    self.service(name, process.folder, process.token, process.idle_seconds)

    def suspend_service(self, name: str) -> None:
        """Stop it; the first request starts it again."""
        with self.start_lock(name):
            process = self.services.pop(name, None)
            if process is None:
                return
            process.end()

            def wake() -> None:
                with contextlib.suppress(SnowflakeError):  # its log says why
                    self.service(name, process.folder, process.token, process.idle_seconds)

            self.sleeping[name] = Sleeping(self.ports.of(name), process.token, wake)

    def service_log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def stop_service(self, name: str) -> None:
        if sleeping := self.sleeping.pop(name, None):
            sleeping.end()
        process = self.services.pop(name, None)
        if process is not None:
            process.end()

    def stop_workers(self, unwanted: Callable[[tuple[str, int], WarehouseWorker], bool]) -> None:
        """End the warehouse workers of which ``unwanted((folder, number), worker)`` is true."""
        with self.guard:
            gone = [key for key, worker in [*self.warehouse.items()] if unwanted(key, worker)]
            workers = [self.warehouse.pop(key) for key in gone]
        for worker in workers:
            worker.end()

    def forget(self, folder: Path) -> None:
        """Stop the workers of a model version or function that is being dropped."""
        self.stop_workers(lambda key, _: key[0] == str(folder))

    def reap(self) -> None:
        while True:
            time.sleep(1)
            self.restart_services()
            for name, process in list(self.services.items()):
                if process.idle:
                    self.suspend_service(name)
            self.stop_workers(lambda _, worker: worker.idle)

    def stop_all(self) -> None:
        """End all at once; whoever does not end within a few seconds is killed."""
        with self.guard:
            ending = [*self.services.values(), *self.warehouse.values()]
            self.services, self.warehouse = {}, {}
        for sleeping in self.sleeping.values():
            sleeping.end()
        for process in ending:
            process.requests.close()
        until = time.monotonic() + STOP_SECONDS
        for process in ending:
            process.end(max(0.0, until - time.monotonic()))

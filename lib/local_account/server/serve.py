"""The server process: from the lock on its folder to a clean end."""

import gc
import logging
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import duckdb
import uvicorn

from local_account.account.account import Account
from local_account.account.limits import read_limits
from local_account.account.private_files import AccountError
from local_account.account.process import serving
from local_account.server.http import ConnectorProtocol
from local_account.statements.handlers import HANDLERS
from local_account.workers.connections import CONNECTIONS, configuration

LOG_BYTES = 4 << 20  # of each log, twice: the current and the one before
END_SECONDS = 3.0  # for statements that run when the server is asked to end
log = logging.getLogger("local_account")


def serve(root: Path, idle_seconds: float) -> None:
    """Serve the folder until the process is asked to stop, or no request has come for ``idle_seconds``."""
    os.umask(0o077)
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, leave)
    allow_open_files()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of what the rewrites take care of
    with serving(root) as (info, listener):
        try:
            account = Account(root, info["token"], info["key"], info["port"], HANDLERS)
        except duckdb.Error as error:
            text = f"the database of {root} cannot be opened; keep account.duckdb and its .wal together: {error}"
            raise AccountError(text) from error
        gc.freeze()  # garbage collection of imported modules would delay a query by a tenth of a second
        gc.set_threshold(20_000)
        protocol = ConnectorProtocol(account)
        server = uvicorn.Server(configuration(protocol.app(), read_limits(root).patience))
        threading.Thread(target=watch, args=(server, protocol, idle_seconds), daemon=True).start()
        try:
            server.run(sockets=[listener])
        finally:
            for asked in (signal.SIGTERM, signal.SIGINT):
                signal.signal(asked, signal.SIG_IGN)  # once is enough
            ended = protocol.end(END_SECONDS)
            account.close()
    logging.shutdown()
    if not ended:
        os._exit(0)  # Python would wait for the threads of statements that cannot be interrupted


def leave(*_: object) -> None:
    raise SystemExit(0)


def allow_open_files() -> None:
    """As many as the connections need, whatever the shell's limit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(4 * CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def watch(server: uvicorn.Server, protocol: ConnectorProtocol, idle_seconds: float) -> None:
    """Stop the server when it is idle or its folder is gone; keep its logs small."""
    while not server.should_exit:
        time.sleep(min(1.0, idle_seconds / 4))
        try:
            quiet = time.monotonic() - max(protocol.last_request, protocol.account.workers.last_use)
            running = any(query.state == "RUNNING" for query in protocol.queries.all()) or protocol.account.jobs.running
            if not protocol.account.in_place() or (quiet > idle_seconds and not running):
                server.should_exit = True
                return
            protocol.account.settle()
            if not running:
                protocol.account.tidy()
            for file in [protocol.account.root / "server.log", *(protocol.account.root / "logs").glob("*.log")]:
                rotate(file)
        except Exception:  # a watch that ended would leave a server that nothing stops; what failed is in the log
            log.exception("the watch over the server failed")


def rotate(file: Path) -> None:
    """Processes hold the log open for appending, so it is copied and cut, not renamed."""
    if file.exists() and file.stat().st_size > LOG_BYTES:
        with open(file, "rb") as whole:
            whole.seek(-LOG_BYTES, os.SEEK_END)
            with open(file.with_name(f"{file.name}.1"), "wb") as before:
                shutil.copyfileobj(whole, before)
        os.truncate(file, 0)

"""The server process itself: one account, one HTTP server, gone when idle."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import duckdb
import uvicorn

from . import statements
from .account import Account
from .process import AccountError, serving
from .wire import Wire


def serve(root: Path, idle_seconds: float) -> None:
    """Serve the folder until told to stop, or until nobody has asked for anything for ``idle_seconds``."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    with serving(root) as (info, listener):
        try:
            account = Account(root, info["token"], info["port"])
        except duckdb.Error as error:
            raise AccountError(f"the database of {root} cannot be opened: {error}") from error
        statements.load()
        wire = Wire(account)
        config = uvicorn.Config(
            wire.app(), log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=75
        )
        server = uvicorn.Server(config)
        threading.Thread(target=watch, args=(server, wire, idle_seconds), daemon=True).start()
        try:
            server.run(sockets=[listener])
        finally:
            account.close()


def watch(server: uvicorn.Server, wire: Wire, idle_seconds: float) -> None:
    """Stop the server when it is idle, or when its folder is gone."""
    while not server.should_exit:
        time.sleep(min(1.0, idle_seconds / 4))
        quiet = time.monotonic() - max(wire.last_request, wire.account.workers.last_use)
        if (quiet > idle_seconds and wire.queries.running == 0) or not wire.account.root.is_dir():
            server.should_exit = True

"""The account: the database file, the folders beside it, locks between writers, and what runs in its name."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa

from local_account.account import catalog
from local_account.account.uploads import Uploads
from local_account.engine import variant_functions
from local_account.engine.macros import MACROS
from local_account.text.errors import SnowflakeError
from local_account.workers.pool import Workers

FOLDERS = ("stages", "models", "functions")  # each holds one folder for each catalogued object
LOCK_SECONDS = 600.0  # how long a statement waits for another writer of the same table


class WriteLocks:
    """One writer at a time for each object, as Snowflake does: updates queue, they do not conflict."""

    def __init__(self) -> None:
        self.locks: dict[str, threading.Lock] = {}
        self.guard = threading.Lock()

    def acquire(self, key: str) -> threading.Lock:
        with self.guard:
            lock = self.locks.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=LOCK_SECONDS):
            raise SnowflakeError(f"Statement timed out: {key} is locked by another transaction.", 625, "57014")
        return lock


class Account:
    """Everything that one account folder holds. One process owns it; sessions share it."""

    user, name = "LOCAL_USER", "LOCAL_ACCOUNT"

    def __init__(self, root: Path, token: str, port: int):
        self.root, self.token, self.port = root, token, port
        self.locks = WriteLocks()
        self.uploads = Uploads(root / "incoming")
        for folder in (*FOLDERS, "logs"):
            (root / folder).mkdir(exist_ok=True)
        self.engine = duckdb.connect()
        self.engine.execute(f"ATTACH '{root / 'account.duckdb'}' AS {catalog.FILE}")
        self.engine.execute("SET TimeZone = 'UTC'")
        self.functions: dict[str, Callable[[pa.Table], list]] = {
            f"json:{name}": variant_functions.vectorized(name) for name in variant_functions.FUNCTIONS
        }
        # One engine function for all of them, so that none has to be created inside an open transaction.
        # The second one is for functions that answer rows: of what has side effects the engine keeps the order.
        for name, has_effects in (("account_call", False), ("account_rows", True)):
            self.engine.create_function(
                name, self.call, None, "VARCHAR", type="arrow", null_handling="special", side_effects=has_effects
            )
        for macro in MACROS:
            self.engine.execute(f"CREATE MACRO {macro}")
        self.open_catalog()
        self.workers = Workers(root / "logs")

    def open_catalog(self) -> None:
        """Create what a new account has, and clear what a killed server left half done."""
        self.engine.execute("BEGIN")
        catalog.create_tables(self.engine)
        if not catalog.find(self.engine, kind="ROLE"):
            for thing in catalog.FIRST_OBJECTS:
                catalog.put(self.engine, thing)
        self.engine.execute("COMMIT")
        kept = {thing.properties.get("folder") for thing in catalog.find(self.engine)}
        for kind in FOLDERS:
            for folder in (self.root / kind).iterdir():
                if folder.name not in kept:
                    shutil.rmtree(folder)

    def call(self, keys: pa.ChunkedArray, *columns: pa.ChunkedArray) -> pa.Array:
        """``account_call(key, ...)`` in the engine: the function of that key over a table of its arguments, which has
        the key itself as a column, so that it has rows where there are no arguments."""
        table = pa.table({"key": keys} | {str(i): column for i, column in enumerate(columns)})
        return pa.array(self.functions[keys[0].as_py()](table), pa.string())

    def close(self) -> None:
        self.workers.stop_all()
        self.engine.close()

"""The account: its database file, its folders, the locks between writers, and its worker processes."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa

from local_account.account import catalog
from local_account.account.dispatch import Handlers
from local_account.account.folders import Folders
from local_account.account.known import Known
from local_account.account.locks import WriteLocks
from local_account.account.proof import identity
from local_account.account.uploads import Uploads
from local_account.engine import variant_functions
from local_account.engine.macros import MACROS
from local_account.text.literals import literal
from local_account.workers.containers import Jobs
from local_account.workers.pool import Workers

FIRST_DATABASES = {thing.name for thing in catalog.FIRST_OBJECTS if thing.kind == "DATABASE"}


class Account:
    """Everything that one account folder holds. One process owns it; sessions share it."""

    user, name = "LOCAL_USER", "LOCAL_ACCOUNT"

    def __init__(self, root: Path, token: str, key: str, port: int, handlers: Handlers):
        self.root, self.token, self.key, self.port, self.handlers = root, token, key, port, handlers
        self.file = root / "account.duckdb"
        self.locks = WriteLocks()
        self.known = Known()
        self.uploads = Uploads(root / "incoming")
        (root / "logs").mkdir(exist_ok=True)
        self.workers = Workers(root / "logs")
        self.jobs = Jobs(root)
        self.folders = Folders(root, self.workers)
        if not self.file.exists():
            self.folders.demand_empty(self.file, set())
        self.engine = duckdb.connect()
        self.engine.execute(f"ATTACH {literal(str(self.file))} AS {catalog.FILE}")
        self.folder, self.database = identity(root), identity(self.file)
        self.failed = False  # the engine could not write; it accepts nothing until the database is opened again
        self.engine.execute("SET TimeZone = 'UTC'")
        self.functions: dict[str, Callable[[pa.Table], list]] = {
            f"json:{name}": variant_functions.vectorized(name) for name in variant_functions.FUNCTIONS
        }
        # One engine function stands for all, because none can be created inside an open transaction.
        # The second is for functions that answer rows: the engine keeps the order of calls with side effects.
        for name, has_effects in (("account_call", False), ("account_rows", True)):
            self.engine.create_function(
                name, self.call, None, "VARCHAR", type="arrow", null_handling="special", side_effects=has_effects
            )
        for macro in MACROS:
            self.engine.execute(f"CREATE MACRO {macro}")
        self.open_catalog()

    def open_catalog(self) -> None:
        """Create the first objects of a new account; put aside, or remove, what a killed server left unfinished."""
        self.engine.execute("BEGIN")
        catalog.create_tables(self.engine)
        if not catalog.find(self.engine, kind="ROLE"):
            for thing in catalog.FIRST_OBJECTS:
                catalog.put(self.engine, thing)
        for service in catalog.find(self.engine, kind="SERVICE"):
            if service.properties.get("job") and service.properties["status"] == "RUNNING":
                service.properties |= {"status": "INTERNAL_ERROR", "message": "The local account ended before the job."}
                catalog.put(self.engine, service)
        self.engine.execute("COMMIT")
        databases, named = {thing.name for thing in catalog.find(self.engine, kind="DATABASE")}, self.named_folders()
        if not databases - FIRST_DATABASES:
            self.folders.demand_empty(self.file, named)
        self.folders.put_aside(named)

    def named_folders(self) -> set[str]:
        """The folders that committed objects have."""
        return {thing.properties.get("folder", "") for thing in catalog.find(self.engine.cursor())}

    def in_place(self) -> bool:
        """Whether the folder and its database are still the ones that this server opened, and can be written."""
        return not self.failed and identity(self.root) == self.folder and identity(self.file) == self.database

    def tidy(self) -> None:
        """Keep the log of writes short, while nobody waits."""
        log = self.file.with_name(f"{self.file.name}.wal")
        if log.exists() and log.stat().st_size:
            with contextlib.suppress(duckdb.Error):  # others are writing: later
                self.engine.cursor().execute(f"CHECKPOINT {catalog.FILE}")

    def call(self, keys: pa.ChunkedArray, *columns: pa.ChunkedArray) -> pa.Array:
        """``account_call(key, ...)`` in the engine: the function of that key over a table of its arguments, which has
        the key as its first column: without arguments, the number of rows would be lost."""
        table = pa.table({"key": keys} | {str(i): column for i, column in enumerate(columns)})
        return pa.array(self.functions[keys[0].as_py()](table), pa.string())

    def settle(self) -> None:
        """Marks of folders whose rows were committed by another way than a definition's own transaction."""
        if self.folders.begun:
            self.folders.settle(self.named_folders())

    def close(self) -> None:
        self.jobs.stop_all("INTERNAL_ERROR")
        self.workers.stop_all()
        with contextlib.suppress(duckdb.Error):  # a statement that cannot be ended still writes
            self.settle()
            self.engine.execute(f"CHECKPOINT {catalog.FILE}")
        self.engine.close()

"""One client's session: its names in use, its transaction, its temporary objects, its answers."""

from __future__ import annotations

import contextlib
import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator

import duckdb

from . import catalog, names
from .account import Account
from .catalog import Object
from .errors import SnowflakeError, compilation_error, missing
from .names import Name
from .results import Result

RESULTS_KEPT = 30  # answers that RESULT_SCAN and asynchronous jobs can still reach


class Session:
    """State of one login. Statements of one session run one after another, sessions run side by side."""

    def __init__(self, account: Account):
        self.account = account
        self.id = uuid.uuid4().hex
        self.con = account.engine.cursor()
        self.con.execute("SET TimeZone = 'UTC'")
        self.lock = threading.RLock()
        self.database: str | None = None
        self.schema: str | None = None
        self.role = "SYSADMIN"
        self.warehouse: str | None = "COMPUTE_WH"
        self.parameters: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.temporary: dict[tuple[str, Name], Object] = {}
        self.results: OrderedDict[str, Result] = OrderedDict()
        self.in_transaction = False
        self.autocommit = True
        self.held: dict[str, threading.Lock] = {}

    # ---- names

    def resolve(self, text: str) -> Name:
        """A name as typed -> the fully qualified name, by the database and schema in use."""
        return self.qualify(names.split(text))

    def qualify(self, parts: list[str]) -> Name:
        if len(parts) == 3:
            return Name(*parts)
        if self.database is None:
            raise compilation_error(
                f"Cannot perform operation on {names.display(parts[-1])}. This session does not have a current "
                "database. Call 'USE DATABASE', or use a qualified name.", 90105, "22000"
            )  # fmt: skip
        if len(parts) == 2:
            return Name(self.database, *parts)
        if self.schema is None:
            raise compilation_error(
                f"Cannot perform operation on {names.display(parts[-1])}. This session does not have a current "
                "schema. Call 'USE SCHEMA', or use a qualified name.", 90106, "22000"
            )  # fmt: skip
        return Name(self.database, self.schema, parts[0])

    def use_database(self, database: str) -> None:
        catalog.need(self.con, "DATABASE", Name("", "", database))
        self.database = database
        self.schema = "PUBLIC" if catalog.get(self.con, "SCHEMA", Name(database, "", "PUBLIC")) else None

    def use_schema(self, database: str, schema: str) -> None:
        self.need_schema(database, schema)
        self.database, self.schema = database, schema

    def need_schema(self, database: str, schema: str) -> None:
        """Raise 002003 unless the schema exists."""
        if catalog.get(self.con, "DATABASE", Name("", "", database)) is None:
            raise missing("Database", database)
        if catalog.get(self.con, "SCHEMA", Name(database, "", schema)) is None:
            raise missing("Schema", f"{names.display(database)}.{names.display(schema)}")

    # ---- catalogued objects, temporary ones first

    def get(self, kind: str, name: Name) -> Object | None:
        return self.temporary.get((kind, name)) or catalog.get(self.con, kind, name)

    def need(self, kind: str, name: Name, label: str | None = None) -> Object:
        found = self.get(kind, name)
        if found is None:
            raise missing(label or kind.capitalize(), str(name))
        return found

    # ---- transactions and locks

    @contextlib.contextmanager
    def change(self, *keys: object) -> Iterator[None]:
        """Run a definition (DDL): whatever transaction was open commits first, then this one stands alone."""
        self.commit()
        with self.locked(*keys):
            self.con.execute("BEGIN")
            try:
                yield
            except BaseException:
                self.con.execute("ROLLBACK")
                raise
            self.con.execute("COMMIT")

    @contextlib.contextmanager
    def modify(self, *keys: object) -> Iterator[None]:
        """Run a change of rows: part of the open transaction, or a transaction of its own."""
        if not self.autocommit and not self.in_transaction:
            self.begin()
        if self.in_transaction:
            for key in sorted(map(str, keys)):
                if key not in self.held:
                    self.held[key] = self.account.locks.acquire(key)
            yield
            return
        with self.change(*keys):
            yield

    @contextlib.contextmanager
    def locked(self, *keys: object) -> Iterator[None]:
        taken = []
        try:
            for key in sorted(set(map(str, keys))):
                taken.append(self.account.locks.acquire(key))
            yield
        finally:
            for lock in taken:
                lock.release()

    def begin(self) -> None:
        if not self.in_transaction:
            self.con.execute("BEGIN")
            self.in_transaction = True

    def commit(self) -> None:
        """Commit what is open. Raises when an earlier error has undone it, for the engine has no savepoints."""
        if self.in_transaction:
            try:
                self.con.execute("SELECT 1")
            except duckdb.TransactionException as error:
                self.rollback()
                raise SnowflakeError(
                    "Nothing was committed: a statement of this transaction failed, and the local account, unlike "
                    "Snowflake, cannot keep the statements before it.", 625, "40000"
                ) from error  # fmt: skip
        self.end("COMMIT")

    def rollback(self) -> None:
        self.end("ROLLBACK")

    def end(self, verb: str) -> None:
        if not self.in_transaction:
            return
        try:
            self.con.execute(verb)
        finally:
            self.in_transaction = False
            for lock in self.held.values():
                lock.release()
            self.held.clear()

    # ---- answers

    def keep(self, query_id: str, result: Result) -> None:
        self.results[query_id] = result
        while len(self.results) > RESULTS_KEPT:
            forgotten, _ = self.results.popitem(last=False)
            self.con.unregister(f"RESULT_{forgotten}")  # what RESULT_SCAN has made of it, if it has

    def answer(self, query_id: str) -> Result:
        if query_id not in self.results:
            raise SnowflakeError(f"Statement {query_id} not found or its result has expired.", 709, "02000")
        return self.results[query_id]

    def close(self) -> None:
        """Roll back, and drop what was temporary."""
        from .stages import remove_folder

        with self.lock:
            self.rollback()
            for (kind, _), thing in self.temporary.items():
                if kind == "STAGE":
                    remove_folder(self.account, thing)
            self.temporary.clear()
            self.results.clear()
            self.con.close()


def strip_comments(sql: str) -> str:
    """The statement without its comments; strings, quoted names and ``$$`` bodies are left alone."""
    pattern = r"""('(?:[^'\\]|\\.|'')*'|"(?:[^"]|"")*"|\$\$.*?\$\$)|--[^\n]*|/\*.*?\*/"""
    return re.sub(pattern, lambda m: m[1] or " ", sql, flags=re.S).strip()

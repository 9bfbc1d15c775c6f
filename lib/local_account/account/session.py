"""One client's session: its names in use, its transaction, its temporary objects, its answers."""

import contextlib
import re
import shutil
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
from sqlglot import exp

from local_account.account import catalog
from local_account.account.account import Account
from local_account.account.catalog import Object
from local_account.engine.results import Result
from local_account.text import identifiers
from local_account.text.errors import Missing, SnowflakeError, compilation_error
from local_account.text.identifiers import Name

RESULTS_KEPT = 30  # answers that RESULT_SCAN and asynchronous jobs can still reach


class Session:
    """State of one login. Statements of one session run one after another, sessions run side by side."""

    def __init__(self, account: Account):
        self.account = account
        self.id = uuid.uuid4().hex
        self.con = account.engine.cursor()
        self.con.execute("SET TimeZone = 'UTC'")
        self.con.execute("SET ieee_floating_point_ops = false")  # SQRT(-1) and LN(0) raise
        self.lock = threading.RLock()
        self.database: str | None = None
        self.schema: str | None = None
        self.role = "SYSADMIN"
        self.warehouse: str | None = "COMPUTE_WH"
        self.parameters: dict[str, str] = {}
        self.variables: dict[str, exp.Expression] = {}
        self.temporary: dict[tuple[str, Name], Object] = {}
        self.results: OrderedDict[str, Result] = OrderedDict()
        self.copying: tuple[dict[str, str], list[Path]] | None = None  # format and files of the COPY INTO that runs
        self.in_transaction = False
        self.autocommit = True
        self.held: dict[str, threading.Lock] = {}
        self.later: list[Callable] = []  # what is to be done once the open definition has committed

    # ---- names

    def resolve(self, text: str) -> Name:
        """A name as typed -> the fully qualified name, by the database and schema in use."""
        return self.qualify(identifiers.split(text))

    def qualify(self, parts: list[str]) -> Name:
        for kind, missing, code in (("database", 3, 90105), ("schema", 2, 90106)):
            if len(parts) < missing and getattr(self, kind) is None:
                raise compilation_error(
                    f"Cannot perform operation on {identifiers.display(parts[-1])}. This session does not have a "
                    f"current {kind}. Call 'USE {kind.upper()}', or use a qualified name.", code, "22000"
                )  # fmt: skip
        return Name(*[self.database, self.schema, *parts][-3:] if len(parts) != 2 else [self.database, *parts])

    def named(self, kind: str, text: str) -> Name:
        """The name of an object of this kind: some belong to the account, some to a database, most to a schema."""
        parts = identifiers.split(text)
        if kind in catalog.ACCOUNT_LEVEL:
            limit, parts = 1, ["", "", *parts]
        elif kind in ("SCHEMA", "DATABASE ROLE"):
            database = [] if len(parts) > 1 else [self.qualify(["", parts[0]]).database]
            limit, parts = 2, [*database, *parts[:-1], "", parts[-1]]
        else:
            return self.qualify(parts)
        if len(parts) != 3:
            raise compilation_error(f"syntax error: the name of a {kind.lower()} has {limit} part(s), not {text}", 1003)
        return Name(*parts)

    def use_database(self, database: str) -> None:
        self.need("DATABASE", Name("", "", database))
        self.database = database
        self.schema = "PUBLIC" if self.get("SCHEMA", Name(database, "", "PUBLIC")) else None

    def use_schema(self, database: str, schema: str) -> None:
        self.need_schema(database, schema)
        self.database, self.schema = database, schema

    def need_schema(self, database: str, schema: str) -> None:
        """Raise 002003 unless the schema exists."""
        self.need("DATABASE", Name("", "", database))
        if self.get("SCHEMA", Name(database, "", schema)) is None:
            raise Missing("Schema", f"{identifiers.display(database)}.{identifiers.display(schema)}")

    # ---- catalogued objects, temporary ones first

    def get(self, kind: str, name: Name | str, parent: str = "") -> Object | None:
        name = self.named(kind, name) if isinstance(name, str) else name
        return self.temporary.get((kind, name)) or catalog.get(self.con, kind, name, parent)

    def need(self, kind: str, name: Name | str, parent: str = "") -> Object:
        name = self.named(kind, name) if isinstance(name, str) else name
        found = self.get(kind, name, parent)
        if found is None:
            raise Missing(kind.capitalize(), str(name) if name.schema else name.name)
        return found

    def find(self, kind: str, database: str | None = None, schema: str | None = None, parent: str = "") -> list[Object]:
        """Objects of a kind in the scope given (None: anywhere), oldest first."""
        own = [
            thing for (other, name), thing in self.temporary.items()
            if other == kind and database in (None, name.database) and schema in (None, name.schema)
        ]  # fmt: skip
        return catalog.find(self.con, kind=kind, database=database, schema=schema, parent=parent) + own

    def put(self, thing: Object) -> None:
        if thing.temporary:
            self.temporary[thing.kind, thing.qualified] = thing
        else:
            catalog.put(self.con, thing)

    def forget(self, thing: Object) -> None:
        if thing.temporary:
            self.temporary.pop((thing.kind, thing.qualified), None)
        else:
            catalog.drop(self.con, thing)

    def place_parts(self, name: Name, temporary: bool | None = None) -> tuple[str, str, str]:
        """What the engine calls a table: it has one schema for each of Snowflake's, and one for session tables."""
        if temporary or (temporary is None and ("TABLE", name) in self.temporary):
            return "temp", "main", str(name)
        return catalog.FILE, f"{name.database}.{name.schema}", name.name

    def place(self, name: Name, temporary: bool | None = None) -> str:
        return identifiers.quote(*self.place_parts(name, temporary))

    def key(self, thing: Object) -> str:
        """The name of the lock that who changes the object must hold; its parts share it."""
        if thing.parent:
            return str(Name(thing.database, thing.schema, thing.parent))
        return self.place(thing.qualified, thing.temporary) if thing.kind == "TABLE" else str(thing.qualified)

    def folder(self, thing: Object) -> Path:
        made = self.account.root / catalog.FOLDERS.get(thing.kind, "stages") / thing.properties["folder"]
        made.mkdir(parents=True, exist_ok=True)
        return made

    def new_folder(self, thing: Object) -> Path:
        """A fresh folder for an object; it counts only once a catalog row names it."""
        label = ".".join(filter(None, (thing.database, thing.schema, thing.parent, thing.name)))
        thing.properties["folder"] = f"{label.replace('/', '_')}-{uuid.uuid4().hex[:8]}"
        return self.folder(thing)

    def remove_folder(self, thing: Object) -> None:
        folder = self.folder(thing)
        self.account.workers.forget(folder)
        shutil.rmtree(folder, ignore_errors=True)

    # ---- transactions and locks

    @contextlib.contextmanager
    def change(self, *keys: object) -> Iterator[None]:
        """Run a definition (DDL): whatever transaction was open commits first, then this one stands alone."""
        self.commit()
        with self.locked(*keys):
            self.later = []
            self.con.execute("BEGIN")
            try:
                yield
            except BaseException:
                self.con.execute("ROLLBACK")
                raise
            self.con.execute("COMMIT")
        for action in self.later:
            action()

    @contextlib.contextmanager
    def edit(self, kind: str, name: Name | str, parent: str = "") -> Iterator[Object]:
        """Change one catalogued object, in a definition of its own."""
        name = self.named(kind, name) if isinstance(name, str) else name
        with self.change(self.key(self.need(kind, name, parent))):
            thing = self.need(kind, name, parent)
            yield thing
            self.put(thing)

    @contextlib.contextmanager
    def modify(self, key: str) -> Iterator[None]:
        """Run a change of rows: part of the open transaction, or a transaction of its own."""
        if not self.autocommit and not self.in_transaction:
            self.begin()
        if self.in_transaction:
            if key not in self.held:
                self.held[key] = self.account.locks.acquire(key)
            yield
            return
        with self.change(key):
            yield

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Several changes of rows as one: in the open transaction, or in one of their own."""
        alone = self.autocommit and not self.in_transaction
        self.begin()
        try:
            yield
        except BaseException:
            if alone:
                self.end("ROLLBACK")
            raise
        if alone:
            self.commit()

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
                self.end("ROLLBACK")
                raise SnowflakeError(
                    "Nothing was committed: a statement of this transaction failed, and the local account, unlike "
                    "Snowflake, cannot keep the statements before it.", 625, "40000"
                ) from error  # fmt: skip
        self.end("COMMIT")

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

    def close(self) -> None:
        """Roll back, and drop what was temporary."""
        with self.lock:
            self.end("ROLLBACK")
            for thing in self.temporary.values():
                if "folder" in thing.properties:
                    self.remove_folder(thing)
            self.temporary.clear()
            self.results.clear()
            self.con.close()


def strip_comments(sql: str) -> str:
    """The statement without its comments; strings, quoted names and ``$$`` bodies are left alone."""
    pattern = r"""('(?:[^'\\]|\\.|'')*'|"(?:[^"]|"")*"|\$\$.*?\$\$)|--[^\n]*|/\*.*?\*/"""
    return re.sub(pattern, lambda m: m[1] or " ", sql, flags=re.S).strip()

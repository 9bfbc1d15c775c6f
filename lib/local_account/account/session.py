"""One client's session: its names in use, its transaction, its temporary objects, its results."""

import contextlib
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

from sqlglot import exp

from local_account.account import catalog
from local_account.account.account import Account
from local_account.account.catalog import Object
from local_account.account.transaction import Transaction
from local_account.engine.results import Result
from local_account.text import identifiers
from local_account.text.errors import Missing, compilation_error
from local_account.text.identifiers import Name

RESULTS_KEPT = 30  # results that RESULT_SCAN and asynchronous jobs can still read


class Session:
    """State of one login. Statements of one session run one after another, sessions run side by side."""

    def __init__(self, account: Account):
        self.account, self.handlers, self.folders = account, account.handlers, account.folders
        self.id = uuid.uuid4().hex
        self.con = account.engine.cursor()
        self.con.execute("SET TimeZone = 'UTC'")
        self.con.execute("SET ieee_floating_point_ops = false")  # SQRT(-1) and LN(0) raise
        self.transaction = Transaction(self.con, account.locks, account.known)
        self.lock = threading.RLock()
        self.database: str | None = None
        self.schema: str | None = None
        self.role = "SYSADMIN"
        self.warehouse: str | None = "COMPUTE_WH"
        self.parameters: dict[str, str] = {}
        self.variables: dict[str, exp.Expression] = {}
        self.temporary: dict[tuple[str, Name], Object] = {}
        self.results: OrderedDict[str, Result] = OrderedDict()
        self.demand: Callable[[], None] = lambda: None  # raises if the client has cancelled the statement that runs
        self.load: tuple[dict[str, str], list[Path]] | None = None  # format and files of the running COPY INTO

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
        where = dict(kind=kind, database=name.database, schema=name.schema, name=name.name, parent=parent)
        return self.temporary.get((kind, name)) or next(iter(self.cataloged(**where)), None)

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
        return self.cataloged(kind=kind, database=database, schema=schema, parent=parent) + own

    def cataloged(self, **where: str | None) -> list[Object]:
        return catalog.objects(self.ask(tuple(where.items()), lambda: catalog.rows(self.con, **where)))

    def ask(self, question: Hashable, ask: Callable[[], list]) -> list:
        """An answer that follows from committed definitions alone."""
        return ask() if self.transaction.sees_its_own else self.account.known.answer(question, ask)

    def put(self, thing: Object) -> None:
        if thing.temporary:
            self.temporary[thing.kind, thing.qualified] = thing
        else:
            catalog.put(self.con, thing)
            self.transaction.define()

    def forget(self, thing: Object) -> None:
        if thing.temporary:
            self.temporary.pop((thing.kind, thing.qualified), None)
        else:
            catalog.drop(self.con, thing)
            self.transaction.define()

    def create_folder(self, thing: Object) -> Path:
        """A new folder for an object whose row this transaction writes."""
        folder = self.folders.create(thing)
        if not thing.temporary:
            self.transaction.after_commit.append(lambda: self.folders.finish(folder.name))
        return folder

    def place_parts(self, name: Name, temporary: bool | None = None) -> tuple[str, str, str]:
        """A table's name in the engine, which has one schema for each of Snowflake's and one for temporary tables."""
        if temporary or (temporary is None and ("TABLE", name) in self.temporary):
            return "temp", "main", str(name)
        return catalog.FILE, f"{name.database}.{name.schema}", name.name

    def place(self, name: Name, temporary: bool | None = None) -> str:
        return identifiers.quote(*self.place_parts(name, temporary))

    def key(self, thing: Object) -> str:
        """The lock to hold while changing an object. An object and its parts share one lock."""
        if thing.parent:
            return str(Name(thing.database, thing.schema, thing.parent))
        return self.place(thing.qualified, thing.temporary) if thing.kind == "TABLE" else str(thing.qualified)

    @contextlib.contextmanager
    def edit(self, kind: str, name: Name | str, parent: str = "") -> Iterator[Object]:
        """Change one catalogued object, in a definition of its own."""
        name = self.named(kind, name) if isinstance(name, str) else name
        with self.transaction.change(self.key(self.need(kind, name, parent))):
            thing = self.need(kind, name, parent)
            yield thing
            self.put(thing)

    # ---- results

    def keep(self, query_id: str, result: Result) -> None:
        self.results[query_id] = result
        while len(self.results) > RESULTS_KEPT:
            forgotten, _ = self.results.popitem(last=False)
            self.con.unregister(f"RESULT_{forgotten}")  # RESULT_SCAN registers it

    def close(self) -> None:
        """Roll back, and drop what was temporary."""
        with self.lock:
            self.transaction.end("ROLLBACK")
            for thing in self.temporary.values():
                if "folder" in thing.properties:
                    self.folders.remove(thing)
            self.temporary.clear()
            self.results.clear()
            self.con.close()

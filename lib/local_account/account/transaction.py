"""A session's transaction, and the locks that it holds."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import duckdb

from local_account.account.known import Known
from local_account.account.locks import WriteLocks
from local_account.text.errors import SnowflakeError


class Transaction:
    """The open transaction of one session, if there is one, and how statements join it."""

    def __init__(self, con: duckdb.DuckDBPyConnection, locks: WriteLocks, known: Known):
        self.con, self.locks, self.known = con, locks, known
        self.is_open = False
        self.is_alone = False  # within a definition, or a change of rows that is a transaction of its own
        self.defines = False  # what is not yet committed changes the catalog
        self.autocommit = True
        self.held: dict[str, threading.Lock] = {}
        self.after_commit: list[Callable] = []  # what to do once the definition that runs has committed

    @contextlib.contextmanager
    def change(self, *keys: object, temporary: bool = False) -> Iterator[None]:
        """Run a definition (DDL): the open transaction commits first, and the definition is a transaction of its own.
        ``keys`` are the locks to hold meanwhile; ``temporary`` are definitions of the session's own objects."""
        with self.alone(*keys):
            self.defines = self.defines or not temporary
            yield

    @contextlib.contextmanager
    def alone(self, *keys: object) -> Iterator[None]:
        """A transaction of its own, after the open one has committed."""
        self.commit()
        with self.locks.hold(*keys):
            self.after_commit = []
            self.con.execute("BEGIN")
            self.is_alone = True
            try:
                yield
            except BaseException:
                self.con.execute("ROLLBACK")
                raise
            else:
                self.con.execute("COMMIT")
            finally:
                self.is_alone = False
                self.tell()
        for action in self.after_commit:
            action()

    @property
    def sees_its_own(self) -> bool:
        """Whether the session may see other definitions than those that are committed."""
        return self.is_open or self.is_alone

    def define(self) -> None:
        """An object has been written."""
        self.defines = True
        if not self.sees_its_own:
            self.tell()

    def tell(self) -> None:
        """What was defined is committed now, or rolled back."""
        if self.defines:
            self.defines = False
            self.known.changed()

    @contextlib.contextmanager
    def modify(self, key: str) -> Iterator[None]:
        """Run a change of rows: part of the open transaction, or a transaction of its own."""
        if not self.autocommit and not self.is_open:
            self.begin()
        if self.is_open:
            if key not in self.held:
                self.held[key] = self.locks.acquire(key)
            yield
            return
        with self.alone(key):
            yield

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Several changes of rows as one: in the open transaction, or in one of their own."""
        alone = self.autocommit and not self.is_open
        self.begin()
        try:
            yield
        except BaseException:
            if alone:
                self.end("ROLLBACK")
            raise
        if alone:
            self.commit()

    def begin(self) -> None:
        if not self.is_open:
            self.con.execute("BEGIN")
            self.is_open = True

    def commit(self) -> None:
        """Commit what is open. Raises when an earlier error has undone it, because the engine has no savepoints."""
        if self.is_open:
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
        if not self.is_open:
            return
        try:
            self.con.execute(verb)
        finally:
            self.is_open = False
            self.tell()
            for lock in self.held.values():
                lock.release()
            self.held.clear()

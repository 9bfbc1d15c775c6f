"""Locks between the writers of one account."""

import contextlib
import threading
from collections.abc import Iterator

from local_account.text.errors import SnowflakeError

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

    @contextlib.contextmanager
    def hold(self, *keys: object) -> Iterator[None]:
        """Several locks at once, always taken in the same order."""
        taken = []
        try:
            for key in sorted(set(map(str, keys))):
                taken.append(self.acquire(key))
            yield
        finally:
            for lock in taken:
                lock.release()

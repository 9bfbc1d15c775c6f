"""Files and folders of one user alone, and locks between that user's processes."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


class AccountError(Exception):
    """The reason why an account folder cannot be served, for the user to read."""


def make_private(root: Path) -> None:
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
    except OSError as error:
        raise AccountError(f"the folder {root} cannot be used: {error.strerror}") from error


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read; a reader sees either the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def read_private(path: Path) -> str | None:
    """The text of a file that nobody else can have written; None without such a file, or if it is no text."""
    try:
        with open(path, encoding="utf-8") as stream:
            about = os.fstat(stream.fileno())
            if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & 0o022):
                return None
            return stream.read()
    except (OSError, UnicodeDecodeError):
        return None


@contextlib.contextmanager
def file_lock(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock of a file, after waiting for it so long. The system releases it however the process ends."""
    lock = FileLock(path, timeout=seconds, poll_interval=0.02, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise AccountError(f"another process has held {path} for {seconds:.0f} s; is it hung?") from error
    except OSError as error:
        raise AccountError(f"the folder {path.parent} cannot be used: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0, mode=0o600):
            return False
    except Timeout:
        return True
    except OSError:
        return False

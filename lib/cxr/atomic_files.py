"""Atomic file writes."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def write_atomically(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a temporary file, to write and to map, which replaces `path` if the block ends without an error.

    A reader sees the old file or the complete new one, even after a crash, and concurrent writers do not interfere.
    The mode is 0600 (owner only), because most of these files are derived from patients' images.

    Args:
        durable: wait until the disk has it. Else a crash of the machine may leave a damaged file under the name: for
            caches that are checked before they are used.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

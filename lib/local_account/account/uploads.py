"""The receiving side of PUT. The connector sends each file over HTTP, as it does to cloud storage.

A file is on the stage once it has arrived completely; a client or server that dies before leaves nothing visible.

To the connector the stage is a bucket with one signed address. The address does not name the file, so for a PUT of
several files the account hashes the sources (client and account share a machine) and recognises each by its digest.
"""

import base64
import hashlib
import os
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from local_account.text.errors import SnowflakeError

KEPT = 1000  # addresses that are still valid; older ones have been used
DIGEST_HEADER = "x-goog-meta-sfc-digest"
LIMIT_BYTES = 5 << 30


@dataclass
class Upload:
    """What one PUT may send: the folder, the file's name, and whether an existing file may be replaced."""

    folder: Path
    name: str  # of the source, or empty when there are several
    compress: bool
    overwrite: bool
    digests: dict[str, list[str]] = field(default_factory=dict)  # digest -> names of sources with that content

    def target(self, digest: str) -> Path:
        known = self.digests.get(digest)
        if known:
            return self.folder / (known.pop() if len(known) > 1 else known[0])
        if not self.name:
            raise SnowflakeError(
                "PUT sent a file that is not one of its sources, or that has changed since.", 253003, "22000"
            )
        return self.folder / (self.name + ".gz" * (self.compress and not self.name.endswith(".gz")))


class Uploads:
    """The addresses that PUT statements have given out."""

    def __init__(self, incoming: Path):
        self.incoming = incoming
        self.known: OrderedDict[str, Upload] = OrderedDict()
        incoming.mkdir(exist_ok=True)
        for rest in incoming.iterdir():
            rest.unlink()  # left by a server that was killed

    def expect(self, upload: Upload) -> str:
        key = secrets.token_hex(16)
        self.known[key] = upload
        while len(self.known) > KEPT:
            self.known.popitem(last=False)
        return key

    def temporary(self) -> Path:
        return self.incoming / secrets.token_hex(8)


def digest_of(source: Path) -> str:
    with open(source, "rb") as stream:
        return base64.b64encode(hashlib.file_digest(stream, "sha256").digest()).decode()


def digests(sources: list[Path]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for source in sources:
        found.setdefault(digest_of(source), []).append(source.name)
    return found


def publish(received: Path, upload: Upload, digest: str) -> None:
    """Put the received file on the stage. Raises when its digest is not the sender's."""
    if digest_of(received) != digest:
        raise SnowflakeError("The file arrived damaged; send it again.", 253003, "22000")
    target = upload.target(digest)
    if target.exists() and not upload.overwrite:
        return  # without OVERWRITE the staged file stays
    target.parent.mkdir(parents=True, exist_ok=True)
    sync(received)
    received.replace(target)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

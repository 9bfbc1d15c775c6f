"""PUT, on the receiving side: the connector sends each file over HTTP, as it does to cloud storage, and the file is on
the stage when the whole of it is here. A client or a server that dies in between leaves nothing to be seen.

The connector is told that the stage is a bucket with one signed address. That address does not name the file, so for a
PUT of several files the account hashes the sources (client and account share a machine) and knows each by its digest.
"""

import base64
import hashlib
import os
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from local_account.text.errors import SnowflakeError

KEPT = 1000  # addresses that are still good; older ones were used long ago
DIGEST_HEADER = "x-goog-meta-sfc-digest"
LIMIT_BYTES = 5 << 30


@dataclass
class Upload:
    """What one PUT may send: where to, under which name, and whether it may replace what is there."""

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
            raise SnowflakeError("A file that PUT sent is none of its sources, or has changed since.", 253003, "22000")
        return self.folder / (self.name + ".gz" * (self.compress and not self.name.endswith(".gz")))


class Uploads:
    """The addresses that PUT statements have given out."""

    def __init__(self, incoming: Path):
        self.incoming = incoming
        self.known: OrderedDict[str, Upload] = OrderedDict()
        incoming.mkdir(exist_ok=True)
        for rest in incoming.iterdir():
            rest.unlink()  # of a server that was killed

    def expect(self, upload: Upload) -> str:
        key = secrets.token_hex(16)
        self.known[key] = upload
        while len(self.known) > KEPT:
            self.known.popitem(last=False)
        return key

    def aside(self) -> Path:
        return self.incoming / secrets.token_hex(8)


def digest_of(source: Path) -> str:
    with open(source, "rb") as stream:
        return base64.b64encode(hashlib.file_digest(stream, "sha256").digest()).decode()


def digests(sources: list[Path]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for source in sources:
        found.setdefault(digest_of(source), []).append(source.name)
    return found


def publish(aside: Path, upload: Upload, digest: str) -> None:
    """Put the received file on the stage. Raises when it is not what the sender has hashed."""
    if digest_of(aside) != digest:
        raise SnowflakeError("The file arrived damaged; send it again.", 253003, "22000")
    target = upload.target(digest)
    if target.exists() and not upload.overwrite:
        return  # it stays as it is
    target.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(aside, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    aside.replace(target)

"""How a client knows the server of a folder before it sends anything: by a key that both read from the folder.

The client sends a random number; the server answers with the HMAC of it, of its port and of its folder, which it knows
by device and inode. So a program that has taken the port of a server that ended cannot answer, nor can the server of
the folder that this one was copied from. The key itself is never sent, unlike the password.
"""

import hmac
import json
import re
import secrets
from pathlib import Path

from local_account.workers.loopback import HOST, OPENER

PROOF_SECONDS = 5.0
NONCE = re.compile(r"[0-9a-f]{64}")


def identity(path: Path) -> tuple[int, int] | None:
    """A file or folder by device and inode; None if it is not there."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def prove(key: str, nonce: str, port: int, folder: tuple[int, int]) -> str:
    return hmac.new(key.encode(), f"local account {nonce} {port} {folder}".encode(), "sha256").hexdigest()


def is_proven(key: str, port: int, root: Path) -> bool:
    """Whether the server on this port knows the folder's key and stands in this folder."""
    folder, nonce = identity(root), secrets.token_hex(32)
    try:
        with OPENER.open(f"http://{HOST}:{port}/proof?nonce={nonce}", timeout=PROOF_SECONDS) as response:
            answer = json.loads(response.read(1000))
        return folder is not None and hmac.compare_digest(str(answer["proof"]), prove(key, nonce, port, folder))
    except (OSError, ValueError, TypeError, KeyError):
        return False

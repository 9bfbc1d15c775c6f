"""Limits that a test can set: ``limits.json`` in the account's folder, read at every use."""

import json
from dataclasses import dataclass
from pathlib import Path

from local_account.workers.connections import PATIENCE


@dataclass(frozen=True)
class Limits:
    packages: tuple[str, ...] | None = None
    """what the warehouse's Python offers, each as ``name==version``; None: the packages of this environment"""
    handler_seconds: float = 180.0
    """the longest that one call of a Python handler may take on a warehouse"""
    provisioning_seconds: float = 1.0
    """how long a new service's public endpoint has no address yet; minutes on the platform"""
    patience: float = PATIENCE
    """how many seconds a client may take for a request's headers, or be silent within its body; read when the server
    starts"""


def read_limits(root: Path) -> Limits:
    """Raises TypeError for a name that is not a limit, ValueError for what is not JSON."""
    file = root / "limits.json"
    return Limits(**json.loads(file.read_text())) if file.exists() else Limits()

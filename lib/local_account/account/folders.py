"""The folders in which objects keep their files: stages, model versions, functions, bundles and apps."""

import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from local_account.account.catalog import Object
from local_account.workers.pool import Workers

KINDS = {"MODEL VERSION": "models", "FUNCTION": "functions"}  # all others: stages


class Folders:
    """One folder for each catalogued object that has files. A folder counts only once a catalog row names it."""

    def __init__(self, root: Path, workers: Workers):
        self.root, self.workers = root, workers
        self.parents = [root / name for name in ("stages", *KINDS.values())]
        for parent in self.parents:
            parent.mkdir(exist_ok=True)

    def path(self, thing: Object) -> Path:
        folder = self.root / KINDS.get(thing.kind, "stages") / thing.properties["folder"]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def create(self, thing: Object) -> Path:
        """A new folder for an object; its catalog row, which the caller writes, names it."""
        label = ".".join(filter(None, (thing.database, thing.schema, thing.parent, thing.name)))
        thing.properties["folder"] = f"{label.replace('/', '_')}-{uuid.uuid4().hex[:8]}"
        return self.path(thing)

    def remove(self, thing: Object) -> None:
        folder = self.path(thing)
        self.workers.forget(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def remove_all_but(self, kept: Iterable[str]) -> None:
        """Remove what a killed server has left behind. ``kept``: names of folders."""
        for parent in self.parents:
            for folder in parent.iterdir():
                if folder.name not in kept:
                    shutil.rmtree(folder)

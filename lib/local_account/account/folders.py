"""The folders in which objects keep their files: stages, model versions, functions, bundles and apps.

A folder counts once a committed catalog row names it. Until then a mark of its name stands in ``unfinished/``, so that
what a killed server left half made can be told from files whose row was lost with the database: the first is removed,
the second is put aside.
"""

import datetime as dt
import logging
import shutil
import uuid
from pathlib import Path

from local_account.account.catalog import Object
from local_account.account.private_files import AccountError
from local_account.workers.pool import Workers

log = logging.getLogger("local_account")
KINDS = {"MODEL VERSION": "models", "FUNCTION": "functions"}  # all others: stages


class Folders:
    """One folder for each catalogued object that has files."""

    def __init__(self, root: Path, workers: Workers):
        self.root, self.workers = root, workers
        self.parents = [root / name for name in ("stages", *KINDS.values())]
        self.unfinished = root / "unfinished"
        self.begun: set[str] = set()  # whose rows may have been committed since
        for parent in [*self.parents, self.unfinished]:
            parent.mkdir(exist_ok=True)

    def path(self, thing: Object) -> Path:
        folder = self.root / KINDS.get(thing.kind, "stages") / thing.properties["folder"]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def create(self, thing: Object) -> Path:
        """A new folder for an object; its catalog row, which the caller writes, names it."""
        label = ".".join(filter(None, (thing.database, thing.schema, thing.parent, thing.name)))
        name = thing.properties["folder"] = f"{label.replace('/', '_')}-{uuid.uuid4().hex[:8]}"
        (self.unfinished / name).touch()
        if not thing.temporary:  # a temporary object has no row: its mark stays until it is removed
            self.begun.add(name)
        return self.path(thing)

    def remove(self, thing: Object) -> None:
        folder = self.path(thing)
        self.workers.forget(folder)
        (self.unfinished / folder.name).touch()  # a server that is killed meanwhile goes on with it at its next start
        shutil.rmtree(folder, ignore_errors=True)
        self.begun.discard(folder.name)
        (self.unfinished / folder.name).unlink(missing_ok=True)

    def finish(self, name: str) -> None:
        """A row that names the folder has been committed."""
        (self.unfinished / name).unlink(missing_ok=True)
        self.begun.discard(name)

    def settle(self, named: set[str]) -> None:
        for name in self.begun & named:
            self.finish(name)

    def demand_empty(self, database: Path, named: set[str]) -> None:
        """Raise if there are files of objects that nothing names, and no database that once could."""
        known = named | {mark.name for mark in self.unfinished.iterdir()}
        full = [folder for folder in self.folders() if folder.name not in known and holds_files(folder)]
        if full or (not database.exists() and database.with_name(f"{database.name}.wal").exists()):
            raise AccountError(
                f"the database {database} is missing or empty, but {len(full)} folders beside it hold files of its "
                "stages and models: put it back, with its .wal file if there was one; or, to begin without them, move "
                f"the whole folder {self.root} away"
            )

    def folders(self) -> list[Path]:
        return [folder for parent in self.parents for folder in sorted(parent.iterdir())]

    def put_aside(self, named: set[str]) -> None:
        """Clear the folders that no row names. What was never finished is removed; anything else goes to ``orphans/``,
        because its row may have been lost."""
        marked = {mark.name for mark in self.unfinished.iterdir()}
        aside = self.root / "orphans" / dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H-%M-%S")
        for folder in self.folders():
            if folder.name in named:
                continue
            if folder.name in marked or not holds_files(folder):
                shutil.rmtree(folder)
                continue
            place = aside / folder.parent.name / folder.name
            place.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(place)
            log.warning("%s is in no row of the database; it is now in %s", folder.name, place)
        for name in marked:
            (self.unfinished / name).unlink(missing_ok=True)


def holds_files(folder: Path) -> bool:
    return not folder.is_dir() or any(not path.is_dir() for path in folder.rglob("*"))

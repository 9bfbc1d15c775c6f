"""Where images come from: a folder (or the mount of a stage), a zip, a stage. And how they get onto the images stage.

A source lists names, reads bytes and places files under new names; nothing else knows which kind it is. Names are
relative, with forward slashes, and come in a stable order.
"""

import os
import re
import shutil
import stat
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import pandas as pd
from snowflake.connector.errors import ProgrammingError
from snowflake.snowpark import Session
from snowflake.snowpark.exceptions import SnowparkSQLException

from cxr.account.project import Project
from cxr.account.tables import temporary
from cxr.model.preprocessing import MAX_BYTES, BadImage
from cxr.phantoms.dataset import MANIFEST

Placed = Sequence[tuple[str, str]]  # (name in the source, place on the images stage)
PHANTOMS = "phantoms/"  # how the names of sources of phantoms begin
_STAGE_PLACE = re.compile(r"@([A-Za-z_][\w$]*\.){0,2}[A-Za-z_][\w$]*(/.*)?")
Read = Callable[[str], bytes]  # raises OSError or BadImage


def open_source(project: Project, data: str | Path) -> "Folder | Zip | Stage":
    """The source behind a folder's path, the path of a `.zip`, or `@stage/path`.

    Raises:
        FileNotFoundError: there is no such folder or zip.
        ValueError: the zip is damaged.
    """
    if str(data).startswith("@"):
        return Stage(
            project.session, str(data), Path(project.settings.data_mount) if project.settings.data_mount else None
        )
    path = Path(data).expanduser()
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        return Zip(path)
    raise FileNotFoundError(
        f"There is no folder or zip {path}. Set `data` to one, to @stage/path, or leave it empty for phantoms."
    )


class Folder:
    """A local folder. Symbolic links to folders are not followed."""

    def __init__(self, root: Path):
        self.root = root.resolve()
        phantoms = (self.root / MANIFEST).exists()
        self.name = PHANTOMS + self.root.name if phantoms else self.root.as_posix()

    def names(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(name for name in folders if name[0] != ".")
            below = Path(folder).relative_to(self.root)
            yield from ((below / name).as_posix() for name in sorted(files) if name[0] != ".")

    @contextmanager
    def reading(self, names: Sequence[str]) -> Iterator[Read]:
        yield self.read

    def read(self, name: str) -> bytes:
        path = self.root / name
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(None, "not a regular file")
        refuse_large(found.st_size)
        return path.read_bytes()

    def place(self, project: Project, files: Placed) -> None:
        with private_folder() as scratch:
            for name, place in files:
                Path(scratch, PurePosixPath(place).name).symlink_to(self.root / name)
            put(project, scratch, files)


class Zip:
    """A zip archive; nothing is unpacked under a name that the archive chooses."""

    def __init__(self, path: Path):
        self.name = path.resolve().as_posix()
        try:
            self.archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} is no zip that can be read: {error}") from None

    def names(self) -> Iterator[str]:
        names = {entry.filename for entry in self.archive.infolist() if not entry.is_dir()}
        yield from sorted(name for name in names if not any(p[:1] == "." or p == "__MACOSX" for p in name.split("/")))

    @contextmanager
    def reading(self, names: Sequence[str]) -> Iterator[Read]:
        yield self.read

    def read(self, name: str) -> bytes:
        refuse_large(self.archive.getinfo(name).file_size)
        try:
            with self.archive.open(name) as file:
                data = file.read(MAX_BYTES + 1)  # the size in the directory may lie
        except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
            raise OSError(None, f"the zip's entry stopped with {type(error).__name__}") from None
        refuse_large(len(data))
        return data

    def place(self, project: Project, files: Placed) -> None:
        with private_folder() as scratch:
            for name, place in files:
                Path(scratch, PurePosixPath(place).name).write_bytes(self.read(name))
            put(project, scratch, files)


class Stage:
    """Files below a place on a stage, which stay in Snowflake: they are placed by COPY FILES from stage to stage.

    To be checked they are read through `mount`, where the notebook has one for this very place, else from copies that
    come a batch at a time to where the notebook runs. The stage needs a directory table.
    """

    def __init__(self, session: Session, url: str, mount: Path | None = None):
        if not _STAGE_PLACE.fullmatch(url):
            raise ValueError(f"{url!r} is not of the form @database.schema.stage/path")
        self.session = session
        self.name = url.rstrip("/")
        self.stage, _, self.path = self.name.partition("/")
        self.mount = Folder(mount) if mount and mount.is_dir() else None

    def names(self) -> Iterator[str]:
        try:
            refresh(self.session, self.stage[1:])
        except (SnowparkSQLException, ProgrammingError) as error:
            warnings.warn(f"{self.stage} is listed as of its last refresh: {error}", stacklevel=2)
        prefix = f"{self.path}/" if self.path else ""
        rows = self.session.sql(
            f"SELECT SUBSTR(RELATIVE_PATH, {len(prefix) + 1}) FROM DIRECTORY({self.stage}) "
            "WHERE STARTSWITH(RELATIVE_PATH, ?) ORDER BY RELATIVE_PATH",
            params=[prefix],
        )
        yield from (row[0] for row in rows.to_local_iterator() if not PurePosixPath(row[0]).name.startswith("."))

    @contextmanager
    def reading(self, names: Sequence[str]) -> Iterator[Read]:
        if self.mount:
            yield self.mount.read
            return
        with private_folder() as scratch:
            # GET forgets folders, and takes no list of files: numbers keep names apart, one folder makes one GET.
            numbers = {name: str(number) for number, name in enumerate(names)}
            with temporary_stage(self.session) as own:
                self.copy(own, numbers.items())
                self.session.file.get(own, scratch)
            yield lambda name: Folder(Path(scratch)).read(numbers[name])

    def place(self, project: Project, files: Placed) -> None:
        self.copy(project.images_stage, files)

    def copy(self, target: str, files: Placed) -> None:
        rows = pd.DataFrame([(f"{self.name}/{name}", place) for name, place in files], columns=["URL", "PLACE"])
        with temporary(self.session, "URL STRING, PLACE STRING", rows) as table:
            self.session.sql(f"COPY FILES INTO {target} FROM (SELECT URL, PLACE FROM {table})").collect()


def refresh(session: Session, stage: str) -> None:
    """Bring the stage's directory table up to date. The answer has a row for each new file, and is left where it is."""
    session.sql(f"ALTER STAGE {stage} REFRESH").collect(block=False).result("no_result")


@contextmanager
def private_folder() -> Iterator[str]:
    """A temporary folder for copies of images. Those that killed runs left a day ago and more are removed first."""
    for left in Path(tempfile.gettempdir()).glob("cxr-images-*"):
        with suppress(OSError):  # another user's stays; another process may be quicker
            if time.time() - left.stat().st_mtime > 24 * 3600:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix="cxr-images-") as scratch:
        yield scratch


@contextmanager
def temporary_stage(session: Session) -> Iterator[str]:
    session.sql("CREATE OR REPLACE TEMPORARY STAGE CXR_INCOMING ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')").collect()
    yield "@CXR_INCOMING"
    session.sql("DROP STAGE CXR_INCOMING").collect()


def put(project: Project, folder: str, files: Placed) -> None:
    """Upload a flat folder in one transfer. What is there already is written over: a killed run may have left half."""
    (home,) = {str(PurePosixPath(place).parent) for _, place in files}
    project.session.file.put(
        f"file://{folder}/*", f"{project.images_stage}/{home}", auto_compress=False, overwrite=True
    )


def refuse_large(size: int) -> None:
    if size > MAX_BYTES:
        raise BadImage("too_large", f"{size / 2**20:.0f} MB; at most {MAX_BYTES // 2**20} MB are read")

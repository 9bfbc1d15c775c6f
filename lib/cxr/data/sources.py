"""Sources of images: a folder (or the mount of a stage), a zip, a stage. And how images get onto the images stage.

A source lists names, reads bytes and places files under new names; nothing else knows which kind it is. Names are
relative, with forward slashes, and come in a stable order.
"""

import hashlib
import lzma
import os
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
from snowflake.connector.errors import ProgrammingError
from snowflake.snowpark import Session
from snowflake.snowpark.exceptions import SnowparkSQLException

from cxr.account.project import Project
from cxr.account.scratch import private_folder, temporary_stage
from cxr.account.tables import temporary
from cxr.data.in_account.examining import CHANGED
from cxr.model.limits import MAX_BYTES, refuse_large
from cxr.model.xray import BadImage
from cxr.phantoms.dataset import MANIFEST

Placed = Sequence[tuple[str, str]]  # (name in the source, place on the images stage)
PHANTOMS = "phantoms/"  # how the names of sources of phantoms begin
_STAGE_PLACE = re.compile(r"@([A-Za-z_][\w$]*\.){0,2}[A-Za-z_][\w$]*(/.*)?")
Read = Callable[[str], bytes]  # raises OSError or BadImage
Refusals = dict[str, BadImage]  # by name in the source
UPLOAD_BYTES = 512 * 2**20  # copied and sent at a time
# What a damaged entry of a zip, or one of a kind that Python does not know, raises.
_BROKEN_ENTRY = (zlib.error, lzma.LZMAError, RuntimeError, EOFError, ValueError, KeyError, IndexError, struct.error)


def open_source(project: Project, data: str | Path) -> "Folder | Zip | Stage":
    """The source behind `@stage/path`, or one of :func:`open_local`, and its errors."""
    if str(data).startswith("@"):
        return Stage(
            project.session, str(data), Path(project.settings.data_mount) if project.settings.data_mount else None
        )
    return open_local(data)


def open_local(data: str | Path) -> "Folder | Zip":
    """The source behind a folder's path, the path of a `.zip`, or that of a folder in one: `images.zip/test`.

    Raises:
        FileNotFoundError: there is no such folder or zip.
        ValueError: the zip is damaged.
    """
    path = Path(data).expanduser()
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        return Zip(path)
    for archive in path.parents:
        if archive.is_file():
            return Zip(archive, path.relative_to(archive).as_posix())
    raise FileNotFoundError(
        f"There is no folder or zip {path}. Set `data` to one, to @stage/path, or leave it empty for phantoms."
    )


class Folder:
    """A local folder. Symbolic links to folders are not followed."""

    def __init__(self, root: Path):
        self.root = root.resolve()
        phantoms = (self.root / MANIFEST).exists()
        self.name = PHANTOMS + self.root.name if phantoms else self.root.as_posix()
        self.unlisted: list[str] = []  # folders that cannot be looked into, named as files are

    def _cannot_list(self, error: OSError) -> None:
        self.unlisted.append(Path(error.filename).relative_to(self.root).as_posix())

    def names(self) -> Iterator[str]:
        self.unlisted.clear()
        for folder, folders, files in os.walk(self.root, onerror=self._cannot_list):
            folders[:] = sorted(name for name in folders if name[0] != ".")
            below = Path(folder).relative_to(self.root)
            names = ((below / name).as_posix() for name in sorted(files) if name[0] != ".")
            yield from (name for name in names if name != MANIFEST)

    @contextmanager
    def reading(self, names: Sequence[str]) -> Iterator["Folder"]:
        yield self

    def read(self, name: str) -> bytes:
        path = self.root / name
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(None, "not a regular file")
        refuse_large(found.st_size)
        return path.read_bytes()

    def place(self, project: Project, files: Placed) -> Refusals:
        return upload(project, self.read, files)


class Zip:
    """A zip archive, or a folder in it; nothing is unpacked under a name that the archive chooses."""

    def __init__(self, path: Path, folder: str = ""):
        self.name = "/".join(filter(None, (path.resolve().as_posix(), folder)))
        self.unlisted: list[str] = []
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, *_BROKEN_ENTRY) as error:
            raise ValueError(f"{path} is no zip that can be read: {error}") from None
        # Some programs of Windows write backslashes.
        entries = {e.filename.replace("\\", "/"): e for e in self.archive.infolist() if not e.is_dir()}
        start = f"{folder}/" if folder else ""
        self._entries = {name[len(start) :]: e for name, e in entries.items() if name.startswith(start)}
        if folder and not self._entries:
            raise FileNotFoundError(f"{path} holds no folder {folder}")

    def names(self) -> Iterator[str]:
        hidden = (name for name in self._entries if any(p[:1] == "." or p == "__MACOSX" for p in name.split("/")))
        yield from sorted(self._entries.keys() - set(hidden))

    @contextmanager
    def reading(self, names: Sequence[str]) -> Iterator["Zip"]:
        yield self

    def read(self, name: str) -> bytes:
        entry = self._entries[name]
        refuse_large(entry.file_size)
        try:
            with self.archive.open(entry) as file:
                data = file.read(MAX_BYTES + 1)  # the size in the directory may lie
        except (zipfile.BadZipFile, *_BROKEN_ENTRY) as error:
            raise OSError(None, f"the zip's entry stopped with {type(error).__name__}") from None
        refuse_large(len(data))
        return data

    def place(self, project: Project, files: Placed) -> Refusals:
        return upload(project, self.read, files)


class Stage:
    """Files below a place on a stage, which needs a directory table.

    Ingest checks and places them in the account (`in_place`). Code that needs their bytes reads them through `mount`,
    where the notebook has one for this very place, else from copies that come a batch at a time.
    """

    def __init__(self, session: Session, url: str, mount: Path | None = None):
        if not _STAGE_PLACE.fullmatch(url):
            raise ValueError(f"{url!r} is not of the form @database.schema.stage/path")
        self.session = session
        self.name = url.rstrip("/")
        self.stage, _, self.path = self.name.partition("/")
        self.mount = Folder(mount) if mount and mount.is_dir() else None
        self.unlisted: list[str] = []

    def names(self) -> Iterator[str]:
        refuse_client_side_encryption(self.session, self.stage)
        try:
            refresh(self.session, self.stage[1:])
        except (SnowparkSQLException, ProgrammingError) as error:
            warnings.warn(f"{self.stage} is listed as of its last refresh: {error}", stacklevel=2)
        rows = self.session.sql(
            f"SELECT SUBSTR(RELATIVE_PATH, {len(self.prefix) + 1}) FROM DIRECTORY({self.stage}) "
            "WHERE STARTSWITH(RELATIVE_PATH, ?) ORDER BY RELATIVE_PATH",
            params=[self.prefix],
        )
        yield from (row[0] for row in rows.to_local_iterator() if not PurePosixPath(row[0]).name.startswith("."))

    @property
    def prefix(self) -> str:
        """The beginning of the paths of all files, on the stage."""
        return f"{self.path}/" if self.path else ""

    @contextmanager
    def reading(self, names: Sequence[str]) -> Iterator["Folder | CopiedFiles"]:
        """A reader of the files in this process. Ingest does not need it (`in_place`)."""
        if self.mount:
            yield self.mount
            return
        with private_folder() as scratch, temporary_stage(self.session) as own:
            # GET forgets folders, and takes no list of files: numbers keep names apart, one folder makes one GET.
            numbers = {name: str(number) for number, name in enumerate(names)}
            copy_files(self.session, f"{self.name}/", own, numbers.items())
            self.session.file.get(own, scratch)
            yield CopiedFiles(Folder(Path(scratch)), numbers)


@dataclass(frozen=True)
class CopiedFiles:
    """Local copies of a stage's files, named by numbers."""

    folder: Folder
    numbers: dict[str, str]

    def read(self, name: str) -> bytes:
        return self.folder.read(self.numbers[name])


def refuse_client_side_encryption(session: Session, stage: str) -> None:
    """SHOW STAGES tells an internal stage's encryption in its column `type`: "INTERNAL" is Snowflake's default, under
    which clients encrypt the files, and "INTERNAL NO CSE" is SNOWFLAKE_SSE. The words are from public code that reads
    them, and were not seen in an account. A stage that is not shown is not refused.

    Raises:
        ValueError: no function in the account can read the stage's files.
    """
    *scope, name = stage[1:].split(".")
    within = f" IN SCHEMA {'.'.join(scope)}" if scope else ""
    try:
        shown = session.sql(f"SHOW STAGES LIKE '{name}'{within}").collect()
    except (SnowparkSQLException, ProgrammingError):  # a schema that is not there, which the listing tells
        return
    kinds = {row["type"].upper() for row in shown if row["name"] == name.upper()}
    if any(kind.startswith("INTERNAL") and "NO CSE" not in kind for kind in kinds):
        raise ValueError(
            f"{stage} has Snowflake's default encryption (SNOWFLAKE_FULL): no function in the account can read its "
            "files. An internal stage keeps its encryption, so put the files onto another one: "
            f"CREATE STAGE {stage[1:]}_SSE DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')"
        )


def refresh(session: Session, stage: str) -> None:
    """Refresh the stage's directory table. The result, which has a row for each new file, is not fetched."""
    session.sql(f"ALTER STAGE {stage} REFRESH").collect(block=False).result("no_result")


def read_checked(read: Read, name: str, place: str) -> bytes | BadImage:
    """The file's bytes, if their hash is still the one in the path on the stage."""
    try:
        data = read(name)
    except BadImage as bad:
        return bad
    except OSError as error:
        return BadImage("unreadable", error.strerror or type(error).__name__)
    if hashlib.sha256(data).hexdigest() != PurePosixPath(place).stem:
        return BadImage(CHANGED.reason, CHANGED.detail)
    return data


def upload(project: Project, read: Read, files: Placed) -> Refusals:
    """Upload the files whose hash is still the one in their path, and return those that have changed.

    A copy is uploaded, so that the file cannot change between the check of its content and the upload.
    """
    refused, waiting = {}, list(reversed(files))
    while waiting:
        with private_folder() as scratch:
            placed, size = [], 0
            while waiting and size < UPLOAD_BYTES:
                name, place = waiting.pop()
                data = read_checked(read, name, place)
                if isinstance(data, BadImage):
                    refused[name] = data
                    continue
                Path(scratch, PurePosixPath(place).name).write_bytes(data)
                placed.append((name, place))
                size += len(data)
            if placed:
                _put(project, scratch, [place for _, place in placed])
    return refused


def _put(project: Project, folder: str, places: Sequence[str]) -> None:
    """Upload a flat folder in one transfer, whatever the number of folders on the stage: PUT knows one target only."""
    with temporary_stage(project.session) as own:
        project.session.file.put(f"file://{folder}/*", own, auto_compress=False)
        copies = [(PurePosixPath(place).name, place) for place in places]
        copy_files(project.session, f"{own}/", project.images_stage, copies)


def copy_files(session: Session, home: str, target: str, files: Placed) -> None:
    """Copy from stage to stage, each file to its place below `target`. What is there already is written over: a killed
    run may have left half."""
    rows = pd.DataFrame([(home + name, place) for name, place in files], columns=["URL", "PLACE"])
    with temporary(session, "URL STRING, PLACE STRING", rows) as table:
        session.sql(f"COPY FILES INTO {target} FROM (SELECT URL, PLACE FROM {table})").collect()

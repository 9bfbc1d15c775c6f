"""Temporary places, removed when their block ends: a local folder, and a stage and a large table in the account."""

import itertools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from snowflake.snowpark import Session

from cxr.account.tables import temporary


@contextmanager
def private_folder() -> Iterator[str]:
    """A temporary folder for copies of images. Those that killed processes left are removed first."""
    remove_abandoned_folders()
    with tempfile.TemporaryDirectory(prefix=f"cxr-images-{os.getpid()}-") as scratch:
        yield scratch


def remove_abandoned_folders() -> int:
    """Remove private folders whose process has ended, or that are older than a day. Returns the number of their files.

    A process that is killed does not remove its own.
    """
    count = 0
    for left in Path(tempfile.gettempdir()).glob("cxr-*"):
        if named := _PRIVATE.fullmatch(left.name):
            with suppress(OSError):  # another user's stays; another process may be quicker
                if _has_ended(named["process"]) or time.time() - left.stat().st_mtime > 24 * 3600:
                    files = sum(path.is_file() for path in left.rglob("*"))
                    shutil.rmtree(left)
                    count += files
    return count


# Folders of earlier versions are named without a process; `training` is theirs too.
_PRIVATE = re.compile(r"cxr-(images|training)-((?P<process>\d+)-)?\w+")


def _has_ended(process: str | None) -> bool:
    if process is None or os.name != "posix":  # elsewhere, signal 0 is no mere question
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's
        return False
    return False


@contextmanager
def temporary_stage(session: Session) -> Iterator[str]:
    home = (session.get_current_database(), session.get_current_schema())
    name = ".".join(part.strip('"') for part in (*home, f"CXR_INCOMING_{next(_NUMBERS)}"))
    session.sql(f"CREATE OR REPLACE TEMPORARY STAGE {name} ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')").collect()
    yield f"@{name}"
    session.sql(f"DROP STAGE {name}").collect()


_NUMBERS = itertools.count(1)


@contextmanager
def filled_table(session: Session, columns: str, rows: Iterable[Sequence[str | int | None]]) -> Iterator[str]:
    """A temporary table with these rows, loaded from a file, so that memory and statements do not grow with the rows.

    Args:
        columns: names and SQL types, as in CREATE TABLE.
    """
    with temporary(session, columns) as table:
        with temporary_stage(session) as stage, private_folder() as folder:
            path = Path(folder, "rows.csv")
            with path.open("w", encoding="utf-8", newline="") as file:
                file.writelines(",".join(map(_cell, row)) + "\n" for row in rows)
            if path.stat().st_size:
                session.file.put(f"file://{path.as_posix()}", stage)
                load = f"COPY INTO {table} FROM {stage} FILE_FORMAT = (TYPE = CSV FIELD_OPTIONALLY_ENCLOSED_BY = '\"')"
                session.sql(load).collect()
        yield table


def _cell(value: str | int | None) -> str:
    """All but null is enclosed: then nothing in it has a meaning but the quotation mark."""
    return "" if value is None else '"' + str(value).replace('"', '""') + '"'

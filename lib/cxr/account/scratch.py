"""Temporary places, removed when their block ends: a local folder, and a stage and a large table in the account."""

import itertools
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
    """A temporary folder for copies of images. Folders of killed runs that are older than a day are removed first."""
    for left in Path(tempfile.gettempdir()).glob("cxr-images-*"):
        with suppress(OSError):  # another user's stays; another process may be quicker
            if time.time() - left.stat().st_mtime > 24 * 3600:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix="cxr-images-") as scratch:
        yield scratch


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

"""Check the files of a stage where they are: the account reads, decodes and places them, and no image comes here.

A Python function in the account checks each file, with the code that checks files of a local folder (`examining`). What
is known about a file from its name or a table is uploaded first. The function's answers become rows of the catalog and
of this run, in a number of statements that does not depend on the number of files.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

from snowflake.snowpark import Row

from cxr.account.project import Project
from cxr.account.scratch import filled_table
from cxr.account.tables import run_long, temporary
from cxr.data import sources
from cxr.data.checking import Found
from cxr.data.in_account import functions
from cxr.data.in_account.examining import Accepted
from cxr.data.survey import Survey
from cxr.progress import tqdm

AT_ONCE = 100_000  # files; a run that is cut off has to look again at so many at most

_ARGUMENTS = dict(size="INT", image_id="STRING", name="STRING", patient="STRING", told_by="STRING", rules="INT")
_ARGUMENTS |= {"key": "STRING"}
_TOLD = ", ".join(
    f"{name} STRING" for name in ("SOURCE_NAME", "PLACE", "LABEL", "CAUSE", "PATIENT_ID", "TOLD_BY", "PROBLEM")
)


def check_in_place(
    project: Project, data: Survey, run: str, on_found: Callable[[list[Found]], None] | None = None
) -> int:
    """Look at all files of a stage, place and catalog the new images, and write what was found into the run's table.

    Returns the number of files.

    Raises:
        ValueError: not a single file can be read: then the stage tells nothing about which images it holds.
    """
    sources.refresh(project.session, project.images_stage[1:])
    look = _Look(project, data, run, functions.define(project, "examine", _ARGUMENTS))
    with tqdm(total=len(data.names), unit="image", desc="ingest in the account", mininterval=5) as bar:
        for start in range(0, len(data.names), AT_ONCE):
            names = data.names[start : start + AT_ONCE]
            with filled_table(project.session, _TOLD, _told(data, names)) as told:
                look.at(told)
                if on_found:
                    on_found(look.found(told))
            bar.update(len(names))
    _refuse_unread(project, data, run)
    return len(data.names)


def _refuse_unread(project: Project, data: Survey, run: str) -> None:
    """A file that was read has an IMAGE_ID, whatever it holds; of one with two classes nothing is known."""
    files, unread, detail = project.session.sql(f"""
        SELECT COUNT(*), COUNT_IF(REASON = 'unreadable' AND IMAGE_ID IS NULL), MAX(DETAIL)
        FROM {run} WHERE REASON IS NULL OR REASON <> 'two_classes'""").collect()[0]
    if unread and unread == files:
        raise ValueError(
            f"None of the {files:,} files in {data.source.name} can be read in the account: {detail}. The catalog is "
            "as it was. An internal stage needs ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE'), an external one encryption on "
            "the server's side"
        )


def _told(data: Survey, names: list[str]) -> Iterator[tuple[str | None, ...]]:
    for name in names:
        origin = data.describe(name)
        place = data.source.prefix + name
        yield name, place, origin.label, origin.cause, origin.patient_id, origin.told_by, origin.problem


@dataclass(frozen=True)
class _Look:
    """The statements over one part of the files, in order."""

    project: Project
    data: Survey
    run: str
    function: str

    def at(self, told: str) -> None:
        session = self.project.session
        with (
            temporary(session, "SOURCE_NAME STRING, ANSWER VARIANT") as hashed,
            temporary(session, "IMAGE_ID STRING, SOURCE_NAME STRING, PLACE STRING, ANSWER VARIANT") as examined,
        ):
            names = dict(
                told=told, hashed=hashed, examined=examined, run=self.run, catalog=self.project.catalog,
                images=self.project.images_stage, source=self.data.source.stage, look=self.function,
                rules=self.data.rules.version,
            )  # fmt: skip
            run_long(session, _HASH.format(**names))
            # The key is bound, so it is in no statement's text.
            run_long(session, _EXAMINE.format(**names), [self.data.rules.key])
            if session.sql(f"SELECT 1 FROM {examined} WHERE ANSWER:reason IS NULL LIMIT 1").collect():
                self._place(names)
                session.sql(_CATALOG.format(**names), [self.data.source.name]).collect()
            session.sql(_RUN.format(**names)).collect()

    def _place(self, names: dict) -> None:
        """Put the new images onto their stage, and take away what has changed since it was looked at."""
        session = self.project.session
        run_long(session, _COPY.format(**names))
        with temporary(session, "IMAGE_ID STRING, RELATIVE_PATH STRING, ANSWER VARIANT") as placed:
            run_long(session, _VERIFY.format(placed=placed, **names))
            for row in session.sql(f"SELECT RELATIVE_PATH FROM {placed} WHERE ANSWER:reason IS NOT NULL").collect():
                session.sql(f"REMOVE {names['images']}/{row[0]}").collect()
            session.sql(_REFUSE_CHANGED.format(placed=placed, **names)).collect()

    def found(self, told: str) -> list[Found]:
        columns = ", ".join(f"R.{field.name.upper()}" for field in fields(Found))
        rows = self.project.session.sql(
            f"SELECT {columns} FROM {self.run} R JOIN {told} T ON T.SOURCE_NAME = R.SOURCE_NAME ORDER BY R.SOURCE_NAME"
        ).collect()
        return [_found(row) for row in rows]


def _found(row: Row) -> Found:
    return Found(**{name.lower(): value for name, value in row.as_dict().items()})


# Of each file its hash, or why it cannot be read.
_HASH = """
INSERT INTO {hashed}
SELECT T.SOURCE_NAME, {look}(BUILD_SCOPED_FILE_URL({source}, T.PLACE), D.SIZE, NULL, NULL, NULL, NULL, {rules}, '')
FROM {told} T LEFT JOIN DIRECTORY({source}) D ON D.RELATIVE_PATH = T.PLACE
WHERE T.PROBLEM IS NULL"""
# Of files with the same bytes the first is looked at, unless the catalog has the image, and the stage its file.
_EXAMINE = """
INSERT INTO {examined}
SELECT N.IMAGE_ID, N.SOURCE_NAME, N.PLACE, {look}(
    BUILD_SCOPED_FILE_URL({source}, N.PLACE), N.SIZE, N.IMAGE_ID, N.SOURCE_NAME, N.PATIENT_ID, N.TOLD_BY, {rules}, ?)
FROM (
    SELECT H.ANSWER:image_id::STRING AS IMAGE_ID, D.SIZE, T.SOURCE_NAME, T.PLACE, T.PATIENT_ID, T.TOLD_BY,
        ROW_NUMBER() OVER (PARTITION BY H.ANSWER:image_id::STRING ORDER BY T.SOURCE_NAME) AS NTH
    FROM {hashed} H JOIN {told} T ON T.SOURCE_NAME = H.SOURCE_NAME
    LEFT JOIN DIRECTORY({source}) D ON D.RELATIVE_PATH = T.PLACE
    WHERE H.ANSWER:reason IS NULL
) N
WHERE N.NTH = 1 AND N.IMAGE_ID NOT IN (
    SELECT C.IMAGE_ID FROM {catalog} C JOIN DIRECTORY({images}) F ON F.RELATIVE_PATH = C.RELATIVE_PATH
) AND N.IMAGE_ID NOT IN (SELECT R.IMAGE_ID FROM {run} R WHERE R.IS_NEW)"""
_COPY = """
COPY FILES INTO {images} FROM (
    SELECT '{source}/' || PLACE, ANSWER:relative_path::STRING FROM {examined} WHERE ANSWER:reason IS NULL)"""
# Still the same after the copy: then it was the same while it was copied.
_VERIFY = """
INSERT INTO {placed}
SELECT IMAGE_ID, ANSWER:relative_path::STRING, {look}(
    BUILD_SCOPED_FILE_URL({images}, ANSWER:relative_path::STRING), NULL, IMAGE_ID, NULL, NULL, NULL, {rules}, '')
FROM {examined} WHERE ANSWER:reason IS NULL"""
_REFUSE_CHANGED = """
MERGE INTO {examined} E USING (SELECT IMAGE_ID, ANSWER FROM {placed} WHERE ANSWER:reason IS NOT NULL) P
ON E.IMAGE_ID = P.IMAGE_ID WHEN MATCHED THEN UPDATE SET ANSWER = P.ANSWER"""
# One that is there, because its file was missing from the stage, stays as it is, but for the place.
_TOLD_BEFORE = ("label", "cause")
_NAMES = [field.name for field in fields(Accepted)]
_TYPES = dict.fromkeys(("width", "height", "bytes"), "NUMBER") | {"burned_in": "BOOLEAN"}
_SELECTED = ", ".join(
    f"T.{name}" if name in _TOLD_BEFORE else f"E.ANSWER:{name}::{_TYPES.get(name, 'STRING')} AS {name}"
    for name in _NAMES
)
_CATALOG = f"""
MERGE INTO {{catalog}} C USING (
    SELECT {_SELECTED} FROM {{examined}} E JOIN {{told}} T ON T.SOURCE_NAME = E.SOURCE_NAME
    WHERE E.ANSWER:reason IS NULL
) S ON C.IMAGE_ID = S.IMAGE_ID
WHEN MATCHED THEN UPDATE SET RELATIVE_PATH = S.RELATIVE_PATH
WHEN NOT MATCHED THEN INSERT (SOURCE, {", ".join(_NAMES)}) VALUES (?, {", ".join(f"S.{name}" for name in _NAMES)})"""
_RUN = """
INSERT INTO {run} (SOURCE_NAME, LABEL, CAUSE, PATIENT_ID, IMAGE_ID, IS_NEW, REASON, DETAIL)
SELECT T.SOURCE_NAME, T.LABEL, T.CAUSE, IFF(T.TOLD_BY = 'table', T.PATIENT_ID, NULL), H.ANSWER:image_id::STRING,
    COALESCE(E.SOURCE_NAME = T.SOURCE_NAME AND E.ANSWER:reason IS NULL, FALSE),
    IFF(T.PROBLEM IS NULL, COALESCE(H.ANSWER:reason::STRING, E.ANSWER:reason::STRING), 'two_classes'),
    COALESCE(T.PROBLEM, H.ANSWER:detail::STRING, E.ANSWER:detail::STRING)
FROM {told} T
LEFT JOIN {hashed} H ON H.SOURCE_NAME = T.SOURCE_NAME
LEFT JOIN {examined} E ON E.IMAGE_ID = H.ANSWER:image_id::STRING"""

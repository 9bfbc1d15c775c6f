"""Check, de-duplicate, load and split images: what a source holds becomes files on a stage and rows of two tables.

Images are content-addressed: an image's id is the SHA-256 of its file, and a new one's place on the stage follows from
the id. So a second run has nothing to do, an interrupted run continues where it stopped, and no file name, which may
hold a person's name, reaches the stage. Files go through in batches, so of all files only the names are held in memory;
what needs all of them (duplicates, what vanished, the split) is done by the account, in a few statements over a
temporary table of what this run found.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from snowflake.snowpark.functions import col

from cxr.account import migrate
from cxr.account.project import Project
from cxr.account.tables import append, merge, temporary
from cxr.data import duplicates, facts, sources
from cxr.data.catalog import assign_splits
from cxr.data.checking import Found, check_files
from cxr.data.in_account.in_place import check_in_place
from cxr.data.patient_ids.rules import key_check
from cxr.data.survey import Survey, survey
from cxr.progress import tqdm


def ingest(
    project: Project, data: str | Path | Survey, on_found: Callable[[list[Found]], None] | None = None
) -> dict[str, int]:
    """Check, upload and catalog every image of a source; returns the counts.

    found = cataloged + rejected + already_there. Of those already there none is uploaded again, and their patients keep
    the split that they have.

    * `vanished` counts images that the same source held and holds no more; `changed` those among them whose name is
      still there, with other content: the new content is cataloged beside the old. On the landing stage files may be
      removed once they are cataloged: there no image vanishes, and what was rejected stays in the list.
    * `relabelled` counts images whose label was corrected, `labelled` those that had none before.
    * `unlabelled` counts this source's images without a label; `set_aside` its lateral views and images for processing.
    * `patients_by_table`, `..._header`, `..._name` and `..._none` say how this source's images got their patient.
    * `table_patients_ignored` counts images that keep their patient, although the table names another.
    * `table_rows_left` and `files_without_row` say what the table and the source do not share; `documents` are files
      that may be no image and were not looked at, `folders_unread` folders that may not be read.

    Args:
        data: a folder, a zip, `@stage/path`, or what `survey` said of one.
        on_found: is given what each file was found to be, a batch at a time.

    Raises:
        FileNotFoundError, ValueError: as `survey`.
    """
    if not isinstance(data, Survey):
        migrate.upgrade(project)
        data = survey(project, data)
    source = data.source
    _write_facts_before(project, data)
    with temporary(project.session, _RUN) as run:
        check = check_in_place if isinstance(source, sources.Stage) else _check_here
        total = check(project, data, run, on_found)
        counts = _finish(project, source, run)
    split_new_images(project)
    kept = counts.pop("kept")
    counts = {"found": total, "cataloged": counts.pop("cataloged"), "already_there": kept, **counts}
    counts["already_there"] -= counts["cataloged"]
    counts |= {
        "documents": len(data.documents),
        "folders_unread": len(source.unlisted),
        "table_rows_left": len(data.matches.rows_left) if data.matches else 0,
        "files_without_row": len(data.matches.files_left) if data.matches else 0,
    }
    _write_facts_after(project, data, counts)
    return counts


def _check_here(project: Project, data: Survey, run: str, on_found: Callable[[list[Found]], None] | None = None) -> int:
    """Look at all files of a folder or zip, upload and catalog the new images, and write what was found into the run's
    table. Returns the number of files."""
    lost, total = _without_file(project), 0
    files = ((name, data.describe(name)) for name in data.names)
    with tqdm(total=len(data.names), unit="image", desc="ingest", mininterval=5) as bar:
        for checked in check_files(data.source, files, lambda ids: _known(project, ids) - lost, data.rules):
            batch = checked.place(project) if checked.accepted else checked
            if batch.accepted:
                # One that is there, because its file was missing from the stage, stays as it is, but for the place.
                rows = _frame(batch.accepted).assign(SOURCE=data.source.name)
                merge(project.session, project.catalog, rows, ["IMAGE_ID"], update=["RELATIVE_PATH"])
            append(project.session, run, _frame(batch.found))
            if on_found:
                on_found(batch.found)
            total += len(batch.found)
            bar.update(len(batch.found))
    return total


_RUN = (
    "SOURCE_NAME STRING, LABEL STRING, CAUSE STRING, PATIENT_ID STRING, IMAGE_ID STRING, IS_NEW BOOLEAN, "
    "REASON STRING, DETAIL STRING"
)


def split_new_images(project: Project) -> None:
    """Give images that have a label but no split one, after a look for near duplicates."""
    unfinished = f"SELECT 1 FROM {project.catalog} WHERE SPLIT IS NULL LIMIT 1"
    if project.session.sql(unfinished).collect():
        duplicates.flag(project)
        sources.refresh(project.session, project.qualified(project.settings.images_stage))
        assign_splits(project)  # last: whatever is cut off before is done again


def _known(project: Project, ids: list[str]) -> set[str]:
    """Those that are in the catalog."""
    if not ids:
        return set()
    rows = project.session.table(project.catalog).filter(col("IMAGE_ID").isin(ids)).select("IMAGE_ID").collect()
    return {row[0] for row in rows}


def _without_file(project: Project) -> set[str]:
    """Images of the catalog that the stage has lost; none, as a rule."""
    sources.refresh(project.session, project.qualified(project.settings.images_stage))
    rows = project.session.sql(f"""
        SELECT C.IMAGE_ID FROM {project.catalog} C
        LEFT JOIN DIRECTORY({project.images_stage}) D ON D.RELATIVE_PATH = C.RELATIVE_PATH
        WHERE D.RELATIVE_PATH IS NULL""").collect()
    return {row[0] for row in rows}


def _frame(rows: list) -> pd.DataFrame:
    return _storable(pd.DataFrame([asdict(row) for row in rows]).rename(columns=str.upper))


def _storable(frame: pd.DataFrame) -> pd.DataFrame:
    # A file's name may be no Unicode, and then no database takes it as it is.
    return frame.assign(SOURCE_NAME=[n.encode(errors="backslashreplace").decode() for n in frame["SOURCE_NAME"]])


def _write_facts_before(project: Project, data: Survey) -> None:
    """Before the first row: a run that is cut off must not leave ids whose rules nobody knows."""
    values = {"patient_rules": data.rules.version, "label_set": data.labels.to_list()}
    if data.needs_key:
        values["key_check"] = key_check(data.rules.key)
    facts.write(project, data.phantoms, **values)


def _write_facts_after(project: Project, data: Survey, counts: dict[str, int]) -> None:
    """The classes are those of this source, and of earlier ones as long as images show them."""
    used = facts.live_labels(project, data.phantoms) | data.counts.keys()
    last = {"source": data.source.name, "counts": counts}  # no names: they may be those of people
    facts.write(project, data.phantoms, label_set=data.labels.only(used).to_list(), last_ingest=last)


def _finish(project: Project, listed, run: str) -> dict[str, int]:
    """What needs the whole source: files that moved, duplicates, labels, what vanished, the list of the rejected."""
    source = listed.name
    names = dict(catalog=project.catalog, rejected=project.rejected, run=run)
    _execute(project, _TWO_CLASSES, names, source)
    _execute(project, _MOVED, names, source)
    _execute(project, _DUPLICATES, names, source)
    labels = project.session.sql(_LABEL_COUNTS.format(**names)).collect()[0].as_dict()
    for statement in (_LABEL, _TELL_PATIENT, _CAME_BACK, _NEVER_MIXED, _REJECT, _ACCEPTED_NOW):
        _execute(project, statement, names, source)
    if not _is_landing(project, source):
        unlisted = pd.DataFrame({"SOURCE_NAME": [f"{folder}/" for folder in listed.unlisted]})
        with temporary(project.session, "SOURCE_NAME STRING", _storable(unlisted)) as folders:
            for statement in (_VANISHED, _REMOVED):
                _execute(project, statement, names | {"unlisted": folders}, source)
    counts = project.session.sql(_COUNTS.format(**names), params=[source] * _COUNTS.count("?")).collect()[0].as_dict()
    return {name.lower(): int(value or 0) for name, value in (counts | labels).items()}


def _is_landing(project: Project, source: str) -> bool:
    """Whether the source is the landing stage or a folder on it."""
    return f"{source}/".upper().startswith(f"{project.landing_stage}/".upper())


def _execute(project: Project, statement: str, names: dict[str, str], source: str) -> None:
    project.session.sql(statement.format(**names), params=[source] * statement.count("?")).collect()


# No image has two labels, wherever its copies lie; one that was cataloged under one of them loses it.
_TWO_CLASSES = """
MERGE INTO {run} R USING (
    SELECT IMAGE_ID, LISTAGG(DISTINCT LABEL, ' and ') WITHIN GROUP (ORDER BY LABEL) AS LABELS,
        MIN(SOURCE_NAME) AS FIRST_NAME, MAX(SOURCE_NAME) AS LAST_NAME
    FROM {run} WHERE REASON IS NULL AND LABEL IS NOT NULL GROUP BY IMAGE_ID HAVING COUNT(DISTINCT LABEL) > 1
) S ON R.IMAGE_ID = S.IMAGE_ID AND R.REASON IS NULL
WHEN MATCHED THEN UPDATE SET REASON = 'two_classes', DETAIL = 'the same bytes lie under ' || S.LABELS || ' (' ||
    S.FIRST_NAME || ', ' || S.LAST_NAME || '); several findings at once are not supported'"""
# The content is there, under a name that is no longer found in this source, or from a source where it vanished.
_MOVED = """
MERGE INTO {catalog} C USING (
    SELECT F.IMAGE_ID, MIN(F.SOURCE_NAME) AS SOURCE_NAME FROM {run} F JOIN {catalog} K ON K.IMAGE_ID = F.IMAGE_ID
    WHERE F.REASON IS NULL GROUP BY F.IMAGE_ID
    HAVING MAX(IFF(K.SOURCE = ? AND F.SOURCE_NAME = K.SOURCE_NAME, 1, 0)) = 0
) S ON C.IMAGE_ID = S.IMAGE_ID AND (C.SOURCE = ? OR C.VANISHED_AT IS NOT NULL)
WHEN MATCHED THEN UPDATE SET SOURCE = ?, SOURCE_NAME = S.SOURCE_NAME"""
# Of files with the same bytes one is kept: the one that the catalog names, else the first.
_DUPLICATES = """
MERGE INTO {run} R USING (
    SELECT F.SOURCE_NAME, COALESCE(MAX(IFF(F.SOURCE_NAME = K.SOURCE_NAME, F.SOURCE_NAME, NULL))
        OVER (PARTITION BY F.IMAGE_ID), MIN(F.SOURCE_NAME) OVER (PARTITION BY F.IMAGE_ID)) AS KEPT
    FROM {run} F JOIN {catalog} K ON K.IMAGE_ID = F.IMAGE_ID WHERE F.REASON IS NULL
) S ON R.SOURCE_NAME = S.SOURCE_NAME AND R.SOURCE_NAME <> S.KEPT
WHEN MATCHED THEN UPDATE SET REASON = 'duplicate', DETAIL = 'the same bytes as ' || S.KEPT"""
# What this source says of its images' labels: of each, and of all together how many are new or corrected.
_SAID = """
SELECT F.IMAGE_ID, IFF(MAX(F.REASON) = 'two_classes', NULL, MAX(F.LABEL)) AS LABEL, MAX(F.CAUSE) AS CAUSE
    FROM {run} F WHERE F.REASON IS NULL AND F.LABEL IS NOT NULL
    OR F.REASON = 'duplicate' AND F.LABEL IS NOT NULL OR F.REASON = 'two_classes' AND F.IMAGE_ID IS NOT NULL
    GROUP BY F.IMAGE_ID"""
_LABEL_COUNTS = f"""
SELECT COUNT_IF(C.LABEL <> S.LABEL) AS RELABELLED, COUNT_IF(C.LABEL IS NULL AND S.LABEL IS NOT NULL) AS LABELLED
FROM {{catalog}} C JOIN ({_SAID}) S ON C.IMAGE_ID = S.IMAGE_ID"""
_LABEL = f"""
MERGE INTO {{catalog}} C USING ({_SAID}) S
ON C.IMAGE_ID = S.IMAGE_ID AND (C.LABEL IS DISTINCT FROM S.LABEL OR S.CAUSE IS DISTINCT FROM COALESCE(C.CAUSE, S.CAUSE))
WHEN MATCHED THEN UPDATE SET LABEL = S.LABEL, CAUSE = COALESCE(S.CAUSE, IFF(C.LABEL = S.LABEL, C.CAUSE, NULL))"""
_TOLD = """
    SELECT IMAGE_ID, MIN(PATIENT_ID) AS PATIENT_ID FROM {run}
    WHERE PATIENT_ID IS NOT NULL AND (REASON IS NULL OR REASON = 'duplicate') GROUP BY IMAGE_ID"""
# A table that tells the patient of an image that had none; one that has a split keeps its patient.
_TELL_PATIENT = f"""
MERGE INTO {{catalog}} C USING ({_TOLD}) S
ON C.IMAGE_ID = S.IMAGE_ID AND C.SPLIT IS NULL AND C.PATIENT_FROM = 'none'
WHEN MATCHED THEN UPDATE SET PATIENT_ID = S.PATIENT_ID, PATIENT_FROM = 'table'"""
_HERE = """
    SELECT K.IMAGE_ID, K.SOURCE_NAME, MAX(F.IMAGE_ID) IS NULL AS GONE
    FROM {catalog} K LEFT JOIN {run} F ON F.IMAGE_ID = K.IMAGE_ID AND COALESCE(F.REASON, '') IN ('', 'duplicate')
    WHERE K.SOURCE = ? GROUP BY K.IMAGE_ID, K.SOURCE_NAME"""
# What cannot be read, or lies in a folder that cannot be listed, may be there: a share can be away for a while.
_VANISHED = f"""
MERGE INTO {{catalog}} C USING (
    SELECT H.IMAGE_ID FROM ({_HERE}) H LEFT JOIN {{unlisted}} U ON STARTSWITH(H.SOURCE_NAME, U.SOURCE_NAME)
    WHERE H.GONE AND U.SOURCE_NAME IS NULL AND H.SOURCE_NAME NOT IN (
        SELECT SOURCE_NAME FROM {{run}} WHERE REASON = 'unreadable' AND IMAGE_ID IS NULL)
) S ON C.IMAGE_ID = S.IMAGE_ID AND C.VANISHED_AT IS NULL
WHEN MATCHED THEN UPDATE SET VANISHED_AT = SYSDATE()"""
_CAME_BACK = f"""
MERGE INTO {{catalog}} C USING ({_HERE}) S ON C.IMAGE_ID = S.IMAGE_ID AND NOT S.GONE AND C.VANISHED_AT IS NOT NULL
WHEN MATCHED THEN UPDATE SET VANISHED_AT = NULL"""
# Images of phantoms leave when others come, and others when phantoms come: nobody means to train on both.
_NEVER_MIXED = f"""
UPDATE {{catalog}} SET VANISHED_AT = SYSDATE() WHERE VANISHED_AT IS NULL AND SOURCE <> ?
AND (STARTSWITH(SOURCE, '{sources.PHANTOMS}') OR STARTSWITH(?, '{sources.PHANTOMS}'))"""
_REJECT = """
MERGE INTO {rejected} R USING (SELECT * FROM {run} WHERE REASON IS NOT NULL) S
ON R.SOURCE = ? AND R.SOURCE_NAME = S.SOURCE_NAME
WHEN MATCHED THEN UPDATE SET REASON = S.REASON, DETAIL = S.DETAIL
WHEN NOT MATCHED THEN INSERT (SOURCE, SOURCE_NAME, REASON, DETAIL, REJECTED_AT)
    VALUES (?, S.SOURCE_NAME, S.REASON, S.DETAIL, SYSDATE())"""
_ACCEPTED_NOW = """
DELETE FROM {rejected} WHERE SOURCE = ? AND SOURCE_NAME IN (SELECT SOURCE_NAME FROM {run} WHERE REASON IS NULL)"""
_REMOVED = """
DELETE FROM {rejected} WHERE SOURCE = ? AND SOURCE_NAME NOT IN (SELECT SOURCE_NAME FROM {run})
AND SOURCE_NAME NOT IN (
    SELECT R.SOURCE_NAME FROM {rejected} R JOIN {unlisted} U ON STARTSWITH(R.SOURCE_NAME, U.SOURCE_NAME))"""
_COUNTS = f"""
WITH HERE AS (SELECT * FROM {{catalog}} WHERE SOURCE = ?),
NEW AS (SELECT DISTINCT IMAGE_ID FROM {{run}} WHERE IS_NEW),
FOUND AS (SELECT F.REASON, N.IMAGE_ID AS NEW_ID FROM {{run}} F LEFT JOIN NEW N ON N.IMAGE_ID = F.IMAGE_ID),
RAN AS (
    SELECT COUNT(REASON) AS REJECTED, COUNT(*) - COUNT(REASON) AS KEPT,
        COUNT_IF(REASON IS NULL AND NEW_ID IS NOT NULL) AS CATALOGED FROM FOUND
), HOLDS AS (
    SELECT COUNT_IF(VANISHED_AT IS NOT NULL) AS VANISHED,
        COUNT_IF(VANISHED_AT IS NULL AND LABEL IS NULL) AS UNLABELLED,
        COUNT_IF(VANISHED_AT IS NULL AND SET_ASIDE IS NOT NULL) AS SET_ASIDE,
        COUNT_IF(VANISHED_AT IS NULL AND PATIENT_FROM = 'table') AS PATIENTS_BY_TABLE,
        COUNT_IF(VANISHED_AT IS NULL AND PATIENT_FROM = 'header') AS PATIENTS_BY_HEADER,
        COUNT_IF(VANISHED_AT IS NULL AND PATIENT_FROM = 'name') AS PATIENTS_BY_NAME,
        COUNT_IF(VANISHED_AT IS NULL AND PATIENT_FROM = 'none') AS PATIENTS_BY_NONE FROM HERE
), OVERWRITTEN AS (
    SELECT COUNT(*) AS CHANGED FROM HERE
    WHERE VANISHED_AT IS NOT NULL AND SOURCE_NAME IN (SELECT SOURCE_NAME FROM {{run}})
), IGNORED AS (
    SELECT COUNT(*) AS TABLE_PATIENTS_IGNORED
    FROM {{catalog}} C JOIN ({_TOLD}) S ON S.IMAGE_ID = C.IMAGE_ID AND S.PATIENT_ID <> C.PATIENT_ID
)
SELECT * FROM RAN CROSS JOIN HOLDS CROSS JOIN OVERWRITTEN CROSS JOIN IGNORED"""

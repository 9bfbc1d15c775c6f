"""Check, de-duplicate, load and split images: what a source holds becomes files on a stage and rows of two tables.

Images are content-addressed: an image's id is the SHA-256 of its file, and its place on the stage follows from the id.
So a second run has nothing to do, a run that was cut off goes on where it stopped, and no file name, which may hold a
person's name, reaches the stage. Files go through in batches, so memory does not grow with their number; what needs
all of them (duplicates, what vanished, the split) is done by the account, in a few statements over a temporary table
of what this run found.
"""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
from snowflake.snowpark.functions import col

from cxr.account.project import Project
from cxr.account.tables import append, merge, temporary
from cxr.data import sources
from cxr.data.catalog import assign_splits, flag_near_duplicates
from cxr.data.checking import check_files, count_files, find_files
from cxr.data.labels import Describe, rule
from cxr.progress import tqdm


def ingest(project: Project, data: str | Path, describe: Describe | None = None) -> dict[str, int]:
    """Check, upload and catalog every image of a source; returns the counts, which add up.

    found = cataloged + rejected + already_there. Of those already there none is uploaded again, and their patients keep
    the split that they have. `vanished` counts images that the same source held and holds no more; `changed` those
    among them whose name is still there, with other content: the new content is cataloged beside the old.

    Raises:
        FileNotFoundError: there is no such source, or it holds no image below a folder of a label.
    """
    source = sources.open_source(project, data)
    describe = describe or rule(project.settings)
    table, total, cataloged = project.catalog, 0, 0

    def known(ids: list[str]) -> set[str]:
        rows = (
            project.session.table(table).filter(col("IMAGE_ID").isin(ids)).select("IMAGE_ID").collect() if ids else []
        )
        return {row[0] for row in rows}

    columns = "SOURCE_NAME STRING, LABEL STRING, IMAGE_ID STRING, REASON STRING, DETAIL STRING"
    expected = count_files(source, describe)
    with (
        temporary(project.session, columns) as run,
        tqdm(total=expected, unit="image", desc="ingest", mininterval=5) as bar,
    ):
        for found, accepted in check_files(source, find_files(source, describe), known, project.settings.patient_key):
            if accepted:
                source.place(project, [(row.source_name, row.relative_path) for row in accepted])
                merge(project.session, table, _frame(accepted).assign(SOURCE=source.name), ["IMAGE_ID"])
            append(project.session, run, _frame(found))
            total, cataloged = total + len(found), cataloged + len(accepted)
            bar.update(len(found))
        counts = _settle(project, source.name, run)
    if project.session.table(table).filter(col("SPLIT").is_null()).count():
        flag_near_duplicates(project)
        sources.refresh(project.session, project.qualified(project.settings.images_stage))
        assign_splits(project)  # last: whatever is cut off before is done again
    kept = counts.pop("kept")
    return {"found": total, "cataloged": cataloged, "already_there": kept - cataloged, **counts}


def _frame(rows: list) -> pd.DataFrame:
    frame = pd.DataFrame([asdict(row) for row in rows]).rename(columns=str.upper)
    # A file's name may be no Unicode, and then no database takes it as it is.
    return frame.assign(SOURCE_NAME=[n.encode(errors="backslashreplace").decode() for n in frame["SOURCE_NAME"]])


def _settle(project: Project, source: str, run: str) -> dict[str, int]:
    """What needs the whole source: files that moved, duplicates, what vanished, the list of the rejected."""
    catalog, rejected = (
        project.qualified(name) for name in (project.settings.catalog_table, project.settings.rejected_table)
    )
    names = dict(catalog=catalog, rejected=rejected, run=run)
    for statement in (_MOVED, _DUPLICATES, _VANISHED, _NEVER_MIXED, _REJECT, _NO_LONGER_REJECTED):
        text = statement.format(**names)
        project.session.sql(text, params=[source] * text.count("?")).collect()
    counts = project.session.sql(_COUNTS.format(**names), params=[source] * 2).collect()[0]
    return {name.lower(): int(value or 0) for name, value in counts.as_dict().items()}


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
    SELECT F.SOURCE_NAME, K.LABEL, COALESCE(MAX(IFF(F.SOURCE_NAME = K.SOURCE_NAME, F.SOURCE_NAME, NULL))
        OVER (PARTITION BY F.IMAGE_ID), MIN(F.SOURCE_NAME) OVER (PARTITION BY F.IMAGE_ID)) AS KEPT
    FROM {run} F JOIN {catalog} K ON K.IMAGE_ID = F.IMAGE_ID WHERE F.REASON IS NULL
) S ON R.SOURCE_NAME = S.SOURCE_NAME AND R.SOURCE_NAME <> S.KEPT
WHEN MATCHED THEN UPDATE SET REASON = 'duplicate',
    DETAIL = 'the same bytes as ' || S.KEPT || IFF(R.LABEL = S.LABEL, '', ', which is labelled ' || S.LABEL)"""
_VANISHED = """
MERGE INTO {catalog} C USING (
    SELECT K.IMAGE_ID, MAX(F.IMAGE_ID) IS NULL AS GONE
    FROM {catalog} K LEFT JOIN {run} F ON F.IMAGE_ID = K.IMAGE_ID WHERE K.SOURCE = ? GROUP BY K.IMAGE_ID
) S ON C.IMAGE_ID = S.IMAGE_ID AND S.GONE = (C.VANISHED_AT IS NULL)
WHEN MATCHED THEN UPDATE SET VANISHED_AT = IFF(S.GONE, CURRENT_TIMESTAMP()::TIMESTAMP_NTZ, NULL)"""
# Images of phantoms leave when others come, and others when phantoms come: nobody means to train on both.
_NEVER_MIXED = f"""
UPDATE {{catalog}} SET VANISHED_AT = CURRENT_TIMESTAMP()::TIMESTAMP_NTZ WHERE VANISHED_AT IS NULL AND SOURCE <> ?
AND (STARTSWITH(SOURCE, '{sources.PHANTOMS}') OR STARTSWITH(?, '{sources.PHANTOMS}'))"""
_REJECT = """
MERGE INTO {rejected} R USING (SELECT * FROM {run} WHERE REASON IS NOT NULL) S
ON R.SOURCE = ? AND R.SOURCE_NAME = S.SOURCE_NAME
WHEN MATCHED THEN UPDATE SET REASON = S.REASON, DETAIL = S.DETAIL
WHEN NOT MATCHED THEN INSERT (SOURCE, SOURCE_NAME, REASON, DETAIL) VALUES (?, S.SOURCE_NAME, S.REASON, S.DETAIL)"""
_NO_LONGER_REJECTED = """
DELETE FROM {rejected} WHERE SOURCE = ?
AND SOURCE_NAME NOT IN (SELECT SOURCE_NAME FROM {run} WHERE REASON IS NOT NULL)"""
_COUNTS = """
SELECT COUNT(REASON) AS REJECTED, COUNT(*) - COUNT(REASON) AS KEPT,
    (SELECT COUNT(*) FROM {catalog} WHERE SOURCE = ? AND VANISHED_AT IS NOT NULL) AS VANISHED,
    (SELECT COUNT(*) FROM {catalog} WHERE SOURCE = ? AND VANISHED_AT IS NOT NULL
        AND SOURCE_NAME IN (SELECT SOURCE_NAME FROM {run})) AS CHANGED
FROM {run}"""

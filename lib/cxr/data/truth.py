"""Truth that arrives later: a table that names images which are in the catalog already."""

from pathlib import Path

import pandas as pd

from cxr.account import migrate
from cxr.account.project import Project
from cxr.account.tables import temporary
from cxr.data import facts
from cxr.data.classes import agree, find_label_set
from cxr.data.ingest import split_new_images
from cxr.data.label_table import read_table
from cxr.data.labels import single
from cxr.data.patient_ids.keys import key_for
from cxr.data.patient_ids.rules import patient_of_table


def add_truth(project: Project, table: str | Path) -> dict[str, int]:
    """Give images the labels of a table, which names them as their sources did, or by their image id.

    A label that differs from the catalog's replaces it. Images that get their first label enter a split: that of their
    patient, if the patient has one.

    Returns:
        Counts: `labelled` (had none), `relabelled`, `confirmed`; `table_patients_ignored`, images that keep their
        patient, although the table names another (`ci rekey` changes them); and `rows_left` that name no image.

    Raises:
        ValueError: the table cannot be understood, names no image, or has a class that the catalog does not know.
    """
    migrate.upgrade(project)
    read = read_table(table)
    rows = project.session.sql(
        f"SELECT IMAGE_ID, SOURCE_NAME, LABEL FROM {project.catalog} WHERE VANISHED_AT IS NULL ORDER BY SOURCE_NAME"
    ).to_pandas()
    names = pd.concat([rows["SOURCE_NAME"], rows["IMAGE_ID"]], ignore_index=True)
    ids = pd.concat([rows["IMAGE_ID"], rows["IMAGE_ID"]], ignore_index=True)
    # Two sources may use a name alike; the table can still name such images by their id.
    alike = names.duplicated(keep=False)
    names, ids = names[~alike], ids[~alike]
    matches = read.match(names)
    known = facts.read(project)
    told = single(read.labels())
    add = [name for name in project.settings.add_class.split(",") if name.strip()]
    found = find_label_set((), told, project.settings.negative_label)
    labels = agree(known.label_set, found, add, known.fixed)
    if unknown := sorted({row.label for row in matches.rows.values() if row.label and row.label not in labels}):
        raise ValueError(f"{table}: {', '.join(unknown)} is no class of this catalog ({', '.join(labels.names)})")
    patients = {row.patient_id for row in matches.rows.values() if row.patient_id}
    key = key_for(project, known, bool(patients), patients)
    of_name = dict(zip(names, ids, strict=True))
    said = pd.DataFrame(
        [
            (
                of_name[name],
                labels.find(row.label),
                row.cause.lower() or None,
                _patient(row.patient_id, key, known.patient_rules),
            )
            for name, row in matches.rows.items()
            if row.label
        ],
        columns=["IMAGE_ID", "LABEL", "CAUSE", "PATIENT_ID"],
    )
    said = said.drop_duplicates()
    if twice := sorted(said.loc[said["IMAGE_ID"].duplicated(), "IMAGE_ID"]):
        raise ValueError(f"{table} says different things about one image, by name and by id (first: {twice[0]})")
    before = said["IMAGE_ID"].map(rows.set_index("IMAGE_ID")["LABEL"])
    with temporary(project.session, "IMAGE_ID STRING, LABEL STRING, CAUSE STRING, PATIENT_ID STRING", said) as truth:
        project.session.sql(_WRITE.format(catalog=project.catalog, truth=truth)).collect()
        ignored = project.session.sql(_IGNORED.format(catalog=project.catalog, truth=truth)).collect()[0][0]
    facts.write(project, label_set=labels.to_list())
    split_new_images(project)
    return {
        "labelled": int(before.isna().sum()),
        "relabelled": int((before.notna() & (before != said["LABEL"])).sum()),
        "confirmed": int((before == said["LABEL"]).sum()),
        "table_patients_ignored": int(ignored),
        "rows_left": len(matches.rows_left),
    }


def _patient(told: str, key: str, version: int) -> str | None:
    return patient_of_table(told, key, version) if told else None


# A patient is told anew only where none was known and no split depends on it.
_WRITE = """
MERGE INTO {catalog} C USING (
    SELECT T.*, T.PATIENT_ID IS NOT NULL AND K.SPLIT IS NULL AND K.PATIENT_FROM = 'none' AS TELLS
    FROM {truth} T JOIN {catalog} K ON K.IMAGE_ID = T.IMAGE_ID
) T ON C.IMAGE_ID = T.IMAGE_ID
WHEN MATCHED THEN UPDATE SET
    LABEL = T.LABEL, CAUSE = COALESCE(T.CAUSE, IFF(C.LABEL = T.LABEL, C.CAUSE, NULL)),
    PATIENT_ID = IFF(T.TELLS, T.PATIENT_ID, C.PATIENT_ID), PATIENT_FROM = IFF(T.TELLS, 'table', C.PATIENT_FROM)"""
_IGNORED = """
SELECT COUNT(*) FROM {truth} T JOIN {catalog} C ON T.IMAGE_ID = C.IMAGE_ID AND T.PATIENT_ID <> C.PATIENT_ID"""

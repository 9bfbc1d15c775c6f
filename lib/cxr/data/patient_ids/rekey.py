"""Compute all ids of patients and studies of a catalog again, by the present rules and under the present key."""

import pandas as pd

from cxr.account import migrate
from cxr.account.patient_key import HOW_TO_GIVE_ONE, find_patient_key
from cxr.account.project import Project
from cxr.account.tables import temporary, transaction
from cxr.data import facts
from cxr.data.label_table import read_table
from cxr.data.patient_ids.headers import Digests, read_digests
from cxr.data.patient_ids.rules import (
    VERSION,
    PatientRules,
    key_check,
    patient_of_name,
    patient_of_table,
    pseudonym,
)
from cxr.data.sources import PHANTOMS


def rekey(project: Project) -> dict[str, int]:
    """Read names, headers and the table (`data_csv`) again, and write every image's patient and study again.

    Images are read from the stage, so the folders that they came from are not needed. A patient who turns out to be in
    several splits goes to train if any of their images is there, because a model may have learnt from it, else to
    validation; so no patient of training comes into test.

    Returns:
        Counts: `images`, `changed` (other id), `moved` (other split), `patients_before`, `patients_after`.

    Raises:
        ValueError: there is no key, or ids came from a table and none is given.
    """
    migrate.upgrade(project)
    key = find_patient_key(project)
    if key is None:
        raise ValueError(f"There is no key: {HOW_TO_GIVE_ONE}")
    rules = PatientRules(VERSION, key.value)
    rows = project.session.sql(f"""
        SELECT IMAGE_ID, RELATIVE_PATH, SOURCE, SOURCE_NAME, FORMAT, PATIENT_ID, PATIENT_FROM, SPLIT
        FROM {project.catalog} ORDER BY IMAGE_ID""").to_pandas()
    told = _told_by_table(project, rows, key.value)
    digests = read_digests(project, rows[rows["FORMAT"] == "DICOM"])
    nothing = Digests(None, None)
    made = [
        rules.identify(
            row.SOURCE_NAME,
            told.get(row.IMAGE_ID) or patient_of_name(row.SOURCE_NAME),
            "table" if row.IMAGE_ID in told else "name",
            digests.get(row.IMAGE_ID, nothing).patient,
            row.FORMAT == "DICOM",
        )
        for row in rows.itertuples()
    ]
    after = rows.assign(PATIENT_ID=[patient for patient, _ in made], PATIENT_FROM=[rule for _, rule in made])
    studies = (digests.get(image_id, nothing).study for image_id in rows["IMAGE_ID"])
    after["STUDY_ID"] = [pseudonym(study, key.value, "study") if study else None for study in studies]
    after["SPLIT"] = _one_split_each(after)
    with temporary(project.session, _COLUMNS, after[_NAMES]) as new, transaction(project.session):
        project.session.sql(_WRITE.format(catalog=project.catalog, new=new)).collect()
        for phantoms in (False, True):
            facts.write(project, phantoms, patient_rules=VERSION, key_check=key_check(key.value))
    return {
        "images": len(rows),
        "changed": int((rows["PATIENT_ID"] != after["PATIENT_ID"]).sum()),
        "moved": int((rows["SPLIT"].fillna("") != after["SPLIT"].fillna("")).sum()),
        "patients_before": int(rows["PATIENT_ID"].nunique()),
        "patients_after": int(after["PATIENT_ID"].nunique()),
    }


_NAMES = ["IMAGE_ID", "PATIENT_ID", "PATIENT_FROM", "STUDY_ID", "SPLIT"]
_COLUMNS = ", ".join(f"{name} STRING" for name in _NAMES)
_WRITE = """
MERGE INTO {catalog} C USING {new} N ON C.IMAGE_ID = N.IMAGE_ID
WHEN MATCHED THEN UPDATE SET
    PATIENT_ID = N.PATIENT_ID, PATIENT_FROM = N.PATIENT_FROM, STUDY_ID = N.STUDY_ID, SPLIT = N.SPLIT"""


def _told_by_table(project: Project, rows: pd.DataFrame, key: str) -> dict[str, str]:
    """Image id -> patient, source by source, because a table's paths may mean another file in each."""
    if not project.settings.data_csv:
        if by_table := int((rows["PATIENT_FROM"] == "table").sum()):
            raise ValueError(f"{by_table} images have their patient from a table: give it again (data_csv)")
        return {}
    table, told = read_table(project.settings.data_csv), {}
    for source, group in rows.groupby("SOURCE"):
        ids = dict(zip(group["SOURCE_NAME"], group["IMAGE_ID"], strict=True))
        try:
            matches = table.match(ids, source)
        except ValueError:
            if (group["PATIENT_FROM"] == "table").any():
                raise
            continue  # the table is about other sources
        told |= {
            ids[name]: patient_of_table(row.patient_id, key) for name, row in matches.rows.items() if row.patient_id
        }
    lost = int((rows["PATIENT_FROM"] == "table").sum()) - len(told)
    if lost > 0:
        raise ValueError(f"{table.name} lacks {lost} of the images that have their patient from a table")
    return told


def _one_split_each(rows: pd.DataFrame) -> pd.Series:
    """Of the splits that a patient's images are in, train before validation before test."""
    order = {"train": 0, "validation": 1, "test": 2}
    ranks = rows["SPLIT"].map(order)
    # A phantom may have the id of a patient, and is somebody else.
    least = ranks.groupby([rows["SOURCE"].str.startswith(PHANTOMS), rows["PATIENT_ID"]]).transform("min")
    names = {rank: name for name, rank in order.items()}
    # An image without a split gets none here: it may have no label.
    return least.map(names).where(rows["SPLIT"].notna(), None)

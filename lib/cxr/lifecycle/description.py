"""A description of the data, computed from the catalog, for a run's configuration and the model card."""

import pandas as pd

from cxr.account.project import Project
from cxr.data.notices import PatientYield
from cxr.data.pixels import are_phantoms


def describe(project: Project, rows: pd.DataFrame) -> dict:
    """Facts about catalog rows, ready for JSON, without names of files, folders or persons.

    `patients_by` counts images by the source of their patient id, and `split_trusted` is whether most images have one.
    `ages` counts bands of ten years. `views` and `ages` are empty if no header has them.
    """
    found = PatientYield.of(rows["PATIENT_FROM"].value_counts(dropna=False).to_dict())
    return {
        "images": len(rows),
        "patients": int(rows["PATIENT_ID"].nunique()),
        "phantoms": are_phantoms(rows),
        "classes": _counts(rows["LABEL"]),
        "patients_by": {"table": found.table, "header": found.header, "name": found.name, "none": found.none},
        "split_trusted": found.trusted,
        "ages": _counts(rows["AGE_BAND"]),
        "views": _counts(rows["VIEW_POSITION"]),
        "licence": project.settings.data_licence,
    }


def _counts(column: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in column.value_counts().sort_index().items()}

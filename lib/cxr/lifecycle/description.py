"""What the data are, taken from the data: for a run's configuration and its version's card."""

import pandas as pd

from cxr.account.project import Project
from cxr.data.notices import patient_yield
from cxr.data.sources import PHANTOMS


def describe(project: Project, rows: pd.DataFrame) -> dict:
    """Facts about catalog rows, ready for JSON; no name of a file, folder or person is among them.

    `patients_by` says how many images got their patient by which rule, `split_trusted` whether most of them did; ages
    are in bands of ten years; `views` and `ages` are empty where no header tells them.
    """
    found = patient_yield(project)
    return {
        "images": len(rows),
        "patients": int(rows["PATIENT_ID"].nunique()),
        "phantoms": bool(rows["SOURCE"].str.startswith(PHANTOMS).all()),
        "classes": _counts(rows["LABEL"]),
        "patients_by": {"table": found.table, "header": found.header, "name": found.name, "none": found.none},
        "split_trusted": found.trusted,
        "ages": _counts(rows["AGE_BAND"]),
        "views": _counts(rows["VIEW_POSITION"]),
        "licence": project.settings.data_licence,
    }


def _counts(column: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in column.value_counts().sort_index().items()}

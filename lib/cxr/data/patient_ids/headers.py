"""Read the headers of cataloged DICOM files again, from the images stage."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cxr.account import staged_images
from cxr.account.project import Project
from cxr.data import sources
from cxr.data.pixels import is_named_by_content
from cxr.model import preprocessing

_AT_ONCE = 500


class Digests(NamedTuple):
    """Of the patient's and the study's id; None where the header names none."""

    patient: str | None
    study: str | None


def read_digests(project: Project, rows: pd.DataFrame) -> dict[str, Digests]:
    """Image id -> digests of its header.

    Args:
        rows: of the catalog, with IMAGE_ID and RELATIVE_PATH.

    Raises:
        ValueError: a file does not hold what its name says.
    """
    found = {}
    for start in range(0, len(rows), _AT_ONCE):
        part = rows.iloc[start : start + _AT_ONCE]
        with sources.private_folder() as scratch:
            staged_images.fetch(project.session, project.images_stage, list(part["RELATIVE_PATH"]), scratch)
            for row in part.itertuples():
                file = Path(scratch, Path(row.RELATIVE_PATH).name)
                data = file.read_bytes()
                if not is_named_by_content(file, data):
                    raise ValueError(f"{row.RELATIVE_PATH} on the stage does not hold what its name says")
                xray = preprocessing.decode(data, at_least=256)
                found[row.IMAGE_ID] = Digests(xray.patient_digest, xray.study_digest)
    return found

"""Whose image it is and what it shows, as its name or a table tells. Write another rule for other names."""

import csv
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cxr.settings import LABELS, Settings

_PERSON = re.compile(r"person(\d+)_(bacteria|virus)", re.IGNORECASE)
_STUDY = re.compile(r"IM-(\d+)-")
_CAUSES = ("bacteria", "virus")


@dataclass(frozen=True)
class Origin:
    """`label` is None where nothing tells it; `patient_id` is None where only the header can."""

    label: str | None
    patient_id: str | None = None
    cause: str | None = None


Describe = Callable[[str], Origin | None]  # None: the name is no image's


def rule(settings: Settings) -> Describe:
    """The rule that the settings ask for: by name, or by a table as well."""
    return from_csv(settings.data_csv, settings.patient_key) if settings.data_csv else from_name


def from_name(name: str) -> Origin | None:
    """The rule for the Kermany data: the label is the folder, the patient and the cause stand in the file's name.

    `person12_bacteria_34.jpeg` is patient person12, `IM-0115-0001.jpeg` and `NORMAL2-IM-0115-0001.jpeg` are study
    IM-0115, taken as one patient because nothing says otherwise. Files below no folder of a label are left alone.
    """
    path = PurePosixPath(name)
    label = next((part for part in reversed(path.parts[:-1]) if part in LABELS), None)
    if label is None:
        return None
    # Radiology software exports DICOM under names like IM-0001-0001 too, and there they name no patient.
    if path.suffix.lower() == ".dcm":
        return Origin(label)
    if match := _PERSON.search(path.name):
        return Origin(label, f"person{int(match[1])}", match[2].lower())
    if match := _STUDY.search(path.name):
        return Origin(label, f"IM-{match[1]}")
    return Origin(label)


def from_csv(table: str | Path, key: str) -> Describe:
    """A rule that looks a file up by its path or its bare name in a table; what the table lacks, the name tells.

    Args:
        table: a CSV in UTF-8 with a column `file` and any of `label`, `patient_id`, `cause`.
        key: see `pseudonym`; patients' ids are stored under it.

    Raises:
        ValueError: it has no column `file`, or none of the others.
    """
    with open(table, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = {name.strip().lower(): name for name in reader.fieldnames or ()}
        if "file" not in columns or not columns.keys() & {"label", "patient_id", "cause"}:
            raise ValueError(f"{table} needs a column `file` and one of label, patient_id, cause; it has {[*columns]}")
        rows = {}
        for row in reader:
            told = {name: (row[column] or "").strip() for name, column in columns.items()}
            rows[told["file"]] = tuple(told.get(name, "") for name in ("label", "patient_id", "cause"))

    def describe(name: str) -> Origin:
        label, patient, cause = rows.get(name) or rows.get(PurePosixPath(name).name) or ("", "", "")
        named = from_name(name) or Origin(None)
        return Origin(
            (label.upper() if label.upper() in LABELS else None) if label else named.label,
            pseudonym(patient, key) if patient else named.patient_id,
            (cause.lower() if cause.lower() in _CAUSES else None) if cause else named.cause,
        )

    return describe


def pseudonym(patient: str, key: str) -> str:
    """A patient's id that cannot be turned back without the key (HMAC-SHA-256, 64 bits)."""
    return "patient-" + hmac.digest(key.encode(), patient.encode(), hashlib.sha256).hex()[:16]

"""The patient of an image: from a table, the DICOM header or the file's name; else the image is its own patient.

Rules have a version, because new images of known people must get the ids that these people already have: a catalog
keeps the version that it was begun with until `rekey` changes it.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

# 1: person12_bacteria_34 and IM-0115-0001; a name came before a header; ids of files were under no key.
# 2: Mendeley names as well; a DICOM header comes before the name; ids of files are under the key.
VERSION = 2

_PERSON = re.compile(r"person(\d+)_(bacteria|virus)", re.IGNORECASE)
_STUDY = re.compile(r"IM-(\d+)-")
_MENDELEY = re.compile(r"(bacteria|virus|normal)-(\d+)-\d+", re.IGNORECASE)


def cause_of_name(name: str) -> str | None:
    """`bacteria` or `virus`, where the name is one of the Kermany data."""
    file = PurePosixPath(name).name
    if match := _PERSON.search(file):
        return match[2].lower()
    match = _MENDELEY.match(file)
    return match[1].lower() if match and match[1].lower() != "normal" else None


def patient_of_name(name: str, version: int = VERSION) -> str | None:
    """The patient in a file's name, as the releases of the Kermany data write it.

    `person12_bacteria_34.jpeg` is patient person12, `IM-0115-0001.jpeg` and `NORMAL2-IM-0115-0001.jpeg` are study
    IM-0115, taken as one patient because nothing says otherwise; `VIRUS-1083680-0004.jpeg` is patient 1083680.
    """
    path = PurePosixPath(name)
    # Radiology software exports DICOM under names like IM-0001-0001 too, and there they name no patient.
    if path.suffix.lower() == ".dcm":
        return None
    if match := _PERSON.search(path.name):
        return f"person{int(match[1])}"
    if match := _STUDY.search(path.name):
        return f"IM-{match[1]}"
    if version >= 2 and (match := _MENDELEY.match(path.name)):
        return f"kermany-{int(match[2])}"
    return None


def pseudonym(patient: str, key: str, kind: str = "patient") -> str:
    """A pseudonym, which cannot be reversed without the key (HMAC-SHA-256, 64 bits)."""
    return f"{kind}-" + hmac.digest(key.encode(), patient.encode(), hashlib.sha256).hex()[:16]


def patient_of_table(patient: str, key: str, version: int = VERSION) -> str:
    """The id of a patient as a table writes it: that of the same patient in a DICOM header, if that names no issuer."""
    if version >= 2:
        patient = hashlib.sha256(f"|{patient}".encode()).hexdigest()  # as cxr.model digests it
    return pseudonym(patient, key)


def key_check(key: str) -> str:
    """A check value, stored with a catalog, that recognises its key without revealing it."""
    return hmac.digest(key.encode(), b"cxr: check of the patient key", hashlib.sha256).hex()[:16]


@dataclass(frozen=True)
class PatientRules:
    """How a catalog's patient ids are made."""

    version: int = VERSION
    key: str = field(default="", repr=False)

    def identify(
        self, name: str, told: str | None, told_by: str | None, digest: str | None, is_dicom: bool
    ) -> tuple[str, str]:
        """(the patient's id, by which rule: table, header, name or none).

        Args:
            name: of the file, in its source.
            told, told_by: the patient as the table or the name tells, and which of them.
            digest: of the patient's id in the DICOM header.
        """
        by_header = (pseudonym(digest, self.key), "header") if digest else None
        if told and told_by == "table":
            return told, "table"
        by_name = (told, "name") if told and not (self.version >= 2 and is_dicom) else None
        first, second = (by_header, by_name) if self.version >= 2 else (by_name, by_header)
        return first or second or (self.of_file(name), "none")

    def of_file(self, name: str) -> str:
        """No patient id found: the file is its own patient."""
        data = name.encode(errors="surrogateescape")
        if self.version < 2:
            return f"file-{hashlib.sha256(data).hexdigest()[:16]}"
        return f"file-{hmac.digest(self.key.encode(), b'file:' + data, hashlib.sha256).hex()[:16]}"

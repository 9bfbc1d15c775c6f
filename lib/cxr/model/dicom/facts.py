"""The few facts of a DICOM header that are kept; the rest, names above all, stays behind."""

import hashlib

from cxr.model.dicom.elements import code_string, text

VIEWS = ("PA", "AP", "LL", "RL", "LATERAL", "LLD", "RLD", "LLO", "RLO")


def facts(header) -> dict[str, str | bool | None]:
    """View, laterality, sex, age in bands of ten years, digests of patient and study, and what to beware of."""
    issuer, patient = text(header, "IssuerOfPatientID"), text(header, "PatientID")
    study = code_string(header, "StudyInstanceUID")
    return {
        "view_position": _one_of(header, "ViewPosition", VIEWS),
        "laterality": _one_of(header, "ImageLaterality", ("L", "R", "B", "U")),
        "sex": _one_of(header, "PatientSex", ("F", "M", "O")),
        "age_band": _age_band(code_string(header, "PatientAge")),
        "patient_digest": hashlib.sha256(f"{issuer}|{patient}".encode()).hexdigest() if patient else None,
        "study_digest": hashlib.sha256(study.encode()).hexdigest() if study else None,
        "burned_in": code_string(header, "BurnedInAnnotation") == "YES",
        "for_processing": code_string(header, "PresentationIntentType") == "FOR PROCESSING",
    }


def _one_of(header, name: str, allowed: tuple[str, ...]) -> str | None:
    value = code_string(header, name)
    return value if value in allowed else None


def _age_band(age: str) -> str | None:
    if len(age) != 4 or not age[:3].isdecimal() or age[3] not in "DWMY":
        return None
    decade = min(int(age[:3]) // 10 * 10, 90) if age[3] == "Y" else 0
    return "90+" if decade == 90 else f"{decade}-{decade + 9}"

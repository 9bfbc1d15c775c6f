"""Check one file: the result is a row of the catalog, or the reason why the file is refused.

Shipped to the account as well (`cxr.data.in_account.handlers`), so it imports nothing that knows an account.
"""

import hashlib
from dataclasses import dataclass, field

from cxr.account.places import place_of
from cxr.data.in_account.fingerprints import fingerprint
from cxr.data.patient_ids.rules import PatientRules, pseudonym
from cxr.model import preprocessing

LATERAL_VIEWS = ("LL", "RL", "LATERAL")
_ENDINGS = {"JPEG": ".jpeg", "MPO": ".jpeg", "PNG": ".png", "TIFF": ".tiff", "DICOM": ".dcm"}


@dataclass(frozen=True)
class Origin:
    """`label` is None where nothing tells it; `patient_id` is None where only the header can.

    `told_by` says what told the patient, "table" or "name"; `problem` why the file cannot have one label.
    """

    label: str | None
    patient_id: str | None = None
    cause: str | None = None
    told_by: str | None = field(default=None, compare=False)
    problem: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Accepted:
    """A row of the catalog, without its source and its split."""

    image_id: str
    relative_path: str
    source_name: str
    label: str | None
    cause: str | None
    patient_id: str
    patient_from: str
    study_id: str | None
    width: int
    height: int
    bytes: int
    format: str
    view_position: str | None
    set_aside: str | None
    burned_in: bool | None
    laterality: str | None
    sex: str | None
    age_band: str | None
    perceptual_hash: str


@dataclass(frozen=True)
class Refused:
    """Why a file is no image of the catalog: a code, and a sentence without content of the file."""

    reason: str
    detail: str


CHANGED = Refused("changed", "the file was written to while it was read; the next run looks at it again")


def examine(data: bytes, name: str, origin: Origin, rules: PatientRules = PatientRules()) -> Accepted | Refused:  # noqa: B008
    """Check a file's bytes: a row of the catalog, or the reason why they are refused."""
    try:
        xray = preprocessing.decode(data, at_least=256)
        looks = fingerprint(xray.pixels)
    except preprocessing.BadImage as bad:
        return Refused(bad.reason, bad.detail)
    except Exception as error:  # noqa: BLE001 - no file may end the run
        return Refused("unreadable", f"the decoder stopped with {type(error).__name__}")
    image_id = hashlib.sha256(data).hexdigest()
    patient, patient_from = rules.identify(
        name, origin.patient_id, origin.told_by, xray.patient_digest, xray.format == "DICOM"
    )
    return Accepted(
        image_id=image_id,
        relative_path=place_of(image_id + _ENDINGS[xray.format]),
        source_name=name,
        label=origin.label,
        cause=origin.cause,
        patient_id=patient,
        patient_from=patient_from,
        study_id=pseudonym(xray.study_digest, rules.key, "study") if xray.study_digest else None,
        width=xray.width,
        height=xray.height,
        bytes=len(data),
        format=xray.format,
        view_position=xray.view_position,
        set_aside=_why_set_aside(xray),
        burned_in=getattr(xray, "burned_in", None),
        laterality=xray.laterality,
        sex=xray.sex,
        age_band=xray.age_band,
        perceptual_hash=looks,
    )


def _why_set_aside(xray: preprocessing.XRay) -> str | None:
    if xray.view_position in LATERAL_VIEWS:
        return "lateral"
    return "for_processing" if getattr(xray, "for_processing", False) else None

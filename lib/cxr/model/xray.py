"""A decoded chest X-ray, and the exception for a file that is not one."""

from dataclasses import dataclass, field

import numpy as np


class BadImage(ValueError):
    """A file that is not a usable chest X-ray. `reason` is a code, `detail` a sentence without content of the image."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class XRay:
    """A decoded image and the few facts about it that are kept.

    `pixels` is uint8 [height, width], bright where the body absorbs. `width` and `height` are those of the file; a
    large JPEG may have been decoded at a fraction of them. Its last row and column then stand for less than a whole
    pixel: `extent` is the width and height that the picture really has, in pixels of `pixels`.

    `patient_digest` and `study_digest` hash what the header says, without a key: they are not to be stored so.
    `burned_in`: the header says that text, perhaps a name, is part of the picture. `for_processing`: the picture was
    not prepared for display, so its grey levels may follow another curve.
    """

    pixels: np.ndarray
    format: str
    width: int
    height: int
    extent: tuple[float, float]
    view_position: str | None = None
    laterality: str | None = None
    sex: str | None = None
    age_band: str | None = None
    patient_digest: str | None = field(default=None, repr=False)
    study_digest: str | None = field(default=None, repr=False)
    burned_in: bool = False
    for_processing: bool = False

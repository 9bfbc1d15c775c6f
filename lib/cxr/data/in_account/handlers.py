"""Handlers of the functions in the account. Each looks at one file and answers in JSON, whatever the file holds.

They are shipped with `cxr.model`, without the rest of this project (`cxr.data.in_account.functions`).
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import BinaryIO

import numpy as np
import PIL
import pydicom

from cxr.data.in_account.examining import CHANGED, Origin, Refused
from cxr.data.in_account.examining import examine as examine_bytes
from cxr.data.patient_ids.rules import PatientRules
from cxr.model import preprocessing
from cxr.model.limits import refuse_large

_HASH = re.compile("[0-9a-f]{64}")
DECODERS = f"Pillow {PIL.__version__}, pydicom {pydicom.__version__}, NumPy {np.__version__}"

_OTHER_CONTENT = Refused("changed", "the file does not hold what its name says")


def examine(
    open_file: Callable[[], BinaryIO],
    size: int | None,
    image_id: str | None,
    name: str | None,
    patient: str | None,
    told_by: str | None,
    rules: int,
    key: str,
) -> dict:
    """What a file is.

    Args:
        open_file: opens the file for reading.
        size: of the file in bytes.
        image_id: the SHA-256 that the file had before, if it is known.
        name: of the file in its source. Without it, only the file's hash is told.
        patient, told_by: as in `cxr.data.in_account.examining.Origin`.
        rules, key: version and key of the rules for patients' ids.

    Returns:
        `image_id`, and with a name the columns of the catalog that follow from the file; or else `reason` and `detail`.
    """
    data = _read(open_file, size)
    if isinstance(data, dict):
        return data
    found_id = hashlib.sha256(data).hexdigest()
    if image_id not in (None, found_id):
        return asdict(CHANGED)
    if name is None:
        return {"image_id": found_id}
    found = examine_bytes(data, name, Origin(None, patient, None, told_by), PatientRules(rules, key))
    return asdict(found)


def pixels(open_file: Callable[[], BinaryIO], image_id: str, side: int) -> dict[str, str]:
    """The network's input for a staged image.

    Args:
        open_file: opens the file for reading.
        image_id: the SHA-256 of the file.
        side: of the square, in pixels.

    Returns:
        `pixels` (base64 of side x side grey levels) and `decoders`, or else `reason` and `detail`.
    """
    data = _read(open_file)
    if isinstance(data, dict):
        return data
    if not is_named_by_content(image_id, data):
        return asdict(_OTHER_CONTENT)
    try:
        square = preprocessing.load(data, side)
    except preprocessing.BadImage as bad:
        return asdict(Refused(bad.reason, bad.detail))
    return {"pixels": base64.b64encode(square.tobytes()).decode(), "decoders": DECODERS}


def text(open_file: Callable[[], BinaryIO], image_id: str) -> str:
    """A staged image as base64, the input of the registered model; or a sentence with the error, which is not base64.

    Args:
        open_file: opens the file for reading.
        image_id: the SHA-256 of the file.
    """
    data = _read(open_file)
    if isinstance(data, dict):
        return data["detail"]
    return base64.b64encode(data).decode() if is_named_by_content(image_id, data) else _OTHER_CONTENT.detail


def check(open_file: Callable[[], BinaryIO], image_id: str) -> str | None:
    """None for a staged image with the content of its id; else `changed`, or `unreadable: ...` if it cannot be read.

    Args:
        open_file: opens the file for reading.
        image_id: the SHA-256 of the file.
    """
    data = _read(open_file)
    if isinstance(data, dict):
        return f"{data['reason']}: {data['detail']}"
    return None if is_named_by_content(image_id, data) else _OTHER_CONTENT.reason


def _read(open_file: Callable[[], BinaryIO], size: int | None = None) -> bytes | dict[str, str]:
    try:
        refuse_large(size or 0)  # before it is read: it must fit into the function's memory
        with open_file() as file:
            data = file.read()
    except preprocessing.BadImage as bad:
        return asdict(Refused(bad.reason, bad.detail))
    except Exception as error:  # noqa: BLE001 - no file may end the statement, which is about many others too
        return asdict(Refused("unreadable", f"reading it stopped with {type(error).__name__}"))
    return data


def is_named_by_content(image_id: str, data: bytes) -> bool:
    """Whether the id is the hash of these bytes. True for ids of another form."""
    return not _HASH.fullmatch(image_id) or hashlib.sha256(data).hexdigest() == image_id

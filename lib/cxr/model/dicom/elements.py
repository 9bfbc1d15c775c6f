"""Read elements of a DICOM header. An invalid element is refused with its name; its value is never in a message.

Values are taken from the raw bytes: what pydicom makes of a damaged one depends on its type, and its messages quote it.
"""

import re
import struct
from functools import cache

from cxr.model.xray import BadImage

# Those that this package asks for; the rest of a header is skipped unread.
NAMES = (
    # what the picture is
    *("NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "PixelData"),
    # its shape
    *("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    # from stored to displayed values
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("VOILUTSequence", "PresentationLUTShape", "PresentationLUTSequence", "SharedFunctionalGroupsSequence"),
    *(
        f"{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for part in ("Descriptor", "Data")
    ),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    # facts that are kept
    *("ViewPosition", "ImageLaterality", "PatientSex", "PatientAge", "PatientID", "IssuerOfPatientID"),
    "StudyInstanceUID",
    *("BurnedInAnnotation", "PresentationIntentType"),
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}


def element(header, name: str):
    """pydicom's raw element, or None. Otherwise pydicom would convert an empty one."""
    return header.get_item(tag(name), keep_deferred=True)


@cache
def tag(name: str):
    """An element's number in pydicom, cached: looking it up for each file takes longer than reading the element."""
    # Loaded already, or needed in a moment.
    from pydicom.tag import Tag

    return Tag(name)


def raw_bytes(header, name: str) -> bytes:
    """The raw value; empty if the element is absent or empty."""
    found = element(header, name)
    value = None if found is None else found.value
    if value is None:
        return b""
    if isinstance(value, str):  # pydicom has read it already
        return value.encode("latin-1", "replace")
    if not isinstance(value, bytes):
        raise BadImage("unreadable", f"{name} is of another type than the standard says")
    return value


def code_string(header, name: str) -> str:
    """Upper case, without the padding; empty where the element is absent or empty."""
    return raw_bytes(header, name).decode("latin-1").strip(" \0").upper()


def numbers(header, name: str) -> list[float]:
    """A decimal or integer string's values; none where the element is absent or empty.

    Raises:
        BadImage: a value is no number.
    """
    found, value = element(header, name), raw_bytes(header, name)
    if found is not None and found.VR in _BINARY:
        code = _BINARY[found.VR]
        order = "<" if found.is_little_endian else ">"
        count = len(value) // struct.calcsize(code)
        values = [float(number) for number in struct.unpack_from(f"{order}{count}{code}", value)]
    else:
        content = value.decode("latin-1").strip(" \0")
        parts = [part.strip(" \0") for part in content.split("\\")] if content else []
        if not all(_NUMBER.fullmatch(part) for part in parts):
            raise BadImage("unreadable", f"{name} is no number as DICOM writes them")
        values = [float(part) for part in parts]
    if not all(abs(value) < 1e30 for value in values):
        raise BadImage("unreadable", f"{name} is not finite")
    return values


def words(header, name: str, signed: bool = False) -> list[int]:
    """The 16-bit integers of an element, signed or not as the caller knows, whatever the file calls their type."""
    found, value = element(header, name), raw_bytes(header, name)
    if found is not None and found.VR in ("IS", "DS"):
        return [int(number) for number in numbers(header, name)]
    order = "<" if found is None or found.is_little_endian else ">"
    return list(struct.unpack_from(f"{order}{len(value) // 2}{'h' if signed else 'H'}", value))


def word(header, name: str, default: int | None = None) -> int:
    """An unsigned 16-bit integer.

    Raises:
        BadImage: the element is absent or empty and there is no `default`.
    """
    found = words(header, name)
    if not found and default is None:
        raise BadImage("unreadable", f"{name} is missing or empty")
    return found[0] if found else default


def text(header, name: str) -> str:
    """A text in whatever character set; empty where the element is absent or empty."""
    try:
        return str(header.get(name) or "").strip()
    except Exception:  # noqa: BLE001 - pydicom raises many kinds for damaged text, and their messages quote it
        raise BadImage("unreadable", f"{name} is no text as DICOM writes it") from None

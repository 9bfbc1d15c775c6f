"""Read the needed part of a DICOM header with pydicom, in limited time."""

import io
import logging

from cxr.model.dicom.elements import NAMES, element, tag
from cxr.model.xray import BadImage

MAX_READS = 40_000  # of the file while its header is parsed: two to four for each element, nested ones too
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")


class _BoundedFile(io.BytesIO):
    """Ends a header of endless elements, and one that is compressed as a whole."""

    def __init__(self, data: bytes):
        super().__init__(data)
        self.reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        if self.reads > MAX_READS:
            raise BadImage("too_large", "the DICOM header has too many elements")
        if size is None or size < 0:  # pydicom reads the whole rest only to inflate it
            raise BadImage("unsupported", "deflated DICOM, of which nobody knows the size before it is in memory")
        return super().read(size)


def is_dicom(data: bytes) -> bool:
    """Whether a file has DICOM's preamble, or begins with what follows it, as older archives export files."""
    if data[128:132] == b"DICM":
        return True
    if data[:2] in _FIRST_GROUPS:
        implicit_length = int.from_bytes(data[4:8], "little")
        return data[4:6].isalpha() and data[4:6].isupper() or implicit_length < min(len(data), 2**16)
    return data[:2] == b"\x00\x08" and data[4:6].isalpha() and data[4:6].isupper()


def read_header(data: bytes):
    """pydicom's data set, of the elements in `NAMES` alone.

    Raises:
        BadImage: no header, or one that is too long to read.
    """
    # Only DICOM needs it, and the import takes longer than decoding a JPEG.
    import pydicom

    log = logging.getLogger("pydicom")
    if log.level != logging.CRITICAL:  # its import sets another; warnings may quote the header
        log.setLevel(logging.CRITICAL)
    try:
        header = pydicom.dcmread(_BoundedFile(data), force=True, specific_tags=[tag(name) for name in NAMES])
        header.file_meta.get("TransferSyntaxUID")
    except BadImage:
        raise
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds on damaged headers
        raise BadImage("unreadable", f"the DICOM header ends in {type(error).__name__}") from None
    return header


def first_item(header, name: str):
    """The first item of a sequence as pydicom's data set, which may be empty; None where there is no item."""
    # Loaded already: a header was read before.
    from pydicom.filereader import read_sequence

    found = element(header, name)
    items = None if found is None else found.value
    try:
        if isinstance(items, bytes):
            file = _BoundedFile(items)
            implicit, little = found.is_implicit_VR, found.is_little_endian
            items = read_sequence(file, implicit, little, len(items), "iso8859")
        return items[0] if items else None
    except BadImage:
        raise
    except Exception:  # noqa: BLE001 - as above
        raise BadImage("unreadable", f"{name} is no sequence of items") from None

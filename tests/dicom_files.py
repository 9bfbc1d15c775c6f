"""DICOM files with any header, for tests: what no writer should produce, too; and what the decoder says to a file."""

import io
import struct

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRBigEndian, ExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from cxr.model import preprocessing

FIRST_ELEMENT = b"\x08\x00\x16\x00UI"  # SOPClassUID, in the explicit syntax


def chest(height: int = 120, width: int = 96) -> np.ndarray:
    """float in [0, 1]: a bright middle between two dark lungs, on a slope so that every level occurs."""
    y, x = (axis / size for axis, size in zip(np.mgrid[0:height, 0:width], (height, width), strict=True))
    picture = 0.9 - np.exp(-(((np.abs(x - 0.5) - 0.22) / 0.12) ** 2) - ((y - 0.5) / 0.3) ** 2) + 0.3 * y + 0.05 * x
    return (picture - picture.min()) / np.ptp(picture)


def dicom(
    pixels: np.ndarray,
    bits: int = 12,
    allocated: int = 16,
    interpretation: str = "MONOCHROME2",
    signed: bool = False,
    syntax: UID = ExplicitVRLittleEndian,
    codestream: bytes | list[bytes] | None = None,
    raw: dict[str, tuple[str, bytes]] | None = None,
    **elements: object,
) -> bytes:
    """The bytes of a file.

    Args:
        pixels: stored values, [rows, columns] or [rows, columns, 3].
        bits: BitsStored.
        allocated: BitsAllocated, 8 or 16.
        interpretation: PhotometricInterpretation.
        signed: PixelRepresentation.
        syntax: the transfer syntax.
        codestream: for PixelData instead of `pixels`: one fragment, or several.
        raw: keyword -> (VR, the value as it stands in the file), for what pydicom does not write; explicit syntax only.
        elements: keyword -> value; None leaves an element empty, ... takes it out.
    """
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = DigitalXRayImageStorageForPresentation, "1.2.3.4"
    coding = syntax.is_implicit_VR, syntax.is_little_endian
    header = FileDataset(
        "", {}, file_meta=meta, preamble=bytes(128), is_implicit_VR=coding[0], is_little_endian=coding[1]
    )
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = DigitalXRayImageStorageForPresentation, "1.2.3.4", "DX"
    header.Rows, header.Columns = pixels.shape[:2]
    header.SamplesPerPixel, header.PhotometricInterpretation = 3 if pixels.ndim == 3 else 1, interpretation
    header.BitsAllocated, header.BitsStored, header.HighBit = allocated, bits, bits - 1
    header.PixelRepresentation = int(signed)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    if codestream is None:
        words = np.asarray(pixels).astype(np.int64) & (2**allocated - 1)
        header.PixelData = words.astype(f"{order}u{allocated // 8}").tobytes()
    else:
        header.PixelData = encapsulate([codestream] if isinstance(codestream, bytes) else codestream)
    header["PixelData"].VR = "OB" if allocated == 8 or codestream is not None else "OW"
    for name, value in elements.items():
        if value is ...:
            delattr(header, name)
        else:
            setattr(header, name, value)
    for name in raw or {}:
        header.pop(name, None)
    file = io.BytesIO()
    header.save_as(file, enforce_file_format=True)
    data = file.getvalue()
    start = data.index(FIRST_ELEMENT) if raw else 0
    return data[:start] + b"".join(_explicit(name, *value) for name, value in (raw or {}).items()) + data[start:]


def _explicit(name: str, vr: str, value: bytes) -> bytes:
    tag = Tag(name)
    length = struct.pack("<2xI", len(value)) if vr in EXPLICIT_VR_LENGTH_32 else struct.pack("<H", len(value) & 0xFFFF)
    return struct.pack("<HH", tag.group, tag.element) + vr.encode() + length + value


def lut(count: int, first: int, bits: int, entries: np.ndarray | bytes, signed: bool = False) -> Sequence:
    """A sequence of one lookup table; `entries` as bytes are written as they are."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [count, first, bits])
    data = entries if isinstance(entries, bytes) else np.asarray(entries).astype("<u2").tobytes()
    item.add_new("LUTData", "OW", data)
    return Sequence([item])


def without_meta(data: bytes) -> bytes:
    """The data set alone, in the implicit syntax, as archives before Part 10 export it."""
    file = io.BytesIO()
    Dataset(dict(dcmread(io.BytesIO(data)).items())).save_as(file, implicit_vr=True, little_endian=True)
    return file.getvalue()


def refusal(data: bytes) -> str:
    """The words with which a file of any kind is refused."""
    with pytest.raises(preprocessing.BadImage) as caught:
        preprocessing.decode(data)
    return str(caught.value)

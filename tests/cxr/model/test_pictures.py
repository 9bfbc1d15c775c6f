"""JPEG, PNG and TIFF: what Pillow leaves to its caller is applied, or refused by name."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from tests.dicom_files import chest, refusal
from tests.pictures import encoded

from cxr.model import preprocessing

A = chest()
U8, U16 = np.rint(A * 255).astype(np.uint8), np.rint(A * 65535).astype(np.uint16)


def tiff(samples: np.ndarray, interpretation: int | None, kind: int = 1, deflate: bool = False, **more: int) -> bytes:
    """One strip. The byte order is that of `samples`, `kind` the SampleFormat; tag number -> value in `more`."""
    order = ">" if samples.dtype.byteorder == ">" else "<"
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    strip = zlib.compress(samples.tobytes()) if deflate else samples.tobytes()
    tags = {256: width, 257: height, 258: 8 * samples.itemsize, 259: 8 if deflate else 1, 262: interpretation}
    tags |= {273: 8, 277: channels, 278: height, 279: len(strip), 339: kind} | {int(k[1:]): v for k, v in more.items()}
    entries, extra = b"", b""
    tags = {tag: value for tag, value in tags.items() if value is not None}
    end = 8 + len(strip) + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        if tag in (258, 339) and channels > 1:
            entries += struct.pack(f"{order}HHII", tag, 3, channels, end + len(extra))
            extra += struct.pack(f"{order}H", value) * channels
        else:
            entries += struct.pack(f"{order}HHII", tag, 4, 1, value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(strip))
    return head + strip + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + extra


def png(samples: np.ndarray, colour_type: int, extra: bytes = b"") -> bytes:
    """16 bits, of any colour type."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def check(data: bytes, right: np.ndarray = A * 255) -> None:
    assert np.abs(preprocessing.decode(data).pixels.astype(float) - right).max() <= 0.51


SAMPLES = {
    "uint8": (U8, 1),
    "uint16": (U16, 1),
    "int16": ((U16.astype(int) - 32768).astype(np.int16), 2),
    "uint32": (np.rint(A * (2**32 - 1)).astype(np.uint32), 1),
    "int32": (np.rint((A - 0.5) * (2**32 - 2**10)).astype(np.int32), 2),
    "float32": (A.astype(np.float32), 3),
}
# Where Pillow has no mode, and where it returns swapped bytes for samples that libtiff has put right already.
UNREAD = {("uint16", ">", 0), ("int16", "<", 0), ("int16", ">", 0), ("uint32", "<", 0), ("uint32", ">", 0)}
UNREAD |= {("uint32", ">", 1), ("int32", "<", 0), ("int32", ">", 0)}
SWAPPED = {("int16", ">"), ("int32", ">"), ("float32", ">")}


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("interpretation", [0, 1])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", SAMPLES)
def test_white_is_white_in_every_tiff_that_is_read(name, order, interpretation, deflate):
    samples, kind = SAMPLES[name]
    data = tiff(samples.astype(samples.dtype.newbyteorder(order)), interpretation, kind, deflate)
    if (name, order, interpretation) in UNREAD or (deflate and (name, order) in SWAPPED):
        assert "unsupported" in refusal(data) or "not an image" in refusal(data)
    else:
        check(data, A * 255 if interpretation else 255 - A * 255)


def test_a_tiff_that_does_not_say_which_end_is_white_is_refused():
    assert "PhotometricInterpretation" in refusal(tiff(U8, None))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_compressed_in_an_odd_way_is_refused(order):
    samples = U16.astype(f"{order}u2")
    check(tiff(samples, 1, _259=1))
    assert "compressed in a way" in refusal(tiff(samples, 1, _259=34925))


def test_bytes_that_look_like_scans_are_no_scans_in_a_tiff_of_plain_samples():
    samples = np.rint(A * 65535).astype("<u2")
    samples[:, ::3] = 0xDAFF
    preprocessing.decode(tiff(samples, 1))


def test_a_damaged_entry_of_exif_is_passed_over():
    """Cameras and editors leave such; the picture is whole."""
    directory = b"II*\0" + struct.pack("<IH", 8, 2) + struct.pack("<HHII", 0x010F, 2, 10**6, 40)
    directory += struct.pack("<HHIHH", 0x0112, 3, 1, 1, 0) + bytes(40)
    data = encoded(U8, "JPEG", quality=100, exif=b"Exif\0\0" + directory)
    assert preprocessing.decode(data).width == U8.shape[1]


def test_signed_bytes_are_refused():
    assert "8 bits with a sign" in refusal(tiff((U8.astype(int) - 128).astype(np.int8), 1, 2))


def test_more_than_8_bits_with_colour_or_transparency_are_refused():
    """Pillow keeps their upper bytes alone: of 12 bits in 16 it leaves 16 grey levels."""
    for samples in (U16, U16 >> 4):
        channels = [samples] * 3
        assert "unsupported" in refusal(tiff(np.dstack(channels).astype("<u2"), 2))
        assert "unsupported" in refusal(png(np.dstack(channels), 2))
        assert "unsupported" in refusal(png(np.dstack([samples, samples * 0 + 65535]), 4))
        assert "unsupported" in refusal(png(np.dstack([*channels, samples * 0 + 65535]), 6))
    transparent = struct.pack(">I", 2) + b"tRNS" + b"\0\0" + struct.pack(">I", zlib.crc32(b"tRNS\0\0"))
    assert "transparency" in refusal(png(U16, 0, transparent))
    check(png(U16, 0))


def test_a_picture_of_few_levels_is_refused():
    assert "blank" in refusal(encoded(np.rint(A * 8).astype(np.uint8)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_every_orientation_is_made_upright(kind, orientation):
    turns = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose, 6: np.rot90}
    turns |= {7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1)}
    stored, exif = turns.get(orientation, np.copy)(U8), Image.Exif()
    exif[0x0112] = orientation
    check(encoded(np.ascontiguousarray(stored), kind, exif=exif), U8)

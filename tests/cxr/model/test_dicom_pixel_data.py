"""PixelData comes out as it was put in, or is refused before a decoder has believed a size that is wrong."""

import io
import struct

import numpy as np
import pytest
from pydicom import dcmread, uid
from tests.dicom_files import chest, dicom, refusal
from tests.pictures import encoded

from cxr.model import preprocessing

A = chest()
U8, U12 = np.rint(A * 255).astype(np.uint8), np.rint(A * 4095).astype(np.uint16)


def j2k(pixels: np.ndarray, **options) -> bytes:
    return encoded(pixels, "JPEG2000", no_jp2=True, irreversible=False, **options)


def check(data: bytes, right: np.ndarray, by: float = 0.51) -> None:
    assert np.abs(preprocessing.decode(data).pixels.astype(float) - right).max() <= by


def test_jpeg_and_jpeg_2000_in_one_fragment_and_in_many():
    check(dicom(U8, 8, 8, syntax=uid.JPEGBaseline8Bit, codestream=encoded(U8, "JPEG", quality=100)), U8, by=2)
    stream = j2k(U12 << 4)
    parts = [stream[start : start + 1000] for start in range(0, len(stream), 1000)]
    for codestream in (stream, parts):
        check(dicom(U12, 16, syntax=uid.JPEG2000Lossless, codestream=codestream), U12 * (255 / 4095), by=1)
    check(dicom(U8, 8, 8, syntax=uid.JPEG2000Lossless, codestream=encoded(U8, "JPEG2000", irreversible=False)), U8)


def test_three_equal_channels_in_a_jpeg():
    for interpretation in ("YBR_FULL_422", "YBR_FULL"):
        grey = np.dstack([U8] * 3)
        stream = encoded(grey, "JPEG", quality=100)
        check(dicom(grey, 8, 8, interpretation, syntax=uid.JPEGBaseline8Bit, codestream=stream), U8, by=3)


@pytest.mark.parametrize("pixels", [U8, U12, np.dstack([U8] * 3)], ids=["8 bits", "12 bits", "colour"])
def test_rle(pixels):
    allocated = 8 * pixels.itemsize
    native = dicom(pixels, 8 if allocated == 8 else 12, allocated, "RGB" if pixels.ndim == 3 else "MONOCHROME2")
    header = dcmread(io.BytesIO(native))
    if pixels.ndim == 3:
        header.PlanarConfiguration = 0
    header.compress(uid.RLELossless)
    file = io.BytesIO()
    header.save_as(file)
    check(file.getvalue(), U8 if pixels.itemsize == 1 else U12 * (255 / 4095))


def jpeg_of(rows: int, columns: int) -> bytes:
    stream = bytearray(encoded(U8, "JPEG"))
    struct.pack_into(">HH", stream, stream.index(b"\xff\xc0") + 5, rows, columns)
    return bytes(stream)


def j2k_with(place: int, form: str, *values: int) -> bytes:
    stream = bytearray(j2k(U8))
    struct.pack_into(form, stream, place, *values)
    return bytes(stream)


COD = j2k(U8).index(b"\xff\x52")
RLE_HEADER = struct.pack("<16I", 1, 64, *[0] * 14)


@pytest.mark.parametrize(
    ("syntax", "codestream", "said"),
    [
        (uid.JPEGBaseline8Bit, jpeg_of(60_000, 60_000), "size that Rows and Columns say"),
        (uid.JPEGBaseline8Bit, jpeg_of(0, 96), "size that Rows and Columns say"),
        (uid.JPEGBaseline8Bit, encoded(np.dstack([U8] * 3), "JPEG"), "size that Rows and Columns say"),
        (uid.JPEGBaseline8Bit, j2k(U8), "not the JPEG"),
        (uid.JPEGBaseline8Bit, encoded(U8, "JPEG")[:300], "not one frame header"),
        (uid.JPEGBaseline8Bit, encoded(U8, "JPEG").replace(b"\xff\xc0", b"\xff\xc9"), "arithmetic"),
        (uid.JPEG2000, j2k_with(8, ">II", 13_000, 13_000), "more JPEG 2000"),
        (uid.JPEG2000, j2k_with(8, ">II", 95, 120), "size that Rows and Columns say"),
        (uid.JPEG2000, j2k_with(24, ">II", 1, 1), "tiles"),
        (uid.JPEG2000, j2k_with(COD + 6, ">H", 65_535), "layers"),
        (uid.JPEG2000, j2k_with(COD + 9, ">B", 32), "levels"),
        (uid.JPEG2000, encoded(U8, "JPEG"), "not the JPEG 2000"),
        (uid.RLELossless, struct.pack("<16I", 2, 64, 70, *[0] * 13) + bytes(99), "RLE header"),
        (uid.RLELossless, struct.pack("<16I", 1, 2**31, *[0] * 14) + bytes(99), "RLE header"),
        (uid.RLELossless, RLE_HEADER + b"\x81\x07" * 20, "RLE segment is shorter"),
        (uid.MPEG2MPML, b"\0\0", "no plugin of pydicom reads MPEG2"),
    ],
)
def test_what_a_codestream_says_of_itself_is_checked_first(syntax, codestream, said):
    assert said in refusal(dicom(U8, 8, 8, syntax=syntax, codestream=codestream))


def test_pixels_must_be_as_long_as_the_picture():
    whole = U8.tobytes()
    check(dicom(U8, 8, 8, PixelData=whole + bytes(8)), U8)  # some writers pad
    assert "shorter" in refusal(dicom(U8, 8, 8, PixelData=whole[:-2]))
    assert "longer" in refusal(dicom(U8, 8, 8, PixelData=whole + b"\1\1"))
    assert "longer" in refusal(dicom(U8, 8, 8, PixelData=whole + bytes(len(whole))))
    assert "unreadable" in refusal(dicom(U8, 8, 8)[:1200])
    assert "no pixel data" in refusal(dicom(U8, 8, 8, PixelData=...))


def test_jpeg_of_12_bits_is_refused_by_name():
    stream = encoded(U8, "JPEG").replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc1\x00\x0b\x0c")
    assert "JPEG of 12 bits" in refusal(dicom(U12, 12, syntax=uid.JPEGExtended12Bit, codestream=stream))


def test_bits_of_a_codestream_that_the_header_does_not_know_are_refused():
    assert "BitsStored" in refusal(dicom(U12, 12, syntax=uid.JPEG2000Lossless, codestream=j2k(U12 << 4)))
    check(dicom(U12, 12, syntax=uid.JPEG2000Lossless, codestream=j2k(U12)), U12 * (255 / 4095))
    assert "BitsAllocated" in refusal(dicom(U8, 8, 8, syntax=uid.JPEG2000Lossless, codestream=j2k(U12)))
    assert "HighBit" in refusal(dicom(U12, 12, HighBit=15, syntax=uid.JPEG2000Lossless, codestream=j2k(U12)))


def test_of_several_frames_none_is_taken_for_the_picture():
    assert "multiframe" in refusal(dicom(np.vstack([U8, U8]), 8, 8, Rows=120, NumberOfFrames=2))

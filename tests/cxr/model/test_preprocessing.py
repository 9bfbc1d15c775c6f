"""From bytes to the network's input: every kind of file gives the same picture, whole or damaged."""

import base64
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import JPEGLosslessSV1
from tests.dicom_files import dicom
from tests.pictures import encoded

from cxr.model import preprocessing

GRADIENT = np.add.outer(np.arange(200), np.arange(160)).astype(np.float32)
GREY = np.rint(GRADIENT * 255 / GRADIENT.max()).astype(np.uint8)  # [200, 160]
IMAGE = Image.fromarray(GREY)


def close(pixels, expected=GREY, by=2.0):
    return pixels.shape == expected.shape and np.abs(pixels.astype(float) - expected).mean() <= by


@pytest.mark.parametrize(
    "data",
    [
        encoded(GREY),
        encoded(GREY, "JPEG", quality=95),
        encoded(GREY, "TIFF"),
        encoded(IMAGE.convert("RGB")),
        encoded(IMAGE.convert("CMYK"), "JPEG", quality=95),
        encoded(IMAGE.convert("RGBA")),
        encoded(IMAGE.convert("P")),
        encoded(GREY.astype(np.uint16) * 257),
        dicom(GREY.astype(np.uint16) * 16),
    ],
    ids=["png", "jpeg", "tiff", "rgb", "cmyk", "rgba", "palette", "png16", "dicom"],
)
def test_every_supported_kind_gives_the_same_picture(data):
    assert close(preprocessing.decode(data).pixels)


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = encoded(np.rot90(GREY).copy(), "JPEG", quality=95, exif=exif)
    assert close(preprocessing.decode(turned).pixels)


def test_dicom_without_a_window_spans_its_bits_stored_unless_it_fills_little_of_them():
    half, faint = (GREY.astype(np.uint16) * factor for factor in (8, 2))
    assert close(preprocessing.decode(dicom(half)).pixels, np.rint(GREY / 2))
    assert close(preprocessing.decode(dicom(faint)).pixels, GREY)
    assert close(preprocessing.decode(dicom(faint, WindowCenter=None, WindowWidth=None)).pixels, GREY)


def test_a_compression_that_no_plugin_at_hand_reads_is_named():
    data = dicom(GREY, syntax=JPEGLosslessSV1, codestream=b"no pixels")
    with pytest.raises(preprocessing.BadImage, match="unsupported: no plugin of pydicom reads JPEG Lossless"):
        preprocessing.decode(data)


def test_patients_of_dicom_files_are_told_apart_by_a_digest_alone():
    first, again, other = (preprocessing.decode(dicom(GREY, 8, PatientID=i)).patient_digest for i in ("7", "7 ", "8"))
    assert first == again != other and preprocessing.decode(dicom(GREY, 8)).patient_digest is None


def test_a_study_is_told_by_a_digest_of_its_uid_and_an_empty_uid_is_none():
    given = [{"StudyInstanceUID": uid} for uid in ("1.2.3", "1.2.3 ", "1.2.4", "")]
    found = [preprocessing.decode(dicom(GREY, 8, **elements)) for elements in (*given, {})]
    first, again, other, *nothing = (xray.study_digest for xray in found)
    assert first == again != other and nothing == [None, None]
    assert "1.2.3" not in first and first not in repr(found[0])


def test_of_a_dicom_header_only_what_is_named_is_kept():
    xray = preprocessing.decode(
        dicom(GREY, 8, PatientName="Doe^Jane", PatientID="123", PatientAge="043Y", PatientSex="F", ViewPosition="PA")
    )
    assert (xray.age_band, xray.sex, xray.view_position, xray.laterality) == ("40-49", "F", "PA", None)
    assert "Doe" not in repr(xray) and "123" not in repr(xray)


WHOLE = [encoded(GREY, "JPEG"), encoded(GREY), encoded(GREY, "TIFF"), dicom(GREY, 8)]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_are_decoded_or_refused_and_nothing_else(data):
    whole = WHOLE[data.draw(st.integers(0, len(WHOLE) - 1))]
    damaged = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for _ in range(data.draw(st.integers(0, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert preprocessing.load(bytes(damaged), 64).shape == (64, 64)
    except preprocessing.BadImage as error:
        assert error.reason and error.detail


def test_the_whole_width_is_kept():
    """Squashed, never cropped: marks on all four borders are still there."""
    marked = np.full((300, 200), 40, np.uint8)
    marked[:12], marked[-12:], marked[:, :12], marked[:, -12:] = 250, 250, 250, 250
    small = preprocessing.to_square(marked, 64)
    assert min(small[0].mean(), small[-1].mean(), small[:, 0].mean(), small[:, -1].mean()) > 200


def test_left_stays_left():
    half = np.tile(np.arange(100, dtype=np.uint8) // 3, (100, 1))
    half[:, 50:] += 190
    small = preprocessing.load(encoded(half), 64)
    assert small[:, :28].max() < 20 and small[:, 36:].min() > 180


def away_from_the_full_decode(data: bytes, size: int) -> float:
    """Mean grey levels between the network's input and the same made from the JPEG at full size."""
    whole = preprocessing.to_square(preprocessing.decode(data).pixels, size)
    assert preprocessing.decode(data, at_least=2 * size).pixels.size < preprocessing.decode(data).pixels.size / 3
    return np.abs(preprocessing.load(data, size).astype(int) - whole).mean()


@pytest.mark.parametrize("shape", [(1600, 1600), (1314, 1145), (1001, 1999)])
def test_a_large_jpeg_read_at_a_fraction_looks_the_same(shape):
    """Also where its sides are no multiples of the fraction: then the last row and column are part of a pixel."""
    coarse = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize(shape, Image.BICUBIC)
    assert away_from_the_full_decode(encoded(picture, "JPEG", quality=90), 96) <= 1


ORIGINALS = Path(__file__).resolve().parents[4] / "shared" / "data" / "quickstart_sample"


@pytest.mark.skipif(not ORIGINALS.is_dir(), reason="the real X-rays of shared/data are not here")
def test_real_originals_read_at_a_fraction_look_the_same():
    files = sorted(ORIGINALS.rglob("*.jpeg"))[::9]
    assert max(away_from_the_full_decode(file.read_bytes(), 96) for file in files) <= 0.5


@pytest.mark.parametrize(
    ("text", "reason"), [("", "empty"), (None, "empty"), ("None", "empty"), ("%%%", "not_base64"), ("é", "not_base64")]
)
def test_text_that_is_not_base64_is_refused(text, reason):
    with pytest.raises(preprocessing.BadImage) as caught:
        preprocessing.from_base64(text)
    assert caught.value.reason == reason


def test_base64_gives_the_bytes_back():
    assert preprocessing.from_base64(base64.b64encode(b"\x00abc\x00").decode()) == b"\x00abc\x00"

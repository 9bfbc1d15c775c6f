"""Stored values become the grey levels that PS3.3 says; each expectation is a formula of the standard, written anew."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from tests.dicom_files import chest, dicom, lut, refusal, without_meta

from cxr.model import preprocessing

A = chest()
U8, U10, U12, U16 = (np.rint(A * (2**bits - 1)).astype(int) for bits in (8, 10, 12, 16))
S12, S16 = U12 - 2048, U16 - 32768
TWICE = {"RescaleSlope": 2, "RescaleIntercept": 0}
FULL = {"WindowCenter": 2048, "WindowWidth": 4096}  # of 12 bits


def linear(values, centre, width):
    """C.11.2.1.2.1, to 0..255."""
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 255


def exact(values, centre, width):
    """C.11.2.1.3.2."""
    return np.clip((values - centre) / width + 0.5, 0, 1) * 255


def sigmoid(values, centre, width):
    """C.11.2.1.3.1."""
    return 255 / (1 + np.exp(-4 * (values - centre) / width))


def seen(data: bytes) -> np.ndarray:
    return preprocessing.decode(data).pixels.astype(float)


def check(data: bytes, right: np.ndarray) -> None:
    assert np.abs(seen(data) - right).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(
    ("function", "formula"), [(None, linear), ("LINEAR", linear), ("LINEAR_EXACT", exact), ("SIGMOID", sigmoid)]
)
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (-1, 4095), (2, -1000), (0.01, 5), (-0.5, 100)])
@pytest.mark.parametrize("interpretation", ["MONOCHROME2", "MONOCHROME1"])
def test_a_window_is_applied_to_rescaled_values_and_then_inverted_once(
    function, formula, slope, intercept, interpretation
):
    middle, width = 1500 * slope + intercept, 1000 * abs(slope) + 1
    elements = {} if function is None else {"VOILUTFunction": function}
    elements |= {"RescaleSlope": slope, "RescaleIntercept": intercept, "WindowCenter": middle, "WindowWidth": width}
    right = formula(U12 * slope + intercept, middle, width)
    check(
        dicom(U12, interpretation=interpretation, **elements),
        right if interpretation == "MONOCHROME2" else 255 - right,
    )


def test_a_slope_without_a_window_moves_values_and_range_alike_and_inverts_nothing_by_itself():
    check(dicom(U12, RescaleSlope=2, RescaleIntercept=-1000), U12 * 255 / 4095)
    check(dicom(4095 - U12, RescaleSlope=-1, RescaleIntercept=4095), U12 * 255 / 4095)


def test_zero_is_a_centre_like_any_other():
    check(dicom(S16, 16, signed=True, WindowCenter=0, WindowWidth=20000), linear(S16, 0, 20000))


def test_of_several_windows_the_first_is_applied():
    check(dicom(U12, WindowCenter=[1000, 2048], WindowWidth=[3000, 4096]), linear(U12, 1000, 3000))


@pytest.mark.parametrize(
    ("elements", "named"),
    [
        ({"WindowCenter": 9, "WindowWidth": 0.5}, "WindowWidth"),
        ({"WindowCenter": 9, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"}, "WindowWidth"),
        ({"WindowCenter": 9, "WindowWidth": -3, "VOILUTFunction": "LINEAR_EXACT"}, "WindowWidth"),
        ({**FULL, "VOILUTFunction": "CUBIC"}, "VOILUTFunction"),
        ({"WindowCenter": 9}, "WindowWidth"),
        ({"WindowWidth": 9}, "WindowCenter"),
        ({**FULL, "RescaleSlope": 0, "RescaleIntercept": 1}, "RescaleSlope"),
        ({**FULL, "RescaleSlope": None, "RescaleIntercept": 5}, "RescaleSlope"),
        ({**FULL, "PresentationLUTShape": "INVERSE"}, "PresentationLUTShape"),
        ({**FULL, "PresentationLUTShape": "LIN OD"}, "PresentationLUTShape"),
        ({"PhotometricInterpretation": "GREY"}, "PhotometricInterpretation"),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel"),
        ({"Rows": ...}, "Rows"),
        ({"BitsStored": 17}, "BitsStored"),
        ({"HighBit": 3}, "HighBit"),
        ({"HighBit": 16}, "HighBit"),
        ({"PixelRepresentation": ...}, "PixelRepresentation"),
        ({"BitsAllocated": 32}, "BitsAllocated"),
        ({"PixelPaddingRangeLimit": 9}, "PixelPaddingRangeLimit"),
        ({"VOILUTSequence": Sequence([Dataset()])}, "VOILUTSequence"),
        ({"ModalityLUTSequence": Sequence([Dataset()])}, "ModalityLUTSequence"),
        ({"ModalityLUTSequence": lut(4096, 0, 12, np.arange(4096)), **TWICE}, "RescaleSlope"),
        ({"VOILUTSequence": lut(4096, 0, 12, np.arange(4000))}, "LUTData"),
        ({"VOILUTSequence": lut(4096, 0, 10, np.arange(4096))}, "LUTData"),
        ({"VOILUTSequence": lut(4096, 0, 17, np.arange(4096))}, "LUTDescriptor"),
        ({"SharedFunctionalGroupsSequence": Sequence([Dataset()])}, "SharedFunctionalGroupsSequence"),
    ],
    ids=str,
)
def test_what_the_standard_forbids_is_refused_with_the_elements_name(elements, named):
    assert named in refusal(dicom(U12, **elements))


@pytest.mark.parametrize("name", ["WindowCenter", "RescaleSlope", "RescaleIntercept", "PixelAspectRatio"])
@pytest.mark.parametrize("value", [b"2048,5", b"Meyer^An", b"nan ", b"1_0 ", b"1\\2\\x "])
def test_what_is_no_number_is_refused_by_name_and_not_quoted(name, value):
    elements = {**FULL, "RescaleSlope": 1, "RescaleIntercept": 0}
    said = refusal(dicom(U12, raw={name: ("DS", value)}, **elements))
    assert name in said and value.decode().strip() not in said


@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": None, "RescaleIntercept": 0},
        {"RescaleSlope": 1, "RescaleIntercept": None},
        {"VOILUTFunction": None},
        {"VOILUTSequence": Sequence([])},
        {"VOILUTSequence": Sequence([Dataset()])},
        {"ModalityLUTSequence": Sequence([])},
        {"PresentationLUTShape": None},
        {"PresentationLUTShape": "IDENTITY"},
        {"PhotometricInterpretation": "monochrome2"},
        {"raw": {"PixelPaddingValue": ("US", b"")}},
        {"PixelAspectRatio": None},
        {"PixelSpacing": [0, 0]},
        {"NumberOfFrames": None},
        {"HighBit": ...},
        {"SamplesPerPixel": ...},
        {"PatientID": None, "PatientAge": None},
    ],
    ids=str,
)
def test_what_may_be_empty_says_nothing(elements):
    check(dicom(U12, **FULL, **elements), linear(U12, 2048, 4096))


CURVE = np.rint(4095 / (1 + np.exp(-(np.arange(4096) - 2048) / 500))).astype(int)
EIGHT = np.rint(255 * (np.arange(1024) / 1023) ** 2).astype(np.uint8)


def test_a_lookup_table_may_have_entries_of_8_bits_in_words_or_packed():
    right = EIGHT[U10]
    check(dicom(U10, 10, VOILUTSequence=lut(1024, 0, 8, EIGHT)), right)
    check(dicom(U10, 10, VOILUTSequence=lut(1024, 0, 8, EIGHT.tobytes())), right)


def test_values_outside_a_lookup_table_get_its_ends():
    table = CURVE[1000:2000]
    check(dicom(U12, VOILUTSequence=lut(1000, 1000, 12, table)), table[(U12 - 1000).clip(0, 999)] * 255 / 4095)


@pytest.mark.parametrize("written_signed", [True, False])
def test_a_lookup_table_of_signed_values_begins_below_zero(written_signed):
    first = -2048 if written_signed else 2**16 - 2048
    sequence = lut(4096, first, 12, CURVE, signed=written_signed)
    check(dicom(S12, signed=True, VOILUTSequence=sequence), CURVE[U12] * 255 / 4095)
    check(dicom(S12, signed=True, ModalityLUTSequence=sequence), CURVE[U12] * 255 / 4095)


def test_65536_entries_are_written_as_none():
    entries = (np.arange(65536) // 2 + 16384).astype(int)
    check(dicom(U16, 16, VOILUTSequence=lut(0, 0, 16, entries)), entries[U16] * 255 / 65535)


def test_a_modality_table_comes_before_the_window():
    table = np.arange(4096)[::-1] // 2
    elements = {"ModalityLUTSequence": lut(4096, 0, 12, table), "WindowCenter": 900, "WindowWidth": 1500}
    check(dicom(U12, **elements), linear(table[U12], 900, 1500))


def test_a_voi_table_is_read_by_rescaled_values():
    elements = {"RescaleSlope": 1, "RescaleIntercept": -2048, "VOILUTSequence": lut(4096, -2048, 12, CURVE, True)}
    check(dicom(U12, **elements), CURVE[U12] * 255 / 4095)


@pytest.mark.parametrize("elements", [{}, {"PresentationLUTShape": "INVERSE"}])
def test_monochrome1_and_its_usual_shape_invert_once(elements):
    check(dicom(U12, interpretation="MONOCHROME1", **FULL, **elements), 255 - linear(U12, 2048, 4096))


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("extra", [{}, {"PixelPaddingRangeLimit": 65000}, FULL])
def test_padding_is_black_and_belongs_to_no_range(interpretation, extra):
    """Padding at the top of 16 bits, around a picture that fills little of them."""
    values = np.rint(A * 2000 + 1000).astype(int)
    padded = values.copy()
    padded[:20], padded[-9:] = 65535, 65500 if "PixelPaddingRangeLimit" in extra else 65535
    picture = seen(dicom(padded, 16, interpretation=interpretation, PixelPaddingValue=65535, **extra))
    right = linear(values, 2048, 4096) if extra == FULL else (values[20:-9].min(), values[20:-9].max())
    if extra != FULL:
        right = (values - right[0]) * 255 / (right[1] - right[0])
    right = 255 - right if interpretation == "MONOCHROME1" else right
    assert np.abs(picture - right)[20:-9].max() <= 0.51
    assert not picture[:20].any() and not picture[-9:].any()


def test_padding_may_be_signed_whatever_its_type_says():
    padded = S12.copy()
    padded[:20] = -2048
    for vr, value in (("SS", -2048), ("US", 2**16 - 2048)):
        raw = {"PixelPaddingValue": (vr, value.to_bytes(2, "little", signed=value < 0))}
        picture = seen(dicom(padded, signed=True, interpretation="MONOCHROME1", raw=raw))
        assert not picture[:20].any() and picture[20:].min() < 255


def test_bits_that_are_not_stored_are_ignored():
    junk = np.random.default_rng(0).integers(0, 16, U12.shape) << 12
    check(dicom(U12 | junk, **FULL), linear(U12, 2048, 4096))
    check(dicom((S12 & 4095) | junk, signed=True, WindowCenter=0, WindowWidth=4096), linear(S12, 0, 4096))


def test_stored_bits_may_stand_high_in_the_word():
    junk = np.random.default_rng(0).integers(0, 16, U12.shape)
    check(dicom(U12 << 4 | junk, HighBit=15, **FULL), linear(U12, 2048, 4096))


def test_every_native_syntax_and_no_syntax_at_all_give_the_same_picture():
    right = linear(U12, 2048, 4096)
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        check(dicom(U12, syntax=syntax, **FULL), right)
    check(without_meta(dicom(U12, **FULL)), right)


def palette(red, green, blue):
    tables = {"Red": red, "Green": green, "Blue": blue}
    elements = {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in tables}
    return elements | {f"{c}PaletteColorLookupTableData": t.astype("<u2").tobytes() for c, t in tables.items()}


def test_a_grey_palette_is_applied_and_a_coloured_one_refused():
    ramp = np.arange(256)[::-1] * 257
    check(dicom(U8, 8, 8, "PALETTE COLOR", **palette(ramp, ramp, ramp)), 255 - U8)
    assert "not_greyscale" in refusal(dicom(U8, 8, 8, "PALETTE COLOR", **palette(ramp, ramp[::-1], ramp)))
    assert "RedPaletteColorLookupTableDescriptor" in refusal(dicom(U8, 8, 8, "PALETTE COLOR"))


def test_three_equal_channels_are_greyscale():
    grey = np.dstack([U8] * 3)
    check(dicom(grey, 8, 8, "RGB", PlanarConfiguration=0), U8)
    check(dicom(np.moveaxis(grey, 2, 0).reshape(grey.shape), 8, 8, "RGB", PlanarConfiguration=1), U8)
    luminance = np.dstack([U8, np.full_like(U8, 128), np.full_like(U8, 128)])
    check(dicom(luminance, 8, 8, "YBR_FULL", PlanarConfiguration=0), U8)
    assert "not_greyscale" in refusal(dicom(luminance, 8, 8, "RGB", PlanarConfiguration=0))
    assert "unsupported" in refusal(dicom(grey, 12, 16, "RGB", PlanarConfiguration=0))


def test_a_picture_of_few_levels_is_refused():
    assert "9 different grey levels" in refusal(dicom(np.rint(A * 8).astype(int) * 100, **FULL))


@pytest.mark.parametrize("name", ["PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"])
def test_the_shape_is_that_of_the_body_and_not_of_the_grid(name):
    narrow = U12[:, :24].repeat(8, 0)  # [960, 24]
    tall = np.rint(chest(320, 40) * 4095).astype(int)
    assert "aspect_ratio" in refusal(dicom(tall, **FULL))
    assert seen(dicom(tall, **FULL, **{name: [1, 8]})).shape == (320, 40)
    assert "aspect_ratio" in refusal(dicom(U12, **FULL, **{name: [5, 1]}))
    assert "too_small" in refusal(dicom(narrow, **FULL, **{name: [1, 40]}))


def test_what_to_beware_of_is_kept():
    plain = preprocessing.decode(dicom(U12, **FULL))
    marked = preprocessing.decode(
        dicom(U12, **FULL, BurnedInAnnotation="YES", PresentationIntentType="FOR PROCESSING", ViewPosition="LATERAL")
    )
    assert (plain.burned_in, plain.for_processing, plain.view_position) == (False, False, None)
    assert (marked.burned_in, marked.for_processing, marked.view_position) == (True, True, "LATERAL")

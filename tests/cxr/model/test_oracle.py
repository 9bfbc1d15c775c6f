"""Other people's renderings of other people's files, and of headers made at random.

Equal within one level wherever a window or a lookup table fixes the range, equal in order elsewhere, or refused for a
reason that stands below. `highdicom` and DCMTK's `dcm2pnm` (where it is installed) render; the files are those of
pydicom and of the package `pydicom-data`. The long form is `python3 ci soak headers`.
"""

import importlib.metadata
import io
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from PIL import Image
from tests.dicom_files import chest, dicom, lut

from cxr.model import preprocessing
from cxr.model.preprocessing import BadImage

EXAMPLES = int(os.environ.get("CXR_ORACLE_EXAMPLES", "40"))
DCM2PNM = shutil.which("dcm2pnm")


def files() -> list[Path]:
    theirs = Path(pydicom.__file__).parent / "data" / "test_files"
    found = [path for path in theirs.rglob("*") if path.is_file()]
    listed = importlib.metadata.files("pydicom-data") or []
    found += [Path(entry.locate()) for entry in listed if entry.parts[:2] == ("data_store", "data")]
    return sorted(path for path in found if path.suffix not in (".py", ".pyc", ".pyi"))


FILES = files()


# ---------------------------------------------------------------- what may be refused


def header_of(data: bytes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(data), force=True)


def colourful(header) -> bool:
    pixels = pydicom.pixels.pixel_array(header).astype(int)
    return pixels.ndim == 3 and (pixels.max(2) - pixels.min(2)).mean() > 12


# Part of the refusal -> what must then be so, by pydicom alone.
REFUSED = {
    "multiframe": lambda header: int(header.NumberOfFrames) > 1,
    "too_small": lambda header: min(header.Rows, header.Columns) < 32,
    "no pixel data": lambda header: "PixelData" not in header,
    "not an image": lambda header: "PixelData" not in header,
    "deflated": lambda header: header.file_meta.TransferSyntaxUID == pydicom.uid.DeflatedExplicitVRLittleEndian,
    "SharedFunctionalGroupsSequence": lambda header: "SharedFunctionalGroupsSequence" in header,
    "no plugin of pydicom reads": lambda header: header.file_meta.TransferSyntaxUID.is_compressed,
    "JPEG of 12 bits": lambda header: header.BitsStored == 12,
    "colour of other than 8 bits": lambda header: header.SamplesPerPixel == 3 and header.BitsAllocated != 8,
    "BitsAllocated is neither 8 nor 16": lambda header: header.BitsAllocated not in (8, 16),
    "segmented palettes": lambda header: "SegmentedRedPaletteColorLookupTableData" in header,
    "not_greyscale": colourful,
    "PhotometricInterpretation is missing": lambda header: not header.get("PhotometricInterpretation"),
    "YBR_FULL_422 that is not compressed": lambda header: header.PhotometricInterpretation == "YBR_FULL_422",
}
ODD = {  # file -> (part of the refusal, why that is right)
    "ExplVR_BigEnd.dcm": ("not_greyscale", "ultrasound in colour; pydicom is asked for a frame it does not hold"),
    "GDCMJ2K_TextGBR.dcm": ("OSError", "a coloured JP2 file, boxes and all, of which Pillow reads no part"),
    "JPEG2000-embedded-sequence-delimiter.dcm": ("too_large", "made to be torn: its own size is the delimiter"),
    "MR_truncated.dcm": ("shorter than the picture", "cut in the middle of its pixels"),
    "OT-PAL-8-face.dcm": ("not_greyscale", "a coloured palette"),
    "badVR.dcm": ("NumberOfFrames", "its number of frames is no number"),
    "bad_sequence.dcm": ("no plugin", "lossless JPEG"),
    "color-pl.dcm": ("not_greyscale", "a coloured picture, in planes"),
    "color-px.dcm": ("not_greyscale", "a coloured picture"),
    "emri_small_jpeg_2k_lossless_too_short.dcm": ("no pixel data", "cut before its pixels"),
    "SC_jpeg_no_color_transform.dcm": ("blank", "one colour all over"),
    "SC_jpeg_no_color_transform_2.dcm": ("blank", "one colour all over"),
    "SC_rgb_jpeg.dcm": ("blank", "almost white all over"),
    "SC_rgb_jpeg_dcmd.dcm": ("blank", "the same picture"),
    "SC_rgb_jpeg_app14_dcmd.dcm": ("blank", "pure colours that have the same luminance once decoded"),
}
# Where highdicom itself is wrong: file -> why.
NOT_BY_HIGHDICOM = {
    "mlut_18.dcm": "it takes signed stored values for unsigned places in the modality LUT; DCMTK does not"
}


# ---------------------------------------------------------------- how others render


def by_highdicom(data: bytes, voi: bool) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = highdicom.Image.from_dataset(header_of(data))
        return image.get_frame(
            1,
            apply_real_world_transform=False,
            apply_modality_transform=None,
            apply_voi_transform=voi,
            apply_presentation_lut=True,
            apply_palette_color_lut=None,
            apply_icc_profile=False,
            voi_output_range=(0, 255),
            dtype=np.float64,
        )


def by_dcmtk(path: Path, scratch: Path, header) -> np.ndarray | None:
    """None where it cannot: it has no JPEG 2000, and `dcmj2pnm` is another program."""
    voi = (
        ["+Wl", "1"] if header.get("VOILUTSequence") else ["+Wi", "1"] if header.get("WindowCenter") is not None else []
    )
    out = scratch / "out.pgm"
    out.unlink(missing_ok=True)
    subprocess.run([DCM2PNM, "+op", "-O", *voi, path, out], capture_output=True)
    if not out.exists():
        return None
    with Image.open(out) as image:
        return np.asarray(image.convert("L")).astype(float)


def same_order(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether ours never falls where theirs rises, and is one level where theirs is one value."""
    order = np.lexsort((ours.ravel(), theirs.ravel()))
    ours, theirs = ours.ravel()[order], theirs.ravel()[order]
    rises = np.diff(theirs) > 0
    return bool((np.diff(ours)[rises] >= 0).all() and (np.diff(ours)[~rises] == 0).all())


def fixed_range(header) -> bool:
    return any(header.get(name) not in (None, "") and header.get(name) for name in ("VOILUTSequence", "WindowCenter"))


# ---------------------------------------------------------------- the tests


@pytest.mark.skipif(not importlib.metadata.files("pydicom-data"), reason="pydicom-data is not installed")
def test_there_are_files_enough():
    assert len(FILES) > 200


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_other_peoples_files_are_shown_as_others_show_them_or_refused_with_reason(path, tmp_path):
    data = path.read_bytes()
    try:
        ours = preprocessing.decode(data).pixels.astype(float)
    except BadImage as bad:
        return check_refusal(path.name, str(bad), data)
    header = header_of(data)
    if header.SamplesPerPixel == 3 or header.PhotometricInterpretation == "PALETTE COLOR":
        return check_colour(ours, header, path, tmp_path)
    shown = ours if "PixelPaddingValue" not in header else np.where(is_padding(header), np.nan, ours)
    kept = ~np.isnan(shown)
    rendered = 0
    if path.name not in NOT_BY_HIGHDICOM and header.original_encoding[1]:
        theirs = by_highdicom(data, voi=None if not fixed_range(header) else True)
        rendered += 1
        if fixed_range(header):
            assert np.abs(ours - theirs)[kept].max() <= 1
        else:
            assert same_order(ours[kept], theirs[kept])
    if DCM2PNM and (fixed_range(header) or header.get("ModalityLUTSequence")):
        theirs = by_dcmtk(path, tmp_path, header)
        if theirs is not None:
            rendered += 1
            assert np.abs(ours - theirs)[kept].max() <= 1
    assert rendered or not DCM2PNM or not header.original_encoding[1]
    return None


def check_refusal(name: str, said: str, data: bytes) -> None:
    if name in ODD:
        assert ODD[name][0] in said
        return
    why = [reason for reason in REFUSED if reason in said]
    assert why and REFUSED[why[0]](header_of(data)), said


def check_colour(ours: np.ndarray, header, path: Path, scratch: Path) -> None:
    """pydicom's own palettes are wrong in big-endian files, so palettes are left to DCMTK."""
    if header.PhotometricInterpretation != "PALETTE COLOR":
        theirs = np.asarray(Image.fromarray(pydicom.pixels.pixel_array(header)).convert("L"))
        assert np.abs(ours - theirs).max() <= 1
    elif DCM2PNM:
        assert np.abs(ours - by_dcmtk(path, scratch, header)).max() <= 1


def is_padding(header) -> np.ndarray:
    ends = sorted([int(header.PixelPaddingValue), int(header.get("PixelPaddingRangeLimit", header.PixelPaddingValue))])
    stored = header.pixel_array
    return (stored >= ends[0]) & (stored <= ends[1])


@st.composite
def headers(draw) -> tuple[bytes, bool]:
    """(a file, whether its header fixes the range)."""
    bits, signed = draw(st.integers(8, 16)), draw(st.booleans())
    lowest = -(2 ** (bits - 1)) if signed else 0
    values = np.rint(chest(48, 40) * (2**bits - 1)).astype(int) + lowest
    elements: dict[str, object] = {}
    slope, intercept = 1.0, 0.0
    if draw(st.booleans()):
        slope = draw(st.sampled_from((1.0, 2.0, 0.5, -1.0, -0.25)))
        intercept = float(draw(st.integers(-5000, 5000)))
        elements |= {"RescaleSlope": slope, "RescaleIntercept": intercept, "RescaleType": "US"}
    shown = draw(st.sampled_from(("window", "table", "nothing")))
    if shown == "window":
        span = abs(slope) * 2**bits
        function = draw(st.sampled_from((None, "LINEAR", "LINEAR_EXACT", "SIGMOID")))
        centre = (lowest + draw(st.floats(0.3, 0.7)) * 2**bits) * slope + intercept
        # highdicom and DCMTK apply C.11.2.1.2.1 to stored values: its -0.5 and -1 then count `slope` times.
        width = max(1500, draw(st.floats(0.3, 2)) * span)
        elements |= {"WindowCenter": round(centre, 3), "WindowWidth": round(width, 3)}
        elements |= {"VOILUTFunction": function} if function else {}
    elif shown == "table" and slope == 1 and lowest + intercept >= 0 and 2**bits <= 65535:
        curve = np.rint(65535 * np.linspace(0, 1, 2**bits) ** draw(st.floats(0.5, 2)))
        elements |= {"VOILUTSequence": lut(2**bits, int(lowest + intercept), 16, curve)}
    interpretation = draw(st.sampled_from(("MONOCHROME1", "MONOCHROME2")))
    if draw(st.booleans()):
        elements["PresentationLUTShape"] = "INVERSE" if interpretation == "MONOCHROME1" else "IDENTITY"
    allocated = 8 if bits == 8 and draw(st.booleans()) else 16
    fixed = "WindowCenter" in elements or "VOILUTSequence" in elements
    note(f"{bits} bits of {allocated}, signed {signed}, {interpretation}, {elements}")
    return dicom(values, bits, allocated, interpretation, signed, **elements), fixed


@settings(max_examples=EXAMPLES, deadline=None)
@given(headers())
def test_headers_made_at_random_are_shown_as_others_show_them(tmp_path_factory, made):
    data, fixed = made
    try:
        ours = preprocessing.decode(data).pixels.astype(float)
    except BadImage as bad:
        assert bad.reason == "blank"  # the window shows too few levels
        return
    theirs = by_highdicom(data, voi=True if fixed else None)
    assert np.abs(ours - theirs).max() <= 1 if fixed else same_order(ours, theirs)
    if DCM2PNM and fixed:
        path = tmp_path_factory.getbasetemp() / "made.dcm"
        path.write_bytes(data)
        header = header_of(data)
        seen, stored = by_dcmtk(path, path.parent, header), header.pixel_array
        # After a slope like 0.5 DCMTK shows the range's own ends wrongly; highdicom shows them as we do.
        whole = float(header.get("RescaleSlope", 1)).is_integer()
        kept = whole | (stored > stored.min()) & (stored < stored.max())
        assert np.abs(ours - seen)[kept].max() <= 1

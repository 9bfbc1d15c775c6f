"""DICOM files: what must be so before their pixels are looked at, and the way from the file to an `XRay`."""

import numpy as np
from PIL import Image

from cxr.model.colourfulness import greyscale
from cxr.model.dicom.elements import code_string, element, numbers, raw_bytes, word
from cxr.model.dicom.facts import facts
from cxr.model.dicom.grey_levels import grey_levels
from cxr.model.dicom.lookup_tables import lookup_table
from cxr.model.dicom.pixel_data import pixel_words
from cxr.model.dicom.reading import first_item, read_header
from cxr.model.dicom.stored_values import Layout, read_layout, strips
from cxr.model.limits import check_size
from cxr.model.xray import BadImage, XRay

SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3}
SAMPLES |= {"YBR_ICT": 3, "YBR_RCT": 3}
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")


def decode_dicom(data: bytes) -> XRay:
    """Raises BadImage, with any reason but empty and truncated."""
    header = read_header(data)
    if element(header, "PixelData") is None:
        raise BadImage("unreadable", "the DICOM file holds no pixel data")
    _check_what_is_read(header)
    interpretation = code_string(header, "PhotometricInterpretation")
    samples = _samples(header, interpretation)
    width, height = word(header, "Columns"), word(header, "Rows")
    check_size(width, height, _pixel_ratio(header))
    layout, syntax = read_layout(header), _transfer_syntax(header)
    if interpretation == "YBR_FULL_422" and not syntax.is_compressed:
        raise BadImage("unsupported", "YBR_FULL_422 that is not compressed")
    shape = (height, width, samples)
    words, interpretation = pixel_words(header, syntax, interpretation, shape, layout)
    if interpretation == "PALETTE COLOR":
        pixels = greyscale(_through_palette(header, words[..., 0], layout))
    elif samples == 3:
        pixels = _grey_of_colour(words, interpretation, layout)
    else:
        words = words[..., 0]
        pixels = _through_table(words, grey_levels(header, layout, words))
    return XRay(pixels, "DICOM", width, height, (width, height), **facts(header))


def _check_what_is_read(header) -> None:
    frames = numbers(header, "NumberOfFrames")
    if frames and frames[0] > 1:
        raise BadImage("multiframe", f"{frames[0]:.0f} frames; one image per file is read")
    if first_item(header, "SharedFunctionalGroupsSequence") is not None:
        raise BadImage("unsupported", "SharedFunctionalGroupsSequence: how its pixels are shown is not read")


def _samples(header, interpretation: str) -> int:
    if not interpretation:
        raise BadImage("unreadable", "PhotometricInterpretation is missing or empty")
    if interpretation not in SAMPLES:
        raise BadImage("unsupported", f"PhotometricInterpretation is none of {', '.join(SAMPLES)}")
    samples = word(header, "SamplesPerPixel", SAMPLES[interpretation])
    if samples != SAMPLES[interpretation]:
        raise BadImage("unreadable", "SamplesPerPixel contradicts PhotometricInterpretation")
    return samples


def _pixel_ratio(header) -> float:
    """The height of a pixel divided by its width."""
    for name in _SPACINGS:
        ratio = numbers(header, name)
        if ratio and len(ratio) != 2:
            raise BadImage("unreadable", f"{name} does not hold two numbers")
        if ratio and min(ratio) > 0:  # some devices write 0 for what they do not know
            return ratio[0] / ratio[1]
    return 1.0


def _transfer_syntax(header):
    # Loaded already: the header was read before.
    from pydicom import uid

    implicit, little = header.original_encoding
    native = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    syntax = header.file_meta.get("TransferSyntaxUID")
    if not syntax:  # no file meta, or none in it: pydicom has guessed from the first element
        return native if little else uid.ExplicitVRBigEndian
    syntax = uid.UID(str(syntax))
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise BadImage("unsupported", "a transfer syntax that DICOM does not know")
    return syntax


def _through_table(words: np.ndarray, table: np.ndarray) -> np.ndarray:
    return np.concatenate([np.take(table, strip) for strip in strips(words)])


def _grey_of_colour(words: np.ndarray, interpretation: str, layout: Layout) -> np.ndarray:
    if (layout.allocated, layout.stored, layout.high_bit, layout.signed) != (8, 8, 7, False):
        raise BadImage("unsupported", "colour of other than 8 bits")
    mode = "YCbCr" if interpretation.startswith("YBR") else "RGB"
    return greyscale(Image.frombytes(mode, words.shape[1::-1], np.ascontiguousarray(words).tobytes()))


def _through_palette(header, words: np.ndarray, layout: Layout) -> Image.Image:
    channels = []
    for colour in ("Red", "Green", "Blue"):
        descriptor, data = (f"{colour}PaletteColorLookupTable{part}" for part in ("Descriptor", "Data"))
        if raw_bytes(header, f"Segmented{colour}PaletteColorLookupTableData"):
            raise BadImage("unsupported", "segmented palettes")
        table = lookup_table(header, descriptor, data, layout.signed)
        levels = np.rint(table.apply(layout.values()) * (255 / table.top)).astype(np.uint8)
        channels.append(Image.fromarray(_through_table(words, levels)))
    return Image.merge("RGB", channels)

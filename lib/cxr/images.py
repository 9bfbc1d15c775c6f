"""From the bytes of a file to the square greyscale image that the network sees. The only preprocessing there is.

Training, evaluation, the registered model and the app all call :func:`load`, so no two of them can disagree.

What is done with each kind of file:

* JPEG, PNG and TIFF of 8 bits: read as greyscale. Palettes and CMYK go through RGB. Transparency is laid on black.
* More than 8 bits: scaled linearly from the image's own smallest to its largest value.
* Colour: three equal channels are greyscale; a coloured image is refused (``not_greyscale``).
* EXIF orientation is applied.
* DICOM: BitsStored and the rescale slope, then the VOI LUT or window, then MONOCHROME1 is inverted. Several frames are
  refused (``multiframe``). Nothing of the header is kept but what :class:`XRay` names.
"""

import base64
import binascii
import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "TIFF")
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000
MIN_SIDE = 32  # pixels
MAX_ASPECT_RATIO = 4.0
MIN_CONTRAST = 8  # grey levels between the 1st and the 99th percentile
MAX_COLOURFULNESS = 12.0  # mean difference between the largest and the smallest channel, in levels

# Damaged files are answered with BadImage; the decoders' warnings beside it would fill a log with file contents.
warnings.filterwarnings("ignore", module=r"(PIL|pydicom)(\.|$)")

_UNSUPPORTED_SIGNATURES = (b"GIF8", b"BM", b"RIFF", b"PK\x03\x04", b"%PDF", b"\x00\x00\x00\x0cjP", b"\xff\x4f\xff\x51")
# What Pillow and its codecs raise on damaged files.
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, AttributeError, EOFError)
_DECODER_ERRORS += (OverflowError, struct.error, zlib.error, Image.DecompressionBombError, MemoryError)


class BadImage(ValueError):
    """A file that is no usable chest X-ray. `reason` is a code, `detail` a sentence without content of the image."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class XRay:
    """A decoded image and the few facts about it that are kept.

    `pixels` is uint8 [height, width], bright where the body absorbs. `width` and `height` are those of the file; a
    large JPEG may have been decoded at a fraction of them.
    """

    pixels: np.ndarray
    format: str
    width: int
    height: int
    view_position: str | None = None
    laterality: str | None = None
    sex: str | None = None
    age_band: str | None = None


def load(data: bytes, size: int) -> np.ndarray:
    """The network's input for a file's bytes: uint8 [size, size].

    Raises:
        BadImage: the bytes are no usable chest X-ray.
    """
    return to_square(decode(data, at_least=2 * size).pixels, size)


def from_base64(text: str) -> bytes:
    """The bytes behind base64 text, the form in which images travel to the registered model.

    Raises:
        BadImage: `text` is empty, too long, or not base64.
    """
    # The registry's handler turns a NULL into the text of Python's null before the model sees it.
    if not isinstance(text, str) or text in ("", "None", "nan"):
        raise BadImage("empty", "no image was given")
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise BadImage("too_large", f"more than {MAX_BYTES // 2**20} MB")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadImage("not_base64", "the text is not base64") from None


def to_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Squash uint8 [height, width] to [size, size]; nothing is cropped, so the lateral lung fields stay."""
    if pixels.shape == (size, size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def decode(data: bytes, at_least: int | None = None) -> XRay:
    """Decode and check one file.

    Args:
        data: the file's bytes.
        at_least: a side in pixels that is enough; a larger JPEG may then be decoded at 1/2, 1/4 or 1/8, which is
            several times faster.

    Raises:
        BadImage: with one of the reasons empty, unreadable, truncated, unsupported, multiframe, too_large, too_small,
            aspect_ratio, not_greyscale, blank.
    """
    if not data:
        raise BadImage("empty", "the file holds no bytes")
    if len(data) > MAX_BYTES:
        raise BadImage("too_large", f"{len(data) / 2**20:.0f} MB; at most {MAX_BYTES // 2**20} MB are read")
    xray = _decode_dicom(data) if data[128:132] == b"DICM" else _decode_picture(data, at_least)
    low, high = np.percentile(xray.pixels, (1, 99))
    if high - low < MIN_CONTRAST:
        raise BadImage("blank", f"only {high - low:.0f} grey levels between the 1st and the 99th percentile")
    return xray


def check_size(width: int, height: int) -> None:
    """Refuse sizes that no chest X-ray has, before any pixel is allocated. Raises BadImage."""
    if width * height > MAX_PIXELS:
        raise BadImage("too_large", f"{width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are read")
    if min(width, height) < MIN_SIDE:
        raise BadImage("too_small", f"{width} x {height} pixels; at least {MIN_SIDE} a side are needed")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise BadImage("aspect_ratio", f"{width} x {height} pixels is no chest X-ray's shape")


def _decode_picture(data: bytes, at_least: int | None) -> XRay:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            check_size(width, height)
            if getattr(image, "n_frames", 1) > 1:
                raise BadImage("multiframe", f"{image.n_frames} frames; one image per file is read")
            if at_least:
                image.draft(image.mode, (at_least, at_least))
            kind = image.format
            image.load()
            grey = _greyscale(ImageOps.exif_transpose(image))
    except BadImage:
        raise
    except Image.UnidentifiedImageError:
        if data.startswith(_UNSUPPORTED_SIGNATURES):
            raise BadImage("unsupported", f"not one of {', '.join(FORMATS)}, DICOM") from None
        raise BadImage("unreadable", "not an image") from None
    except Image.DecompressionBombError:
        raise BadImage("too_large", f"more than {MAX_PIXELS // 10**6} million pixels") from None
    except _DECODER_ERRORS as error:
        reason = "truncated" if "truncated" in str(error) or isinstance(error, EOFError) else "unreadable"
        raise BadImage(reason, f"the decoder stopped with {type(error).__name__}") from None
    return XRay(grey, kind, width, height)


def _greyscale(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        return _stretch(np.asarray(image))
    if image.mode == "LA" or image.mode == "RGBA" or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image).convert("RGB")
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    colour = image.convert("RGB")
    thumbnail = np.asarray(colour.resize((64, 64), Image.Resampling.BOX)).astype(np.int16)
    colourfulness = float(np.ptp(thumbnail, axis=2).mean())
    if colourfulness > MAX_COLOURFULNESS:
        raise BadImage("not_greyscale", f"the colour channels differ by {colourfulness:.0f} levels on average")
    return np.asarray(colour.convert("L"))


def _stretch(values: np.ndarray) -> np.ndarray:
    """Scale any numeric image linearly from its own range to uint8."""
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise BadImage("unreadable", "some pixel values are not numbers")
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255.0 / max(high - low, 1e-6))).astype(np.uint8)


def _decode_dicom(data: bytes) -> XRay:
    # Only DICOM needs it, and the import takes longer than decoding a JPEG.
    import pydicom
    from pydicom.errors import BytesLengthException, InvalidDicomError
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    try:
        header = pydicom.dcmread(io.BytesIO(data))
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise BadImage("multiframe", f"{header.NumberOfFrames} frames; one image per file is read")
        if "PixelData" not in header:
            raise BadImage("unreadable", "the DICOM file holds no pixel data")
        if int(header.get("SamplesPerPixel", 1)) != 1:
            raise BadImage("not_greyscale", "the DICOM file holds a colour image")
        check_size(int(header.Columns), int(header.Rows))
        pixels = _stretch(apply_voi_lut(apply_modality_lut(header.pixel_array, header), header))
        if header.get("PhotometricInterpretation") == "MONOCHROME1":
            pixels = 255 - pixels
        return XRay(pixels, "DICOM", int(header.Columns), int(header.Rows), **_facts(header))
    except BadImage:
        raise
    except (*_DECODER_ERRORS, RuntimeError, InvalidDicomError, BytesLengthException) as error:
        raise BadImage("unreadable", f"the DICOM decoder stopped with {type(error).__name__}") from None


def _facts(header) -> dict[str, str | None]:
    """View, laterality, sex and age in bands of ten years; every other header field stays behind."""

    def one_of(field, allowed):
        value = str(header.get(field) or "").strip().upper()
        return value if value in allowed else None

    age = str(header.get("PatientAge") or "")
    years = int(age[:3]) if len(age) == 4 and age[:3].isdigit() and age[3] == "Y" else None
    months = len(age) == 4 and age[:3].isdigit() and age[3] in "DWM"
    decade = 0 if months else None if years is None else min(years // 10 * 10, 90)
    band = None if decade is None else "90+" if decade == 90 else f"{decade}-{decade + 9}"
    return {
        "view_position": one_of("ViewPosition", ("PA", "AP", "LL", "RL")),
        "laterality": one_of("ImageLaterality", ("L", "R", "B", "U")),
        "sex": one_of("PatientSex", ("F", "M", "O")),
        "age_band": band,
    }

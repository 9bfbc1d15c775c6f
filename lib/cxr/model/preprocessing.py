"""From the bytes of a file to the square greyscale image that the network sees. The only preprocessing there is.

Training, evaluation, the registered model and the app all call :func:`load`, so no two of them can disagree.

What is done with each kind of file:

* JPEG, PNG and TIFF of 8 bits: read as greyscale. Palettes and CMYK go through RGB. Transparency is laid on black.
* PNG and TIFF of more bits: scaled linearly from the image's own smallest to its largest value.
* Colour: three equal channels are greyscale; a coloured image is refused (``not_greyscale``).
* EXIF orientation is applied.
* DICOM: the rescale slope, then the VOI LUT or window, then the range of BitsStored (or of the LUT's bits) scaled to 8
  bits, then MONOCHROME1 inverted. Without a window, a picture that fills less than a quarter of that range is scaled
  from its own. Several frames are refused (``multiframe``), and a compression that no plugin of pydicom at hand reads
  (``unsupported``). Nothing of the header is kept but what :class:`XRay` names.
"""

import base64
import binascii
import hashlib
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageOps, ImageStat

PREPROCESSING_VERSION = 1  # raise it whenever the pixels of any file change
FORMATS = ("JPEG", "PNG", "TIFF")
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 32_000_000  # detectors have up to 20 million; more would not fit the memory that one file may take
MIN_SIDE = 32  # pixels
MAX_ASPECT_RATIO = 4.0
MIN_CONTRAST = 8  # grey levels between the 1st and the 99th percentile
MAX_COLOURFULNESS = 12.0  # mean difference between the largest and the smallest channel, in levels
_ROWS = 256
_DEFLATED = b"1.2.840.10008.1.2.1.99"

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
    large JPEG may have been decoded at a fraction of them. Its last row and column then stand for less than a whole
    pixel: `extent` is the width and height that the picture really has, in pixels of `pixels`.
    """

    pixels: np.ndarray
    format: str
    width: int
    height: int
    extent: tuple[float, float]
    view_position: str | None = None
    laterality: str | None = None
    sex: str | None = None
    age_band: str | None = None
    patient_digest: str | None = field(default=None, repr=False)


def load(data: bytes, size: int) -> np.ndarray:
    """The network's input for a file's bytes: uint8 [size, size].

    Raises:
        BadImage: the bytes are no usable chest X-ray.
    """
    xray = decode(data, at_least=2 * size)
    return to_square(xray.pixels, size, xray.extent)


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


def to_square(pixels: np.ndarray, size: int, extent: tuple[float, float] | None = None) -> np.ndarray:
    """Squash uint8 [height, width] to [size, size]; nothing is cropped, so the lateral lung fields stay.

    `extent`: see :class:`XRay`; all of `pixels` if None.
    """
    width, height = extent or pixels.shape[::-1]
    if pixels.shape == (size, size) == (height, width):
        return pixels
    box = (0, 0, width, height)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box))


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
    # A histogram tells the percentiles many times faster than sorting the pixels.
    below = np.cumsum(Image.fromarray(xray.pixels).histogram()) / xray.pixels.size
    low, high = np.searchsorted(below, (0.01, 0.99))
    if high - low < MIN_CONTRAST:
        raise BadImage("blank", f"only {high - low} grey levels between the 1st and the 99th percentile")
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
            kind = image.format
            # Turned pictures are decoded whole: the fraction of a pixel at the end would stand at the beginning.
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            drafted = image.draft(None, (at_least, at_least)) if at_least and not turned else None
            image.load()
            grey = _greyscale(ImageOps.exif_transpose(image) if turned else image)
            extent = drafted[1][2:] if drafted else grey.shape[::-1]
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
    return XRay(grey, kind, width, height, extent)


def _greyscale(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        strips = [(0, y, image.width, min(y + _ROWS, image.height)) for y in range(0, image.height, _ROWS)]
        return _to_bytes(lambda: (np.asarray(image.crop(strip)) for strip in strips))
    transparent = image.mode in ("LA", "RGBA") or "transparency" in image.info
    if image.mode in ("1", "L") and not transparent:
        return np.asarray(image if image.mode == "L" else image.convert("L"))
    wanted = "RGBA" if transparent else "RGB"
    colour = image if image.mode == wanted else image.convert(wanted)
    red, green, blue = colour.reduce(max(1, min(colour.size) // 64)).split()[:3]
    brightest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    darkest = ImageChops.darker(ImageChops.darker(red, green), blue)
    colourfulness = ImageStat.Stat(ImageChops.subtract(brightest, darkest)).mean[0]
    if colourfulness > MAX_COLOURFULNESS:
        raise BadImage("not_greyscale", f"the colour channels differ by {colourfulness:.0f} levels on average")
    grey = colour.convert("L")
    return np.asarray(ImageChops.multiply(grey, colour.getchannel("A")) if transparent else grey)


def _to_bytes(strips: Callable[[], Iterable[np.ndarray]], low=0.0, high=0.0, least=1.0) -> np.ndarray:
    """uint8 of a picture that comes in strips, because floats of a whole one would fill the memory.

    Scaled linearly from low to high, or from the picture's own range where that is less than `least` of theirs.
    """
    ends = np.array([(strip.min(), strip.max()) for strip in strips()], np.float64)
    if not np.isfinite(ends).all():
        raise BadImage("unreadable", "some pixel values are not numbers")
    own_low, own_high = ends[:, 0].min(), ends[:, 1].max()
    if high <= low or own_high - own_low < least * (high - low):
        low, high = own_low, own_high
    factor = 255.0 / max(high - low, 1e-6)
    return np.concatenate(
        [np.rint(((strip.astype(np.float32) - low) * factor).clip(0, 255)).astype(np.uint8) for strip in strips()]
    )


def _decode_dicom(data: bytes) -> XRay:
    # Only DICOM needs it, and the import takes longer than decoding a JPEG.
    import pydicom
    from pydicom.errors import BytesLengthException, InvalidDicomError

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its import sets another; warnings may quote the header
    if _DEFLATED in data[:4096]:
        raise BadImage("unsupported", "deflated DICOM, of which nobody knows the size before it is in memory")
    try:
        header = pydicom.dcmread(io.BytesIO(data))
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise BadImage("multiframe", f"{header.NumberOfFrames} frames; one image per file is read")
        if "PixelData" not in header:
            raise BadImage("unreadable", "the DICOM file holds no pixel data")
        if int(header.get("SamplesPerPixel", 1)) != 1:
            raise BadImage("not_greyscale", "the DICOM file holds a colour image")
        width, height = int(header.Columns), int(header.Rows)
        check_size(width, height)
        pixels = _dicom_pixels(header)
        if header.get("PhotometricInterpretation") == "MONOCHROME1":
            pixels = 255 - pixels
        return XRay(pixels, "DICOM", width, height, (width, height), **_facts(header))
    except BadImage:
        raise
    except (*_DECODER_ERRORS, RuntimeError, InvalidDicomError, BytesLengthException) as error:
        raise BadImage("unreadable", f"the DICOM decoder stopped with {type(error).__name__}") from None


def _dicom_pixels(header) -> np.ndarray:
    """The display values of PS3.3 C.11.1 and C.11.2, as uint8."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut, get_decoder

    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise BadImage("unsupported", f"no plugin of pydicom reads {syntax.name} here")
    raw = header.pixel_array
    if not (header.get("WindowCenter") and header.get("WindowWidth")):
        header.pop("WindowCenter", None)  # there, but empty

    def displayed() -> Iterator[np.ndarray]:
        return (
            apply_voi_lut(apply_modality_lut(raw[y : y + _ROWS], header), header) for y in range(0, len(raw), _ROWS)
        )

    tables = header.get("VOILUTSequence") or header.get("ModalityLUTSequence")
    bits, signed = int(header.BitsStored), int(header.PixelRepresentation)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if tables:
        low, high = 0, 2 ** int(tables[0].LUTDescriptor[2]) - 1
    elif "RescaleSlope" in header and "RescaleIntercept" in header:
        slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    return _to_bytes(displayed, low, high, least=0 if tables or "WindowCenter" in header else 0.25)


def _facts(header) -> dict[str, str | None]:
    """View, laterality, sex, age in bands of ten years and a digest of the patient's id; the rest stays behind."""

    def one_of(name, allowed):
        value = str(header.get(name) or "").strip().upper()
        return value if value in allowed else None

    age = str(header.get("PatientAge") or "")
    years = int(age[:3]) if len(age) == 4 and age[:3].isdigit() and age[3] == "Y" else None
    months = len(age) == 4 and age[:3].isdigit() and age[3] in "DWM"
    decade = 0 if months else None if years is None else min(years // 10 * 10, 90)
    issuer, patient = (str(header.get(name) or "").strip() for name in ("IssuerOfPatientID", "PatientID"))
    band = None if decade is None else "90+" if decade == 90 else f"{decade}-{decade + 9}"
    return {
        "view_position": one_of("ViewPosition", ("PA", "AP", "LL", "RL")),
        "laterality": one_of("ImageLaterality", ("L", "R", "B", "U")),
        "sex": one_of("PatientSex", ("F", "M", "O")),
        "age_band": band,
        "patient_digest": hashlib.sha256(f"{issuer}|{patient}".encode()).hexdigest() if patient else None,
    }

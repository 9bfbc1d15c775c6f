"""From the bytes of a file to the square greyscale image that the network sees. The only preprocessing there is.

Training, evaluation, the registered model and the app all call :func:`load`, so no two of them can disagree.

* JPEG, PNG and TIFF (`pictures`): 8 bits as they are, more bits from the image's own smallest to its largest value.
  Palettes and CMYK go through RGB, transparency is laid on black, EXIF orientation and WhiteIsZero are applied.
* DICOM (`dicom`): `dicom.grey_levels` has the order of steps, `dicom.window` the window. Of the header, only what
  :class:`XRay` names is kept.
* Colour (`colourfulness`): three equal channels are greyscale; a coloured image is refused.
* Several images in a file, and anything that would be shown wrongly because it is not understood, are refused by name.
* `limits`, `picture_parts` and `codestreams` limit the time and the memory that a file can take.
"""

import base64
import binascii
import warnings

import numpy as np
from PIL import Image

from cxr.model.dicom.decoding import decode_dicom
from cxr.model.dicom.reading import is_dicom
from cxr.model.limits import MAX_BYTES, refuse_large
from cxr.model.pictures import decode_picture
from cxr.model.xray import BadImage, XRay

PREPROCESSING_VERSION = 2  # raise it whenever the pixels of any file change
MIN_CONTRAST = 8  # grey levels between the 1st and the 99th percentile
MIN_LEVELS = 32  # different ones in the whole picture

# Damaged files are answered with BadImage; the decoders' warnings beside it would fill a log with file contents.
warnings.filterwarnings("ignore", module=r"(PIL|pydicom)(\.|$)")


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
            aspect_ratio, not_greyscale, blank. Nothing else is raised, whatever the bytes are.
    """
    if not data:
        raise BadImage("empty", "the file holds no bytes")
    refuse_large(len(data))
    try:
        xray = decode_dicom(data) if is_dicom(data) else decode_picture(data, at_least)
        _check_contrast(xray.pixels)
    except BadImage:
        raise
    except Exception as error:  # noqa: BLE001 - one file must never end an ingest or a batch, whatever a decoder raises
        reason = "truncated" if "truncated" in str(error) or isinstance(error, EOFError) else "unreadable"
        raise BadImage(reason, f"the decoder stopped with {type(error).__name__}") from None
    return xray


def _check_contrast(pixels: np.ndarray) -> None:
    # A histogram tells the percentiles many times faster than sorting the pixels.
    counts = np.array(Image.fromarray(pixels).histogram())
    low, high = np.searchsorted(np.cumsum(counts) / pixels.size, (0.01, 0.99))
    if high - low < MIN_CONTRAST:
        raise BadImage("blank", f"only {high - low} grey levels between the 1st and the 99th percentile")
    if np.count_nonzero(counts) < MIN_LEVELS:
        raise BadImage("blank", f"only {np.count_nonzero(counts)} different grey levels")

"""JPEG, PNG and TIFF files, by Pillow; what Pillow leaves to its caller is applied or refused here."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image

from cxr.model.codestreams import count_scans
from cxr.model.colourfulness import greyscale
from cxr.model.limits import MAX_PIXELS, check_size
from cxr.model.picture_parts import check_directory, check_parts
from cxr.model.xray import BadImage, XRay

FORMATS = ("JPEG", "PNG", "TIFF")
MAX_COLOUR_PIXELS = 16_000_000  # of a JPEG in several scans, whose decoder keeps 6 bytes a pixel beside the picture
_ROWS = 256
_UNSUPPORTED_SIGNATURES = (b"GIF8", b"BM", b"RIFF", b"PK\x03\x04", b"%PDF", b"\x00\x00\x00\x0cjP", b"\xff\x4f\xff\x51")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF's orientation -> how to turn the picture


def decode_picture(data: bytes, at_least: int | None) -> XRay:
    """See `preprocessing.decode`. What Pillow raises on damaged files is for the caller to name."""
    check_parts(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            check_size(width, height)
            if getattr(image, "n_frames", 1) > 1:
                raise BadImage("multiframe", f"{image.n_frames} frames; one image per file is read")
            _check_memory(image, data)
            if image.format == "PNG":
                image.load()  # its texts may stand behind the pixels
                _check_profile(image.info.get("Raw profile type exif"))
            # Turned pictures are decoded whole: the fraction of a pixel at the end would stand at the beginning.
            turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation)) if image.format != "TIFF" else None
            drafted = image.draft(None, (at_least, at_least)) if at_least and turn is None else None
            grey = _tiff_grey(image, data) if image.format == "TIFF" else _grey(image)
            if turn is not None:
                grey = np.asarray(Image.fromarray(grey).transpose(turn))
            return XRay(grey, image.format, width, height, drafted[1][2:] if drafted else grey.shape[::-1])
    except Image.UnidentifiedImageError:
        if data.startswith(_UNSUPPORTED_SIGNATURES):
            raise BadImage("unsupported", f"not one of {', '.join(FORMATS)}, DICOM") from None
        raise BadImage("unreadable", "not an image") from None
    except Image.DecompressionBombError:
        raise BadImage("too_large", f"more than {MAX_PIXELS // 10**6} million pixels") from None


def _check_profile(text: str | None) -> None:
    """EXIF as ImageMagick writes it into a PNG: three lines, then hexadecimal digits."""
    if text:
        check_directory(bytes.fromhex("".join(text.split("\n")[3:])))


def _check_memory(image: Image.Image, data: bytes) -> None:
    several_scans = image.format == "JPEG" and image.mode != "L" and count_scans(data) > 1
    if several_scans and image.width * image.height > MAX_COLOUR_PIXELS:
        raise BadImage("too_large", f"a progressive colour JPEG of over {MAX_COLOUR_PIXELS // 10**6} million pixels")


def _grey(image: Image.Image) -> np.ndarray:
    image.load()
    if not image.mode.startswith(("I", "F")):
        return greyscale(image)
    if "transparency" in image.info:
        raise BadImage("unsupported", "a picture of 16 bits with transparency")
    return _stretched(image)


def _stretched(image: Image.Image, kind: type = np.generic) -> np.ndarray:
    """From the picture's own smallest to its largest value; in strips, because floats of it all fill the memory.

    `kind`: what the samples are, where Pillow takes them for another integer.
    """

    def strips() -> Iterator[np.ndarray]:
        for y in range(0, image.height, _ROWS):
            strip = np.asarray(image.crop((0, y, image.width, min(y + _ROWS, image.height))))
            yield strip if kind is np.generic else strip.view(kind)

    ends = np.array([(strip.min(), strip.max()) for strip in strips()], np.float64)
    if not np.isfinite(ends).all():
        raise BadImage("unreadable", "some pixel values are not numbers")
    low, high = ends[:, 0].min(), ends[:, 1].max()
    factor = 255.0 / max(high - low, 1e-6)
    return np.concatenate(
        [np.rint(((strip.astype(np.float32) - low) * factor).clip(0, 255)).astype(np.uint8) for strip in strips()]
    )


def _tiff_grey(image: Image.Image, data: bytes) -> np.ndarray:
    """By the tags that Pillow passes over: it inverts WhiteIsZero of 8 bits and less, but of no more."""
    tags, mode = dict(image.tag_v2), image.mode
    interpretation, bits, kinds = (tags.get(tag) for tag in (262, 258, 339))
    bits, kind = bits or (1,), kinds[0] if kinds else 1
    if len(bits) > 1 and max(bits) > 8:
        raise BadImage("unsupported", "a TIFF of 16 bits with colour or transparency")
    if bits == (8,) and kind != 1:
        raise BadImage("unsupported", "a TIFF of 8 bits with a sign")
    if not mode.startswith(("I", "F")):
        return _grey(image)
    if mode in ("I", "F") and data[:2] == b"MM" and tags.get(259, 1) != 1:
        raise BadImage("unsupported", "a compressed big-endian TIFF of more than 16 bits, or with a sign")
    image.load()
    grey = _stretched(image, np.uint32 if (bits, kind) == ((32,), 1) else np.generic)
    return 255 - grey if interpretation == 0 else grey

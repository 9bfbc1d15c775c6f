"""How large a file, a picture and its parts may be, so that no file takes more than 2 s or 300 MB."""

from cxr.model.xray import BadImage

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 32_000_000  # detectors have up to 20 million
MIN_SIDE = 32  # pixels
MAX_ASPECT_RATIO = 4.0


def refuse_large(size: int) -> None:
    """Refuse a file by its size in bytes. Raises BadImage: too_large."""
    if size > MAX_BYTES:
        raise BadImage("too_large", f"{size / 2**20:.0f} MB; at most {MAX_BYTES // 2**20} MB are read")


def check_size(width: int, height: int, pixel_ratio: float = 1.0) -> None:
    """Refuse sizes that no chest X-ray has, before any pixel is allocated.

    Args:
        width: in pixels.
        height: in pixels.
        pixel_ratio: the height of one pixel divided by its width.

    Raises:
        BadImage: too_large, too_small or aspect_ratio.
    """
    if width * height > MAX_PIXELS:
        raise BadImage("too_large", f"{width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are read")
    if min(width, height) < MIN_SIDE:
        raise BadImage("too_small", f"{width} x {height} pixels; at least {MIN_SIDE} a side are needed")
    shape = width, height * pixel_ratio
    if max(shape) > MAX_ASPECT_RATIO * min(shape):
        odd = "" if pixel_ratio == 1 else f" {pixel_ratio:.3g} times as high as wide"
        raise BadImage("aspect_ratio", f"{width} x {height} pixels{odd} is no chest X-ray's shape")

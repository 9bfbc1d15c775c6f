"""Greyscale out of pictures that are stored as colour; coloured ones are refused."""

import numpy as np
from PIL import Image, ImageChops

from cxr.model.xray import BadImage

MAX_COLOURFULNESS = 12.0  # mean difference between the largest and the smallest channel, in levels


_ROWS = 256  # converted at a time: a whole picture in RGB beside one in CMYK fills the memory


def greyscale(image: Image.Image) -> np.ndarray:
    """uint8 [height, width] of a picture of 8 bits a channel; what is transparent is laid on black."""
    image = image.convert("LA") if image.mode == "La" else image
    transparent = image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if image.mode in ("1", "L") and not transparent:
        return np.asarray(image if image.mode == "L" else image.convert("L"))
    wanted = "RGBA" if transparent else "RGB"
    width, height = image.size
    step = max(1, min(image.size) // 64)
    rows = step * max(1, _ROWS // step)
    grey, differences = np.empty((height, width), np.uint8), []
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        strip = strip if strip.mode == wanted else strip.convert(wanted)
        differences.append(_channel_differences(strip.reduce(step)).ravel())
        levels = strip.convert("L")
        levels = ImageChops.multiply(levels, strip.getchannel("A")) if transparent else levels
        grey[top : top + rows] = np.asarray(levels)
    colourfulness = np.concatenate(differences).mean()
    if colourfulness > MAX_COLOURFULNESS:
        raise BadImage("not_greyscale", f"the colour channels differ by {colourfulness:.0f} levels on average")
    return grey


def _channel_differences(image: Image.Image) -> np.ndarray:
    channels = np.asarray(image)[..., :3]
    return channels.max(2) - channels.min(2)

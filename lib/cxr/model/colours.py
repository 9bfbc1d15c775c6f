"""Greyscale out of pictures that are stored as colour; coloured ones are refused."""

import numpy as np
from PIL import Image, ImageChops, ImageStat

from cxr.model.xray import BadImage

MAX_COLOURFULNESS = 12.0  # mean difference between the largest and the smallest channel, in levels


def greyscale(image: Image.Image) -> np.ndarray:
    """uint8 [height, width] of a picture of 8 bits a channel; what is transparent is laid on black."""
    image = image.convert("LA") if image.mode == "La" else image
    transparent = image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info
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

"""What a picture looks like, in 256 bits; `duplicates` compares them."""

import numpy as np
from PIL import Image


def fingerprint(pixels: np.ndarray) -> str:
    """A perceptual hash (dHash) of uint8 [height, width]: 64 hexadecimal digits.

    A bit tells whether one of 16 x 16 fields is brighter than its neighbour on the left.
    """
    small = np.asarray(Image.fromarray(pixels).resize((17, 16), Image.Resampling.BOX))
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()

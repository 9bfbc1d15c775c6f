"""Near duplicates: the same picture in other bytes, as when it was saved again, resized or brightened.

On the 5,232 Kermany images the closest two different pictures lie 13 bits apart, and a picture and its copy in JPEG
quality 40, half its size or another contrast at most 9. Cropped copies are not found.
"""

import numpy as np
from PIL import Image

BITS = 256
NEAR = 10  # bits of BITS


def fingerprint(pixels: np.ndarray) -> str:
    """A perceptual hash (dHash) of uint8 [height, width]: 64 hexadecimal digits.

    A bit tells whether one of 16 x 16 fields is brighter than its neighbour on the left.
    """
    small = np.asarray(Image.fromarray(pixels).resize((17, 16), Image.Resampling.BOX))
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def near_pairs(fingerprints: np.ndarray) -> np.ndarray:
    """All pairs at most NEAR bits apart, int [M, 2], the smaller index first.

    Two that differ in NEAR bits agree in one of NEAR + 1 bands at least, so only those that share a band are compared.

    Args:
        fingerprints: uint8 [N, 32].
    """
    words = np.ascontiguousarray(fingerprints).view(np.uint64)
    pairs = [np.empty((0, 2), np.int64)]
    for bits in _BANDS:
        keys = np.zeros(len(words), np.uint32)
        for bit in bits:
            keys = keys << 1 | (words[:, bit // 64] >> np.uint64(bit % 64)).astype(np.uint32) & 1
        order = np.argsort(keys, kind="stable")
        keys, place = keys[order], np.arange(len(order))
        for step in range(1, len(order)):
            place = place[place + step < len(order)]
            place = place[keys[place] == keys[place + step]]
            if not len(place):
                break
            first, second = order[place], order[place + step]
            near = _bits_apart(words[first], words[second]) <= NEAR
            pairs.append(np.sort(np.stack([first[near], second[near]], axis=1)))
    return np.unique(np.concatenate(pairs), axis=0)


def _bits_apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """uint64 [N, 4] twice -> the number of bits that differ, [N]."""
    different = first ^ second
    if count := getattr(np, "bitwise_count", None):  # since numpy 2
        return count(different).sum(axis=1)
    return np.unpackbits(different.view(np.uint8), axis=1).sum(axis=1)


# Neighbouring fields are alike in all chests, so a band takes its bits from all over the picture: fewer share it.
_BANDS = np.array_split(np.random.default_rng(0).permutation(BITS), NEAR + 1)

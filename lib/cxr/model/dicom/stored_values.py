"""What a word of PixelData stands for: which of its bits, with which sign, and whether it is padding."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cxr.model.dicom.elements import word, words
from cxr.model.xray import BadImage

ROWS_AT_ONCE = 256  # so that indices, of 8 bytes a pixel, never fill the memory


@dataclass(frozen=True)
class Layout:
    """BitsAllocated, BitsStored, HighBit and PixelRepresentation of a header, checked."""

    allocated: int
    stored: int
    high_bit: int
    signed: bool

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest value that BitsStored can hold."""
        half = 2 ** (self.stored - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    def values(self) -> np.ndarray:
        """The stored value of every possible word: int64 [2 ** allocated], read-only. Bits not stored are ignored."""
        return _values(self)


@lru_cache(maxsize=4)  # the files of one source have one or two
def _values(layout: Layout) -> np.ndarray:
    every = np.arange(2**layout.allocated)
    values = (every >> (layout.high_bit + 1 - layout.stored)) & (2**layout.stored - 1)
    if layout.signed:
        values[values >= 2 ** (layout.stored - 1)] -= 2**layout.stored
    values.flags.writeable = False
    return values


def read_layout(header) -> Layout:
    """Raises BadImage, with the element's name, for what no picture of 1 to 16 bits can have."""
    allocated, stored = word(header, "BitsAllocated"), word(header, "BitsStored")
    high_bit, sign = word(header, "HighBit", stored - 1), word(header, "PixelRepresentation")
    if allocated not in (8, 16):
        raise BadImage("unsupported", "BitsAllocated is neither 8 nor 16")
    if not 1 <= stored <= allocated:
        raise BadImage("unreadable", "BitsStored is 0 or more than BitsAllocated")
    if not stored - 1 <= high_bit < allocated:
        raise BadImage("unreadable", "HighBit does not fit BitsStored and BitsAllocated")
    if sign not in (0, 1):
        raise BadImage("unreadable", "PixelRepresentation is neither 0 nor 1")
    return Layout(allocated, stored, high_bit, sign == 1)


def padding(header, layout: Layout) -> np.ndarray:
    """Which words are padding, by PS3.3 C.7.5.1.1.2: bool [2 ** allocated].

    PixelPaddingValue may stand for the whole word, or for the stored bits of it.
    """
    ends = [words(header, name, layout.signed)[:1] for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not ends[0]:
        if ends[1]:
            raise BadImage("unreadable", "PixelPaddingRangeLimit stands without PixelPaddingValue")
        return np.zeros(2**layout.allocated, bool)
    low, high = sorted((ends[0][0], (ends[1] or ends[0])[0]))
    every = np.arange(2**layout.allocated)
    if layout.signed:
        every[every >= 2 ** (layout.allocated - 1)] -= 2**layout.allocated
    values = layout.values()
    return ((low <= every) & (every <= high)) | ((low <= values) & (values <= high))


def shown_values(words: np.ndarray, layout: Layout, values: np.ndarray, padded: np.ndarray) -> np.ndarray:
    """What the picture shows, at least its smallest and its largest value: [N], empty if all of it is padding.

    Args:
        words: of PixelData.
        values: of every possible word: [2 ** allocated].
        padded: which words are padding: bool [2 ** allocated].
    """
    numbers = words.view(words.dtype.str.replace("u", "i")) if layout.signed else words
    between = np.arange(int(numbers.min()), int(numbers.max()) + 1) % 2**layout.allocated
    steps = np.diff(values[between])
    # The picture holds the first and the last word, so nothing is counted where the values rise or fall throughout.
    if not padded[between].any() and ((steps >= 0).all() or (steps <= 0).all()):
        return values[between[[0, -1]]]
    counts = sum(np.bincount(strip.ravel(), minlength=len(values)) for strip in strips(words))
    return values[(counts > 0) & ~padded]


def strips(words: np.ndarray) -> list[np.ndarray]:
    """The picture, some rows at a time."""
    return [words[y : y + ROWS_AT_ONCE] for y in range(0, len(words), ROWS_AT_ONCE)]

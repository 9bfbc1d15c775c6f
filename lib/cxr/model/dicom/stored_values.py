"""What a word of PixelData stands for: which of its bits, with which sign, and whether it is padding."""

from dataclasses import dataclass

import numpy as np

from cxr.model.dicom.elements import word, words
from cxr.model.xray import BadImage


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
        """The stored value of every possible word: int64 [2 ** allocated]. Bits that are not stored are ignored."""
        every = np.arange(2**self.allocated)
        values = (every >> (self.high_bit + 1 - self.stored)) & (2**self.stored - 1)
        if self.signed:
            values[values >= 2 ** (self.stored - 1)] -= 2**self.stored
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
    every = np.arange(2**layout.allocated)
    ends = [words(header, name, layout.signed)[:1] for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not ends[0]:
        if ends[1]:
            raise BadImage("unreadable", "PixelPaddingRangeLimit stands without PixelPaddingValue")
        return np.zeros(every.shape, bool)
    low, high = sorted((ends[0][0], (ends[1] or ends[0])[0]))
    if layout.signed:
        every[every >= 2 ** (layout.allocated - 1)] -= 2**layout.allocated
    values = layout.values()
    return ((low <= every) & (every <= high)) | ((low <= values) & (values <= high))

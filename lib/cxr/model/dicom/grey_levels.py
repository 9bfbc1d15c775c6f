"""From stored values to grey levels, in the one order of the standard: modality, VOI, polarity, padding.

1. Modality LUT, or rescale slope and intercept (PS3.3 C.11.1).
2. VOI LUT, or the first window (C.11.2). Without either, the range of BitsStored after step 1 is shown; a picture that
   fills less than a quarter of it is shown from its own smallest to its own largest value.
3. Polarity: MONOCHROME1 is inverted, once (C.7.6.3.1.2). PresentationLUTShape must say the same.
4. Padding is black (C.7.5.1.1.2), and belongs to no range.

All this is done once for each possible word of PixelData, not once a pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cxr.model.dicom.elements import code_string, numbers, raw_bytes
from cxr.model.dicom.lookup_tables import table_of_sequence
from cxr.model.dicom.reading import first_item
from cxr.model.dicom.stored_values import Layout, padding, shown_values
from cxr.model.dicom.window import window
from cxr.model.xray import BadImage

LEAST_FILLED = 0.25  # of the range of BitsStored


@dataclass(frozen=True)
class _Values:
    """What each word has become, the smallest and the largest possible value, and whether the header fixes them."""

    values: np.ndarray
    low: float
    high: float
    fixed: bool = False


def grey_levels(header, layout: Layout, words: np.ndarray) -> np.ndarray:
    """The grey level of every possible word: uint8 [2 ** allocated].

    Args:
        header: of pydicom.
        layout: the header's `Layout`.
        words: of PixelData; looked at only where the picture's own range counts.
    """
    inverted, padded = _is_inverted(header), padding(header, layout)
    seen = _after_voi(header, _after_modality(header, layout))
    levels = _to_bytes(seen, lambda: shown_values(words, layout, seen.values, padded))
    if inverted:
        levels = 255 - levels
    levels[padded] = 0
    return levels


def _after_modality(header, layout: Layout) -> _Values:
    table, (slope, intercept) = table_of_sequence(header, "ModalityLUTSequence", layout.signed), _rescale(header)
    if table and (slope, intercept) != (1, 0):
        raise BadImage("unreadable", "RescaleSlope and RescaleIntercept stand beside ModalityLUTSequence")
    if table:
        return _Values(table.apply(layout.values()), 0, table.top, fixed=True)
    low, high = sorted(end * slope + intercept for end in layout.range)
    values = layout.values() if (slope, intercept) == (1, 0) else layout.values() * slope + intercept
    return _Values(values, low, high)


def _rescale(header) -> tuple[float, float]:
    slopes, intercepts = numbers(header, "RescaleSlope"), numbers(header, "RescaleIntercept")
    slope, intercept = slopes[0] if slopes else 1.0, intercepts[0] if intercepts else 0.0
    if slope == 0:
        raise BadImage("unreadable", "RescaleSlope is 0, which leaves no picture")
    # Either alone says something only where the other one's neutral value can be meant.
    if bool(slopes) != bool(intercepts) and (slope, intercept) != (1, 0):
        there, missing = ("RescaleSlope", "RescaleIntercept") if slopes else ("RescaleIntercept", "RescaleSlope")
        raise BadImage("unreadable", f"{missing} is missing or empty beside {there}")
    return slope, intercept


def _after_voi(header, before: _Values) -> _Values:
    has_window = bool(raw_bytes(header, "WindowCenter"))
    table = table_of_sequence(header, "VOILUTSequence", before.low < 0, may_be_incomplete=has_window)
    if table:
        return _Values(table.apply(before.values), 0, table.top, fixed=True)
    seen_through = window(header)
    if seen_through:
        return replace(before, values=seen_through.apply(before.values, before.low, before.high), fixed=True)
    return before


def _to_bytes(seen: _Values, shown: Callable[[], np.ndarray]) -> np.ndarray:
    """`shown`: gives what :func:`shown_values` does."""
    low, high, fixed = seen.low, seen.high, seen.fixed
    if not fixed:
        own = shown()
        if not own.size:
            raise BadImage("blank", "all pixels are padding")
        fixed = own.max() - own.min() >= LEAST_FILLED * (high - low)
        low, high = (low, high) if fixed else (own.min(), own.max())
    above = seen.values - low
    # Single precision for fixed ranges, as version 1 had: it decides how a level that ends in a half is rounded.
    above = above.astype(np.float32) if fixed else above
    return np.rint((above * (255.0 / max(float(high - low), 1e-6))).clip(0, 255)).astype(np.uint8)


def _is_inverted(header) -> bool:
    inverted = code_string(header, "PhotometricInterpretation") == "MONOCHROME1"
    shape = code_string(header, "PresentationLUTShape")
    if shape and shape != ("INVERSE" if inverted else "IDENTITY"):
        raise BadImage("unreadable", "PresentationLUTShape contradicts PhotometricInterpretation")
    if first_item(header, "PresentationLUTSequence") is not None:
        raise BadImage("unsupported", "PresentationLUTSequence, which is not applied")
    return inverted

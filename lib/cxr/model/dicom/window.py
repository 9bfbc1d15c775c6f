"""A DICOM window: which values are seen, from black to white (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

from dataclasses import dataclass

import numpy as np

from cxr.model.dicom.elements import code_string, numbers
from cxr.model.xray import BadImage


@dataclass(frozen=True)
class Window:
    """Centre and width, in values after the modality LUT or the rescale."""

    centre: float
    width: float
    function: str

    def apply(self, values: np.ndarray, low: float, high: float) -> np.ndarray:
        """From `low`, where the window ends below, to `high`."""
        if self.function == "SIGMOID":
            steps = np.clip(-4 * (values - self.centre) / self.width, -700, 700)  # exp() of more overflows
            return (high - low) / (1 + np.exp(steps)) + low
        linear = self.function == "LINEAR"
        centre, width = (self.centre - 0.5, self.width - 1) if linear else (self.centre, self.width)
        seen = np.where(values <= centre, float(low), float(high))
        inside = (values > centre - width / 2) & (values <= centre + width / 2)
        seen[inside] = ((values[inside] - centre) / width + 0.5) * (high - low) + low if width else high
        return seen


def window(header) -> Window | None:
    """The first window of a header, or None.

    Raises:
        BadImage: centre, width or function are present, and invalid by the standard.
    """
    centres, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    if not centres and not widths:
        return None
    if not centres or not widths:
        there, missing = ("WindowCenter", "WindowWidth") if centres else ("WindowWidth", "WindowCenter")
        raise BadImage("unreadable", f"{missing} is missing or empty beside {there}")
    function = code_string(header, "VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise BadImage("unsupported", "VOILUTFunction is none of LINEAR, LINEAR_EXACT and SIGMOID")
    if widths[0] < 1 if function == "LINEAR" else widths[0] <= 0:
        least = "below 1" if function == "LINEAR" else "0 or below"
        raise BadImage("unreadable", f"WindowWidth is {least}, which {function} does not allow")
    return Window(centres[0], widths[0], function)

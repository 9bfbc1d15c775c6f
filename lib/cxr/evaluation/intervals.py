"""A metric with its 95% interval: as a dict for JSON, and in words."""

import numpy as np


def with_interval(value: float, interval: tuple[float, float]) -> dict:
    """A metric for JSON: `value` and `interval`, with None instead of NaN."""

    def or_none(number: float) -> float | None:
        return None if np.isnan(number) else float(number)

    return {"value": or_none(value), "interval": [or_none(end) for end in interval]}


def words_of(metric: dict, undefined: str = "undefined") -> str:
    """`0.912 (0.870 to 0.951)`, of what :func:`with_interval` gives; in earlier versions some had no interval."""
    value, interval = metric["value"], metric.get("interval") or ()
    if None in (value, *interval):
        return undefined
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")

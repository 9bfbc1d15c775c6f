"""A metric with its 95% interval: as a dict for JSON, and in words; and when an interval is not to be trusted."""

from collections.abc import Iterator

import numpy as np

FEW = 100  # patients with or without the outcome, below which little can be said (Collins et al. 2016)


def with_interval(value: float, interval: tuple[float, float]) -> dict:
    """A metric for JSON: `value` and `interval`, with None instead of NaN and of infinite ones."""

    def or_none(number: float) -> float | None:
        return float(number) if np.isfinite(number) else None

    return {"value": or_none(value), "interval": [or_none(end) for end in interval]}


def words_of(metric: dict, undefined: str = "undefined") -> str:
    """`0.912 (0.870 to 0.951)`, of what :func:`with_interval` gives; in earlier versions some had no interval.

    An end that is None is unbounded; if both are, or the value, the metric is undefined.
    """
    value, interval = metric["value"], metric.get("interval")
    if value is None or interval and set(interval) == {None}:
        return undefined
    ends = ["unbounded" if end is None else f"{end:.3f}" for end in interval or ()]
    return f"{value:.3f}" + (f" ({' to '.join(ends)})" if ends else "")


def cautions(report: dict) -> Iterator[str]:
    """What to know about the intervals of a report of :func:`cxr.evaluation.report.evaluate` if patients are few.

    Resampling a metric that is 0 or 1 gives an interval without width, of two patients too. The exact binomial one
    (Clopper and Pearson 1934) is that of n patients who are all right, or all wrong; for AUROC, of the rarer outcome.
    Nothing is said of a run of before patients were counted by outcome.
    """
    patients = report.get("patients_by_outcome", {})
    positive, negative = patients.get("positive", 0), patients.get("negative", 0)
    if 0 < min(positive, negative) < FEW:
        yield (
            f"Only {report['positive']:,} positive images of {positive:,} patients, and "
            f"{report['images'] - report['positive']:,} negative of {negative:,}: with fewer than {FEW} patients of "
            "either, intervals are wide and inexact, and calibration can hardly be judged. A difference inside the "
            "intervals is no finding."
        )
    counts = {"AUROC": min(positive, negative), "sensitivity": positive, "specificity": negative}
    for name, count in counts.items():
        value = report["metrics"][name.lower()]["value"]
        if count and value in (0, 1):
            bound = (0.05 / 2) ** (1 / count)
            exact = f"{bound:.3f} to 1" if value else f"0 to {1 - bound:.3f}"
            yield (
                f"The {name} is {value:.0f} in every resample, which is no certainty: the exact binomial 95% interval "
                f"for {count:,} patients is {exact}."
            )

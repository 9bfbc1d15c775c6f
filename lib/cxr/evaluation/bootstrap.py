"""95% intervals by resampling patients with replacement (percentile method; Efron and Tibshirani 1993).

Patients are resampled, not images, because images of one patient are correlated.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from cxr.evaluation import metrics

RESAMPLES = 2000
_BLOCK = 100  # resamples computed at once: limits the memory to 100 x images


def bootstrap(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: Sequence[str],
    threshold: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95% intervals of the metrics of :func:`cxr.evaluation.metrics.measure`.

    A resample that lacks a class is left out of the metrics that need both. Resampling inflates the ECE, so its
    resampled values are shifted to lie around the measured value.

    Args:
        labels: [N], 1 for positive.
        probabilities: [N], of being positive.
        patients: [N], patient ids.

    Returns:
        (low, high) by name of the metric; NaN where undefined.
    """
    blocks = [
        metrics.measure_weighted(labels, probabilities, threshold, weights)
        for weights in resampled_weights(patients, resamples, seed)
    ]
    values = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    inflation = values["ece"].mean() - metrics.expected_calibration_error(labels, probabilities)
    values["ece"] = np.maximum(values["ece"] - inflation, 0)
    return {name: interval_of(value) for name, value in values.items()}


def bootstrap_of(
    statistic: Callable[[np.ndarray], np.ndarray], patients: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95% interval of a statistic, a function from weights [R, N] to values [R]."""
    return interval_of(np.concatenate([statistic(weights) for weights in resampled_weights(patients, resamples, seed)]))


def paired_bootstrap(
    labels: np.ndarray,
    candidate: np.ndarray,
    present: np.ndarray,
    patients: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict:
    """Compare a candidate's AUROC with that of the present model on the same images.

    Both are measured on the same resamples of patients, so variation between resamples cancels out.

    Args:
        labels: [N], 1 for positive.
        candidate, present: [N], the two models' probabilities for the same images in the same order.
        patients: [N], patient ids.

    Returns:
        `difference` (candidate minus present), its 95% `interval` as [low, high], and `worse`: True if the whole
        interval is below zero.

    Raises:
        ValueError: all images are of one class.
    """
    labels = np.asarray(labels).astype(float)
    if not 0 < labels.sum() < len(labels):
        raise ValueError(f"all {len(labels)} images are of one class, so two AUROCs cannot be compared")

    def difference(weights: np.ndarray | None) -> np.ndarray:
        return metrics.auroc(labels, candidate, weights) - metrics.auroc(labels, present, weights)

    low, high = bootstrap_of(difference, patients, resamples, seed)
    return {"difference": float(difference(None)[0]), "interval": [low, high], "worse": high < 0}


def roc_band(labels: np.ndarray, probabilities: np.ndarray, patients: Sequence[str], seed: int = 0) -> dict:
    """The ROC curve at 101 values of 1 - specificity, with a pointwise 95% band over resampled patients.

    Returns:
        Lists `false_positive_rate`, `sensitivity`, `low`, `high`; empty if all images are of one class.
    """
    labels = np.asarray(labels)
    grid = np.linspace(0, 1, 101)
    if not 0 < labels.sum() < len(labels):
        return {name: [] for name in ("false_positive_rate", "sensitivity", "low", "high")}
    order, last_of_tie = metrics.falling_order(probabilities)
    truth, curves = labels[order].astype(float), []
    everyone = np.ones((1, len(labels)))
    for weights in (everyone, *resampled_weights(np.asarray(patients)[order], RESAMPLES // 4, seed)):
        for tps, fps in zip(*metrics.cumulative_counts(weights, truth, last_of_tie), strict=True):
            if tps[-1] and fps[-1]:
                # Where the curve rises vertically, np.interp takes the upper end.
                curves.append(np.interp(grid, np.append(0, fps / fps[-1]), np.append(0, tps / tps[-1])))
    low, high = np.percentile(curves[1:], (2.5, 97.5), axis=0)
    values = {"false_positive_rate": grid, "sensitivity": curves[0], "low": low, "high": high}
    return {name: value.tolist() for name, value in values.items()}


def resampled_weights(patients: Sequence[str], resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is in each resample of patients: blocks of float weights [R, N]."""
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    count = patient.max() + 1
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _BLOCK):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=min(_BLOCK, resamples - start))
        yield drawn[:, patient].astype(float)


def interval_of(values: np.ndarray) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of the values [R], without NaN; NaN if all are NaN."""
    if np.isnan(values).all():
        return np.nan, np.nan
    # Between a finite and an infinite value nothing can be interpolated.
    method = "nearest" if np.isinf(values).any() else "linear"
    low, high = np.nanpercentile(values, (2.5, 97.5), method=method).tolist()
    return low, high

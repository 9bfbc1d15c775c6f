"""Metrics of a screening test: every class but the negative one is positive.

The functions take weights, so that the same code measures many bootstrap resamples at once
(:mod:`cxr.evaluation.bootstrap`). Tests compare every metric with scikit-learn's.
"""

import numpy as np
from sklearn.calibration import calibration_curve

BINS = 10  # of the expected calibration error


def measure(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float]:
    """AUROC, AUPRC and ECE; sensitivity, specificity, PPV, NPV, F1 and accuracy at the threshold. NaN where undefined.

    Args:
        labels: [N], 1 for positive.
        probabilities: [N], of being positive.
    """
    everyone = np.ones((1, len(labels)))
    return {
        name: float(value[0]) for name, value in measure_weighted(labels, probabilities, threshold, everyone).items()
    }


def measure_weighted(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """The metrics of :func:`measure` under each row of `weights` [R, N]: arrays [R]."""
    order, last_of_tie = falling_order(probabilities)
    weights, truth = weights[:, order], np.asarray(labels)[order].astype(float)
    scores = np.asarray(probabilities, dtype=float)[order]
    tps, fps = cumulative_counts(weights, truth, last_of_tie)
    predicted = scores >= threshold
    true_positives = (weights * truth)[:, predicted].sum(1)
    false_positives = (weights * (1 - truth))[:, predicted].sum(1)
    positives, negatives = tps[:, -1], fps[:, -1]
    false_negatives, true_negatives = positives - true_positives, negatives - false_positives
    in_bin = np.eye(BINS)[_bins(scores)] * (scores - truth)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        gains = np.diff(tps, axis=1, prepend=0)
        average_precision = np.nansum(gains * tps / (tps + fps), axis=1) / positives
        return {
            "auroc": _area(tps, fps),
            "auprc": np.where(positives * negatives > 0, average_precision, np.nan),
            "sensitivity": true_positives / positives,
            "specificity": true_negatives / negatives,
            "ppv": true_positives / (true_positives + false_positives),
            "npv": true_negatives / (true_negatives + false_negatives),
            "f1": 2 * true_positives / (2 * true_positives + false_positives + false_negatives),
            "accuracy": (true_positives + true_negatives) / (positives + negatives),
            "ece": np.abs(weights @ in_bin).sum(1) / (positives + negatives),
        }


def auroc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """AUROC under each row of `weights` [R, N]: array [R]. Without weights all images count once, and R is 1."""
    weights = np.ones((1, len(labels))) if weights is None else weights
    order, last_of_tie = falling_order(scores)
    truth = np.asarray(labels)[order].astype(float)
    return _area(*cumulative_counts(weights[:, order], truth, last_of_tie))


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """ECE (Naeini et al. 2015): mean gap between predicted and observed frequency over 10 equally wide bins.

    Bins are weighted by their number of images.
    """
    which = _bins(probabilities)
    gaps = np.bincount(which, probabilities, BINS) - np.bincount(which, labels, BINS)
    return float(np.abs(gaps).sum() / len(labels))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(observed, predicted) frequency of positives in each bin with images."""
    return calibration_curve(labels, probabilities, n_bins=BINS)


def falling_order(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices from the highest score to the lowest, and the last position of each distinct score in that order."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    return order, np.append(np.flatnonzero(np.diff(np.asarray(scores)[order])), len(order) - 1)


def cumulative_counts(weights: np.ndarray, truth: np.ndarray, last_of_tie: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(true positives, false positives) at each distinct score from the highest down: two arrays [R, scores]."""
    tps = np.cumsum(weights * truth, axis=1)[:, last_of_tie]
    fps = np.cumsum(weights * (1 - truth), axis=1)[:, last_of_tie]
    return tps, fps


def _area(tps: np.ndarray, fps: np.ndarray) -> np.ndarray:
    before = np.pad(tps, ((0, 0), (1, 0)))[:, :-1]
    steps = np.diff(fps, axis=1, prepend=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (steps * (before + tps) / 2).sum(1) / (tps[:, -1] * fps[:, -1])


def _bins(probabilities: np.ndarray) -> np.ndarray:
    return np.minimum((np.asarray(probabilities) * BINS).astype(int), BINS - 1)

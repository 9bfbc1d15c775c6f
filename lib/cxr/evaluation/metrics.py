"""The figures of a screening test: anything but the negative class is positive. Each metric stands here once.

All take weights, so that resamples of patients (:mod:`cxr.evaluation.bootstrap`) are measured by the same code, many
at a time. Tests hold every figure against scikit-learn's.
"""

import numpy as np
from sklearn.calibration import calibration_curve

BINS = 10  # of the expected calibration error


def measure(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float]:
    """AUROC, AUPRC, and, at the threshold, sensitivity, specificity, PPV, NPV, F1, accuracy; ECE. NaN where undefined.

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
    hits, alarms = cumulative_counts(weights, truth, last_of_tie)
    called = scores >= threshold
    true_positives, false_positives = (weights * truth)[:, called].sum(1), (weights * (1 - truth))[:, called].sum(1)
    positives, negatives = hits[:, -1], alarms[:, -1]
    false_negatives, true_negatives = positives - true_positives, negatives - false_positives
    in_bin = np.eye(BINS)[_bins(scores)] * (scores - truth)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        gains = np.diff(hits, axis=1, prepend=0)
        average_precision = np.nansum(gains * hits / (hits + alarms), axis=1) / positives
        return {
            "auroc": _area(hits, alarms),
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
    """The area under the ROC curve under each row of `weights` [R, N]; without them of the images as they are: [R]."""
    weights = np.ones((1, len(labels))) if weights is None else weights
    order, last_of_tie = falling_order(scores)
    truth = np.asarray(labels)[order].astype(float)
    return _area(*cumulative_counts(weights[:, order], truth, last_of_tie))


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean distance between predicted and observed frequencies over equally wide bins, weighted by their size."""
    which = _bins(probabilities)
    gaps = np.bincount(which, probabilities, BINS) - np.bincount(which, labels, BINS)
    return float(np.abs(gaps).sum() / len(labels))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(observed, predicted) frequency of positives in each bin that holds images."""
    return calibration_curve(labels, probabilities, n_bins=BINS)


def falling_order(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order from the highest score to the lowest, and in it the last position of each distinct score."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    return order, np.append(np.flatnonzero(np.diff(np.asarray(scores)[order])), len(order) - 1)


def cumulative_counts(weights: np.ndarray, truth: np.ndarray, last_of_tie: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(true positives, false positives) at each distinct score, images in falling order: two arrays [R, scores]."""
    hits = np.cumsum(weights * truth, axis=1)[:, last_of_tie]
    alarms = np.cumsum(weights * (1 - truth), axis=1)[:, last_of_tie]
    return hits, alarms


def _area(hits: np.ndarray, alarms: np.ndarray) -> np.ndarray:
    before = np.pad(hits, ((0, 0), (1, 0)))[:, :-1]
    steps = np.diff(alarms, axis=1, prepend=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (steps * (before + hits) / 2).sum(1) / (hits[:, -1] * alarms[:, -1])


def _bins(probabilities: np.ndarray) -> np.ndarray:
    return np.minimum((np.asarray(probabilities) * BINS).astype(int), BINS - 1)

"""Calibration on images from elsewhere, and metrics at other thresholds there."""

import numpy as np
from scipy.special import expit, logit

from cxr.evaluation.bootstrap import bootstrap, bootstrap_of
from cxr.evaluation.calibration import choose_threshold
from cxr.evaluation.intervals import with_interval
from cxr.evaluation.metrics import BINS, measure

TARGETS = (0.90, 0.95, 0.99)  # sensitivities
_STEPS, _STEEPEST = 30, 50.0


def calibration_figures(labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, seed: int = 0) -> dict:
    """Calibration in the large, slope and Brier score, each with its 95% interval over patients; None where undefined.

    `intercept`: what has to be added to the log-odds so that their mean is right; 0 is ideal, below 0 the probabilities
    are too high. `slope`: of the outcome on the log-odds (Cox 1958); 1 is ideal, below 1 they are too extreme. It is
    infinite in a resample that the log-odds separate, so the upper end may be None: unbounded.

    Args:
        labels: [N], 1 for positive.
        probabilities: [N], of being positive.
    """
    truth, odds = np.asarray(labels, dtype=float), logit(np.clip(probabilities, 1e-9, 1 - 1e-9))
    everyone = np.ones((1, len(truth)))
    statistics = {
        "intercept": lambda weights: fit_line(truth, odds, weights, slope=False)[0],
        "slope": lambda weights: fit_line(truth, odds, weights)[1],
        "brier": lambda weights: weights @ (probabilities - truth) ** 2 / weights.sum(1),
    }
    return {
        name: with_interval(float(statistic(everyone)[0]), bootstrap_of(statistic, patients, seed=seed))
        for name, statistic in statistics.items()
    }


def fit_line(
    truth: np.ndarray, odds: np.ndarray, weights: np.ndarray, slope: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression of the truth on log-odds under each row of `weights` [R, N]: (intercepts, slopes), [R] each.

    By Newton's method. NaN where there is no answer: one class alone, or equal log-odds. Where the log-odds separate
    the classes, the likelihood rises without end: the slope is infinite, and the intercept beside it NaN.

    Args:
        slope: fit it too; else it is 1.
    """
    weights = np.asarray(weights, dtype=float)
    shift, steep = np.zeros(len(weights)), np.ones(len(weights))
    for _ in range(_STEPS):
        fitted = expit(shift[:, None] + steep[:, None] * odds)
        wrong, bend = weights * (truth - fitted), weights * fitted * (1 - fitted)
        a, b, c = bend.sum(1), bend @ odds, bend @ odds**2
        up, along = wrong.sum(1), wrong @ odds
        with np.errstate(invalid="ignore", divide="ignore"):
            if slope:
                area = a * c - b * b
                steps = (c * up - b * along) / area, (a * along - b * up) / area
            else:
                steps = up / a, np.zeros(len(a))
        # Far from the answer the curve is flat, and a whole step would go too far.
        shift, steep = shift + np.clip(steps[0], -2, 2), steep + np.clip(steps[1], -1, 1)
    found = np.maximum(np.abs(steps[0]), np.abs(steps[1])) < 1e-6
    found &= (np.abs(steep) < _STEEPEST) & (np.abs(shift) < _STEEPEST)
    positives = weights @ truth
    both = (positives > 0) & (positives < weights.sum(1))
    shift, steep = (np.where(found & both, line, np.nan) for line in (shift, steep))
    if slope:
        up, down = (both & _separated(truth, line, weights) for line in (odds, -odds))
        steep[up & ~down], steep[down & ~up] = np.inf, -np.inf
    return shift, steep


def _separated(truth: np.ndarray, odds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Whether no drawn negative has higher log-odds than a drawn positive, bool [R]."""
    drawn, positive = weights > 0, np.asarray(truth, dtype=bool)
    lowest = np.where(drawn & positive, odds, np.inf).min(1)
    highest = np.where(drawn & ~positive, odds, -np.inf).max(1)
    return lowest >= highest


def reliability_bins(labels: np.ndarray, probabilities: np.ndarray) -> list[dict]:
    """For each of ten equal bins of probability with images: their number, mean probability, fraction of positives."""
    which = np.minimum((np.asarray(probabilities) * BINS).astype(int), BINS - 1)
    return [
        {
            "from": number / BINS,
            "to": (number + 1) / BINS,
            "images": int(inside.sum()),
            "predicted": float(probabilities[inside].mean()),
            "observed": float(labels[inside].mean()),
        }
        for number in range(BINS)
        if (inside := which == number).any()
    ]


def other_thresholds(
    labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, own: float, seed: int = 0
) -> list[dict]:
    """Figures at the version's own threshold, and at those that these very images would choose.

    The latter are chosen and measured on the same images, so they are too good. Empty if all images are of one class.
    """
    labels = np.asarray(labels)
    if not 0 < labels.sum() < len(labels):
        return []
    rules = {"the version's own": own, "Youden's index, here": choose_threshold(labels, probabilities)}
    rules |= {
        f"sensitivity {target:.0%} or more, here": choose_threshold(labels, probabilities, target) for target in TARGETS
    }
    rows = []
    for rule, threshold in rules.items():
        values = measure(labels, probabilities, threshold)
        intervals = bootstrap(labels, probabilities, patients, threshold, seed=seed)
        names = ("sensitivity", "specificity", "ppv", "npv")
        figures = {name: with_interval(values[name], intervals[name]) for name in names}
        rows.append({"rule": rule, "threshold": float(threshold)} | figures)
    return rows

"""Calibration and the threshold: both chosen on validation images alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from sklearn import metrics

from cxr.data.splits import class_indices
from cxr.model.probabilities import Calibration, p_positive


@dataclass(frozen=True)
class OperatingPoint:
    """How logits become probabilities, and from which probability on an image is called positive."""

    calibration: Calibration
    threshold: float


def choose_operating_point(
    catalog: pd.DataFrame,
    logits: np.ndarray,
    classes: Sequence[str],
    target_sensitivity: float | None = None,
    threshold: float | None = None,
) -> OperatingPoint:
    """Calibration and threshold, from validation images and shifted copies of them.

    Args:
        catalog: rows with LABEL and SPLIT, in the order of `logits` [N, outputs].
        target_sensitivity: see :func:`choose_threshold`.
        threshold: take this one and choose none.

    Raises:
        ValueError: an image of another split than validation is among them.
    """
    if others := set(catalog["SPLIT"]) - {"validation"}:
        raise ValueError(
            f"calibration and threshold would be chosen on {', '.join(sorted(others))} images; "
            "what is reported of them would then be too good: give validation images alone"
        )
    labels = class_indices(catalog["LABEL"], classes)
    calibration = fit_calibration(labels, logits)
    positive = p_positive(calibration.probabilities(logits))
    return OperatingPoint(calibration, threshold or choose_threshold(labels > 0, positive, target_sensitivity))


def fit_calibration(labels: np.ndarray, logits: np.ndarray) -> Calibration:
    """The temperature and biases with the smallest log loss, for labels int [N] and logits [N, outputs].

    A temperature alone (Guo et al. 2017) leaves the intercepts where class weights have put them; with a bias for each
    output this is Platt's scaling (1999). The temperature lies between 0.1 and 10, a bias between -10 and 10.
    """
    logits = np.asarray(logits, dtype=np.float64)
    outputs = logits.shape[1]

    def at(point: np.ndarray) -> Calibration:
        return Calibration(float(np.exp(point[0])), tuple(float(bias) for bias in point[1:]))

    def loss(point: np.ndarray) -> float:
        return metrics.log_loss(labels, at(point).probabilities(logits), labels=range(max(outputs, 2)))

    bounds = [(np.log(0.1), np.log(10)), *[(-10, 10)] * outputs]
    return at(minimize(loss, np.zeros(1 + outputs), bounds=bounds).x)


def choose_threshold(labels: np.ndarray, probabilities: np.ndarray, target_sensitivity: float | None = None) -> float:
    """A threshold for the probability of being positive; give it validation data, never test data.

    The largest threshold that reaches `target_sensitivity`, or, without one, the largest sensitivity + specificity
    (Youden 1950). The threshold lies midway between two neighbouring probabilities, so that it does not depend on a
    single value.
    """
    false_positives, sensitivity, thresholds = metrics.roc_curve(labels, probabilities, drop_intermediate=False)
    if target_sensitivity is not None:
        best = int(np.argmax(sensitivity >= target_sensitivity))
    else:
        best = int(np.argmax(sensitivity - false_positives))
    below = np.unique(probabilities[probabilities < thresholds[best]])
    chosen = (thresholds[best] + below[-1]) / 2 if len(below) else thresholds[best]
    return float(np.clip(chosen, 0, 1))

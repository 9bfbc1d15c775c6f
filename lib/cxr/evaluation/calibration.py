"""Calibration and threshold. Both are chosen on validation images only."""

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
    """How logits become probabilities, and the probability from which an image is called positive."""

    calibration: Calibration
    threshold: float


def choose_operating_point(
    catalog: pd.DataFrame,
    logits: np.ndarray,
    classes: Sequence[str],
    target_sensitivity: float | None = None,
    threshold: float | None = None,
) -> OperatingPoint:
    """Choose calibration and threshold on validation images and shifted copies of them.

    The threshold of :func:`choose_threshold`; without a `target_sensitivity` at most 0.5. Youden's index does not know
    the prevalence: where most images are positive, its threshold is near their fraction, and images would be called
    negative that are more likely positive.

    Args:
        catalog: [N] rows with LABEL and SPLIT, in the order of `logits`.
        logits: [N, outputs].
        classes: the label set, the negative class first.
        target_sensitivity: see :func:`choose_threshold`.
        threshold: use this threshold instead of choosing one.

    Raises:
        ValueError: a row is of another split than validation.
    """
    if others := set(catalog["SPLIT"]) - {"validation"}:
        raise ValueError(
            f"calibration and threshold would be chosen on {', '.join(sorted(others))} images, and their metrics would "
            "then be too good: pass validation images only"
        )
    labels = class_indices(catalog["LABEL"], classes)
    calibration = fit_calibration(labels, logits)
    positive = p_positive(calibration.probabilities(logits))
    if not threshold:
        threshold = choose_threshold(labels > 0, positive, target_sensitivity)
        threshold = threshold if target_sensitivity else min(threshold, 0.5)
    return OperatingPoint(calibration, threshold)


def fit_calibration(labels: np.ndarray, logits: np.ndarray) -> Calibration:
    """The temperature and biases that minimise the log loss, for labels int [N] and logits [N, outputs].

    Class weights shift the intercepts, and a temperature alone (Guo et al. 2017) cannot correct that. With a bias for
    each output this is Platt scaling (1999). Bounds: 0.1 to 10 for the temperature, -10 to 10 for a bias.
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
    """Choose a threshold for the probability of being positive. Use validation data, never test data.

    With `target_sensitivity`: the largest threshold that reaches it. Without: the threshold with the largest
    sensitivity + specificity (Youden 1950). It is set midway between two neighbouring probabilities, so that it does
    not depend on a single value.

    Args:
        labels: bool [N], True for positive.
        probabilities: [N], of being positive.
    """
    false_positives, sensitivity, thresholds = metrics.roc_curve(labels, probabilities, drop_intermediate=False)
    if target_sensitivity is not None:
        best = int(np.argmax(sensitivity >= target_sensitivity))
    else:
        best = int(np.argmax(sensitivity - false_positives))
    below = np.unique(probabilities[probabilities < thresholds[best]])
    chosen = (thresholds[best] + below[-1]) / 2 if len(below) else thresholds[best]
    return float(np.clip(chosen, 0, 1))

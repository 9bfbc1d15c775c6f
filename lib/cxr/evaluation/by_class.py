"""Metrics of each class, for more than two classes."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix

from cxr.evaluation.bootstrap import bootstrap_of
from cxr.evaluation.intervals import with_interval
from cxr.evaluation.metrics import auroc


def evaluate_classes(
    labels: np.ndarray,
    probabilities: np.ndarray,
    predictions: np.ndarray,
    patients: Sequence[str],
    classes: Sequence[str],
    seed: int = 0,
) -> dict:
    """AUROC (one against the rest) and sensitivity of each class, macro AUROC, accuracy, and the confusion matrix.

    Args:
        labels, predictions: int [N], indices into `classes`.
        probabilities: [N, classes].

    Returns:
        A dict for JSON. Each metric has a value and a 95% interval over patients; None where it is undefined.
    """
    everyone = np.ones((1, len(labels)))

    def one_against_rest(weights: np.ndarray, position: int) -> np.ndarray:
        return auroc(labels == position, probabilities[:, position], weights)

    def sensitivity(weights: np.ndarray, position: int) -> np.ndarray:
        own = labels == position
        with np.errstate(invalid="ignore", divide="ignore"):
            return weights[:, own & (predictions == position)].sum(1) / weights[:, own].sum(1)

    def accuracy(weights: np.ndarray) -> np.ndarray:
        return weights[:, labels == predictions].sum(1) / weights.sum(1)

    def metric(statistic) -> dict:
        return with_interval(float(statistic(everyone)[0]), bootstrap_of(statistic, patients, seed=seed))

    rows = [
        {
            "class": name,
            "images": int((labels == position).sum()),
            "auroc": metric(lambda weights, position=position: one_against_rest(weights, position)),
            "sensitivity": metric(lambda weights, position=position: sensitivity(weights, position)),
        }
        for position, name in enumerate(classes)
    ]
    matrix = confusion_matrix(labels, predictions, labels=range(len(classes)))
    return {
        "classes": rows,
        "macro_auroc": metric(lambda weights: macro_auroc(labels, probabilities, weights)),
        "accuracy": metric(accuracy),
        "confusion_matrix": matrix.tolist(),
    }


def macro_auroc(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The mean of the classes' AUROC (one against the rest), under each row of `weights` [R, N]: array [R]."""
    classes = range(probabilities.shape[1])
    return np.mean([auroc(labels == number, probabilities[:, number], weights) for number in classes], axis=0)

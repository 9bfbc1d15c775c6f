"""Matplotlib figures of training and evaluation."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn import metrics

from cxr.colours import BLUE, GREEN, GREY, ORANGE
from cxr.evaluation.intervals import words_of


def roc_and_precision(evaluation: dict, labels: np.ndarray, probabilities: np.ndarray) -> Figure:
    """ROC curve with its band, and precision-recall curve; both mark the operating point.

    Args:
        evaluation: a report of :func:`cxr.evaluation.report.evaluate`.
        labels: [N], 1 for positive.
        probabilities: [N], of being positive.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    band, figures, threshold = evaluation["roc"], evaluation["metrics"], evaluation["threshold"]
    false_positives, sensitivity, _ = metrics.roc_curve(labels, probabilities)
    left.fill_between(band["false_positive_rate"], band["low"], band["high"], color=BLUE, alpha=0.2, linewidth=0)
    left.plot(false_positives, sensitivity, color=BLUE, linewidth=2, label=f"AUROC {words_of(figures['auroc'])}")
    left.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    precision, recall, _ = metrics.precision_recall_curve(labels, probabilities)
    right.step(recall, precision, where="post", color=BLUE, linewidth=2, label=f"AUPRC {words_of(figures['auprc'])}")
    right.axhline(labels.mean(), color=GREY, linestyle=":", linewidth=1)
    # Where nothing is predicted positive there is no precision, and no point is drawn.
    values = (figures[name]["value"] for name in ("sensitivity", "specificity", "ppv"))
    found, cleared, precise = (np.nan if value is None else value for value in values)
    for axis, point in ((left, (1 - cleared, found)), (right, (found, precise))):
        axis.plot(*point, "o", color=ORANGE, markersize=8, markeredgecolor="white", label=f"threshold {threshold:.3f}")
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axis.legend(loc="lower right" if axis is left else "lower left", frameon=False)
    left.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC, with a 95% band over patients")
    right.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)", title="Precision and recall")
    return figure


def confusion_and_reliability(
    evaluation: dict, labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]
) -> Figure:
    """Confusion matrix at the threshold, and reliability diagram before and after calibration.

    Args:
        evaluation: a report of :func:`cxr.evaluation.report.evaluate`.
        labels, predictions: int [N], indices into `classes`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    matrix = metrics.confusion_matrix(labels, predictions, labels=range(len(classes)))
    left.imshow(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        dark = count > 0.5 * matrix[row].sum()
        left.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black", fontsize=16)
    ticks = range(len(classes))
    left.set(xticks=ticks, yticks=ticks, xticklabels=classes, yticklabels=classes, xlabel="predicted", ylabel="truth")
    left.set_title(f"Predictions at threshold {evaluation['threshold']:.3f}")
    right.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    before, after = evaluation["ece_before_temperature"], evaluation["metrics"]["ece"]["value"]
    for key, error, colour, style in (
        ("before_temperature", before, ORANGE, "s--"),
        ("after_temperature", after, BLUE, "o-"),
    ):
        points = evaluation["reliability"][key]
        label = f"{key.split('_')[0]} calibration, ECE {error:.3f}"
        right.plot(points["predicted"], points["observed"], style, color=colour, label=label)
    right.set(xlabel="predicted probability", ylabel="observed frequency", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    right.set_title("Reliability")
    right.legend(frameon=False, loc="lower right")
    return figure


def learning_curves(history: pd.DataFrame, best_epoch: int) -> Figure:
    """Training and validation loss, and validation AUROC, by epoch. A line marks the epoch that is kept."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    epochs = history["epoch"]
    left.plot(epochs, history["training_loss"], color=BLUE, marker="o", label="training, augmented images")
    left.plot(epochs, history["validation_loss"], color=ORANGE, marker="s", linestyle="--", label="validation")
    left.set(xlabel="epoch", ylabel="cross-entropy")
    right.plot(epochs, history["validation_auroc"], color=GREEN, marker="o")
    right.set(xlabel="epoch", ylabel="validation AUROC")
    for axis in (left, right):
        axis.axvline(best_epoch, color=GREY, linestyle=":", linewidth=1, label="kept")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(frameon=False)
    return figure


def overlay(pixels: np.ndarray, heatmaps: np.ndarray, titles: Sequence[str]) -> Figure:
    """Two rows: X-rays uint8 [N, H, W], and the same with heat maps float [N, H, W] in [0, 1] on top."""
    figure, axes = plt.subplots(2, len(pixels), figsize=(len(pixels) * 2, 4.4), squeeze=False, layout="constrained")
    for column, (image, heat, title) in enumerate(zip(pixels, heatmaps, titles, strict=True)):
        for row in (0, 1):
            axes[row, column].imshow(image, cmap="gray", vmin=0, vmax=255)
            axes[row, column].axis("off")
        axes[1, column].imshow(heat, cmap="inferno", alpha=0.6 * heat, vmin=0, vmax=1)
        axes[0, column].set_title(title, fontsize=8)
    return figure

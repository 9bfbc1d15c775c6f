"""Pictures, in the colours of Okabe and Ito, which colour-blind readers can tell apart; lines differ in style too."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn import metrics

from cxr.evaluation import reliability
from cxr.settings import LABELS

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"


def contact_sheet(pixels: np.ndarray, titles: Sequence[str], columns: int = 6) -> Figure:
    """X-rays side by side. `pixels` is uint8 [N, H, W]."""
    rows = -(-len(pixels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * 1.8, rows * 2.05), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, pixels, titles, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(title, fontsize=8)
    return figure


def split_table(catalog: pd.DataFrame) -> pd.DataFrame:
    """Images and patients by split and label."""
    groups = catalog.groupby(["SPLIT", "LABEL"])
    table = groups.agg(images=("IMAGE_ID", "count"), patients=("PATIENT_ID", "nunique")).unstack(fill_value=0)
    return table.reindex(["train", "validation", "test"])


def roc_and_confusion(labels: np.ndarray, probabilities: np.ndarray, threshold: float, auroc: dict) -> Figure:
    """The ROC curve with the operating point, and the confusion matrix there. `auroc`: value and interval."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    false_positives, sensitivity, _ = metrics.roc_curve(labels, probabilities)
    low, high = auroc["interval"]
    text = f"AUROC {auroc['value']:.3f} (95% {low:.3f} to {high:.3f})"
    left.plot(false_positives, sensitivity, color=BLUE, linewidth=2, label=text)
    left.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    called = probabilities >= threshold
    point = called[labels == 0].mean(), called[labels == 1].mean()
    left.plot(*point, "o", color=ORANGE, markersize=9, label=f"threshold {threshold:.3f}")
    left.set(
        xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title="Test patients"
    )
    left.legend(loc="lower right", frameon=False)
    matrix = metrics.confusion_matrix(labels, called, labels=[0, 1])
    right.imshow(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        dark = count > 0.5 * matrix[row].sum()
        right.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black", fontsize=16)
    right.set(xticks=[0, 1], yticks=[0, 1], xticklabels=LABELS, yticklabels=LABELS, xlabel="called", ylabel="truth")
    right.set_title("Confusion matrix")
    return figure


def learning_curves(history: pd.DataFrame) -> Figure:
    """Training loss and validation AUROC by epoch."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    left.plot(history["epoch"], history["training_loss"], color=BLUE, marker="o", label="training")
    left.plot(
        history["epoch"], history["validation_loss"], color=ORANGE, marker="s", linestyle="--", label="validation"
    )
    left.set(xlabel="epoch", ylabel="cross-entropy")
    left.legend(frameon=False)
    right.plot(history["epoch"], history["validation_auroc"], color=GREEN, marker="o")
    right.set(xlabel="epoch", ylabel="validation AUROC")
    return figure


def calibration(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> Figure:
    """Observed against predicted share of pneumonia, before and after temperature scaling."""
    figure, axis = plt.subplots(figsize=(4, 4), layout="constrained")
    axis.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    for scores, colour, style, name in ((before, ORANGE, "s--", "before"), (after, BLUE, "o-", "after")):
        observed, predicted = reliability(labels, scores)
        axis.plot(predicted, observed, style, color=colour, label=f"{name} temperature scaling")
    axis.set(xlabel="predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1), title="Calibration")
    axis.legend(frameon=False, loc="upper left")
    return figure


def overlay(pixels: np.ndarray, heatmaps: np.ndarray, titles: Sequence[str]) -> Figure:
    """X-rays above the same X-rays under their heat maps. uint8 [N, H, W] and float [N, H, W] in [0, 1]."""
    figure, axes = plt.subplots(2, len(pixels), figsize=(len(pixels) * 2, 4.4), squeeze=False, layout="constrained")
    for column, (image, heat, title) in enumerate(zip(pixels, heatmaps, titles, strict=True)):
        for row in (0, 1):
            axes[row, column].imshow(image, cmap="gray", vmin=0, vmax=255)
            axes[row, column].axis("off")
        axes[1, column].imshow(heat, cmap="inferno", alpha=0.6 * heat, vmin=0, vmax=1)
        axes[0, column].set_title(title, fontsize=8)
    return figure

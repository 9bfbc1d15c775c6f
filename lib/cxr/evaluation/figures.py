"""Pictures, in the colours of Okabe and Ito, which colour-blind readers can tell apart; lines differ in style too."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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


def distributions(catalog: pd.DataFrame, stack: np.ndarray) -> Figure:
    """Sizes of the files, brightness of the images and grey levels of their pixels, by label; uint8 [N, H, W]."""
    figure, (sizes, means, greys) = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
    # Some thousands tell the distribution of pixels; all of a large set would not fit the memory.
    rows = catalog.reset_index(drop=True).iloc[:: max(1, len(catalog) // 3000)]
    for label, colour, style in zip(LABELS, (BLUE, ORANGE), ("-", "--"), strict=True):
        own = rows[rows["LABEL"] == label]
        pixels = stack[own.index]
        sizes.scatter(own["WIDTH"], own["HEIGHT"], s=8, color=colour, alpha=0.4, label=label)
        levels = np.bincount(pixels.reshape(-1), minlength=256) / max(pixels.size, 1)
        look = dict(color=colour, linestyle=style, label=label)
        means.hist(pixels.mean(axis=(1, 2)), bins=np.arange(0, 257, 8), density=True, histtype="step", **look)
        greys.plot(levels, **look)
    sizes.set(xlabel="width, pixels", ylabel="height, pixels", title="Files")
    means.set(xlabel="mean grey level", ylabel="density", title="Images")
    greys.set(xlabel="grey level", ylabel="share", title="Pixels")
    sizes.legend(frameon=False)
    return figure


def roc_and_precision(evaluation: dict, labels: np.ndarray, probabilities: np.ndarray) -> Figure:
    """The ROC curve with its interval, and precision against recall; the operating point in both."""
    from sklearn import metrics  # takes seconds, which the notebooks that show images alone need not wait for

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    band, figures, threshold = evaluation["roc"], evaluation["metrics"], evaluation["threshold"]
    false_positives, sensitivity, _ = metrics.roc_curve(labels, probabilities)
    left.fill_between(band["false_positive_rate"], band["low"], band["high"], color=BLUE, alpha=0.2, linewidth=0)
    left.plot(false_positives, sensitivity, color=BLUE, linewidth=2, label=_named("AUROC", figures["auroc"]))
    left.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    precision, recall, _ = metrics.precision_recall_curve(labels, probabilities)
    right.step(recall, precision, where="post", color=BLUE, linewidth=2, label=_named("AUPRC", figures["auprc"]))
    right.axhline(labels.mean(), color=GREY, linestyle=":", linewidth=1)
    found = figures["sensitivity"]["value"]
    for axis, point in (
        (left, (1 - figures["specificity"]["value"], found)),
        (right, (found, figures["ppv"]["value"])),
    ):
        axis.plot(*point, "o", color=ORANGE, markersize=8, markeredgecolor="white", label=f"threshold {threshold:.3f}")
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axis.legend(loc="lower right" if axis is left else "lower left", frameon=False)
    left.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC, with a 95% band over patients")
    right.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)", title="Precision and recall")
    return figure


def _named(name: str, figure: dict) -> str:
    return "{} {:.3f} ({:.3f} to {:.3f})".format(name, figure["value"], *figure["interval"])


def confusion_and_reliability(evaluation: dict, labels: np.ndarray, probabilities: np.ndarray) -> Figure:
    """Calls against truth at the threshold, and observed against predicted shares before and after temperature."""
    from sklearn import metrics

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    matrix = metrics.confusion_matrix(labels, probabilities >= evaluation["threshold"], labels=[0, 1])
    left.imshow(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        dark = count > 0.5 * matrix[row].sum()
        left.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black", fontsize=16)
    left.set(xticks=[0, 1], yticks=[0, 1], xticklabels=LABELS, yticklabels=LABELS, xlabel="called", ylabel="truth")
    left.set_title(f"Calls at threshold {evaluation['threshold']:.3f}")
    right.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    before, after = evaluation["ece_before_temperature"], evaluation["metrics"]["ece"]["value"]
    for key, error, colour, style in (
        ("before_temperature", before, ORANGE, "s--"),
        ("after_temperature", after, BLUE, "o-"),
    ):
        points = evaluation["reliability"][key]
        label = f"{key.replace('_', ' ')}, ECE {error:.3f}"
        right.plot(points["predicted"], points["observed"], style, color=colour, label=label)
    right.set(xlabel="predicted probability", ylabel="observed share", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    right.set_title("Reliability")
    right.legend(frameon=False, loc="lower right")
    return figure


def learning_curves(history: pd.DataFrame, best_epoch: int) -> Figure:
    """Training and validation loss, and validation AUROC, by epoch; a line marks the epoch that is kept."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    epochs = history["epoch"]
    left.plot(epochs, history["training_loss"], color=BLUE, marker="o", label="training, images changed")
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
    """X-rays above the same X-rays under their heat maps. uint8 [N, H, W] and float [N, H, W] in [0, 1]."""
    figure, axes = plt.subplots(2, len(pixels), figsize=(len(pixels) * 2, 4.4), squeeze=False, layout="constrained")
    for column, (image, heat, title) in enumerate(zip(pixels, heatmaps, titles, strict=True)):
        for row in (0, 1):
            axes[row, column].imshow(image, cmap="gray", vmin=0, vmax=255)
            axes[row, column].axis("off")
        axes[1, column].imshow(heat, cmap="inferno", alpha=0.6 * heat, vmin=0, vmax=1)
        axes[0, column].set_title(title, fontsize=8)
    return figure

"""What a catalog holds, as tables and figures."""

import itertools
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cxr.colours import COLOURS, STYLES


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
    """Images, patients and the fraction of images of each label, by split."""
    groups = catalog.groupby(["SPLIT", "LABEL"])
    table = groups.agg(images=("IMAGE_ID", "count"), patients=("PATIENT_ID", "nunique")).unstack(fill_value=0)
    fractions = table["images"].div(table["images"].sum(axis=1), axis=0).round(3)
    table = table.join(pd.concat({"fraction of images": fractions}, axis=1))
    return table.reindex(["train", "validation", "test"])


def distributions(catalog: pd.DataFrame, stack: np.ndarray, classes: Sequence[str]) -> Figure:
    """Sizes of the files, brightness of the images and grey levels of their pixels, by label; uint8 [N, H, W]."""
    figure, (sizes, means, greys) = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
    # Some thousands tell the distribution of pixels; all of a large set would not fit the memory.
    rows = catalog.reset_index(drop=True).iloc[:: max(1, len(catalog) // 3000)]
    for label, colour, style in zip(classes, itertools.cycle(COLOURS), itertools.cycle(STYLES), strict=False):
        own = rows[rows["LABEL"] == label]
        pixels = stack[own.index]
        sizes.scatter(own["WIDTH"], own["HEIGHT"], s=8, color=colour, alpha=0.4, label=label)
        levels = np.bincount(pixels.reshape(-1), minlength=256) / max(pixels.size, 1)
        look = dict(color=colour, linestyle=style, label=label)
        means.hist(pixels.mean(axis=(1, 2)), bins=np.arange(0, 257, 8), density=True, histtype="step", **look)
        greys.plot(levels, **look)
    sizes.set(xlabel="width, pixels", ylabel="height, pixels", title="Files")
    means.set(xlabel="mean grey level", ylabel="density", title="Images")
    greys.set(xlabel="grey level", ylabel="fraction", title="Pixels")
    sizes.legend(frameon=False)
    return figure

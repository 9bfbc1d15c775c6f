"""The images of one split, ready for training and evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Catalog rows, pixels and class indices of one split, in one order."""

    rows: pd.DataFrame
    pixels: torch.Tensor  # uint8 [N, size, size]
    labels: torch.Tensor  # int64 [N], indices into the label set; 0 is the negative class

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def class_frequencies(self) -> list[float]:
        """The fraction of each class, up to the last that occurs."""
        others = [float((self.labels == number).float().mean()) for number in range(1, int(self.labels.max()) + 1)]
        return [1 - sum(others), *others]

    @property
    def positive_fraction(self) -> float:
        """The fraction of images that are not of the negative class."""
        return float((self.labels > 0).float().mean())


def take_split(stack: np.ndarray, catalog: pd.DataFrame, split: str, classes: Sequence[str]) -> Split:
    """One split of a catalog whose images are decoded in `stack`, uint8 [N, size, size], in the catalog's order.

    Raises:
        ValueError: the split holds no image, a patient of whom another split holds one, or a class that is not among
            `classes`.
    """
    if len(leaks := catalog.groupby("PATIENT_ID")["SPLIT"].nunique().loc[lambda splits: splits > 1]):
        raise ValueError(
            f"{len(leaks)} patients stand in more than one split of the catalog (first: {leaks.index[0]}), so quality "
            "would be measured on patients that were learnt by heart: empty the catalog and run "
            "notebooks/02_data_ingest.ipynb again"
        )
    chosen = np.flatnonzero(catalog["SPLIT"] == split)
    if not len(chosen):
        raise ValueError(f"the catalog holds no image in the {split} split; more patients are needed")
    rows = catalog.iloc[chosen].reset_index(drop=True)
    return Split(rows, torch.from_numpy(stack[chosen]), torch.from_numpy(class_indices(rows["LABEL"], classes)))


def class_indices(labels: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """Names of classes as indices into `classes`, int64 [N]. Raises ValueError for a name that is not among them."""
    indices = labels.map({name: position for position, name in enumerate(classes)})
    if indices.isna().any():
        unknown = sorted(set(labels[indices.isna()].astype(str)))
        raise ValueError(f"labels {', '.join(unknown)} are not among the classes {', '.join(classes)}")
    return indices.to_numpy(dtype=np.int64)

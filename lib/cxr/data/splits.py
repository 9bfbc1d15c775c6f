"""The images of one split, ready for training and evaluation."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Indexed:
    """Some images of a memory map, in some order. Only what is asked for is read and copied.

    What a machine's memory cannot hold stays on its disk: the system keeps the pages that were used last.
    """

    stack: np.ndarray  # uint8 [M, size, size], usually a memory map
    places: np.ndarray  # int64 [N], indices into the stack

    device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: slice | torch.Tensor | np.ndarray | Sequence[int]) -> torch.Tensor:
        """Copies of several images, uint8 [n, size, size]: `pixels[:]`, `pixels[8:16]`, `pixels[indices]`."""
        if isinstance(which, torch.Tensor):
            which = which.numpy()  # numpy takes a tensor of one index for the index itself
        return torch.from_numpy(self.stack[self.places[which]])

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.stack.shape[1:]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape))

    def split(self, size: int) -> Iterator[torch.Tensor]:
        """As `torch.Tensor.split`: the images by `size` at a time."""
        return (self[start : start + size] for start in range(0, len(self), size))

    def part(self, chosen: np.ndarray) -> "Indexed":
        """The images with these indices, or where a mask is True; none is read."""
        return Indexed(self.stack, self.places[chosen])


@dataclass(frozen=True)
class Split:
    """Catalog rows, pixels and class indices of one split, in one order."""

    rows: pd.DataFrame
    pixels: Indexed
    labels: torch.Tensor  # int64 [N], indices into the label set; 0 is the negative class
    classes: int  # of the label set

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def class_frequencies(self) -> list[float]:
        """The fraction of each class of the label set."""
        others = [float((self.labels == number).float().mean()) for number in range(1, self.classes)]
        return [1 - sum(others), *others]

    @property
    def positive_fraction(self) -> float:
        """The fraction of images that are not of the negative class."""
        return float((self.labels > 0).float().mean())

    def part(self, chosen: np.ndarray) -> "Split":
        """The images with these indices, or where a mask is True."""
        rows = self.rows.iloc[chosen].reset_index(drop=True)
        return Split(rows, self.pixels.part(chosen), self.labels[torch.from_numpy(chosen)], self.classes)


def check_classes(catalog: pd.DataFrame, classes: Sequence[str]) -> None:
    """Before hours of work: training needs images of each class to learn from, and validation to choose by.

    Raises:
        ValueError: one of the two lacks a class; says which, and what to do.
    """
    for split, label in itertools.product(("train", "validation"), classes):
        if not ((catalog["SPLIT"] == split) & (catalog["LABEL"] == label)).any():
            patients = catalog.loc[catalog["LABEL"] == label, "PATIENT_ID"].nunique()
            raise ValueError(
                f"the {split} split has no image of {label} ({patients} patients in all splits). A class needs at "
                "least 3 patients; lateral views and images FOR PROCESSING count only with include_set_aside. Add "
                "patients of this class, or give its images another class in a table (data_csv), or take them out of "
                "the source; then run notebooks/02_data_ingest.ipynb again"
            )


def take_split(stack: np.ndarray, catalog: pd.DataFrame, split: str, classes: Sequence[str]) -> Split:
    """One split of a catalog whose images are decoded in `stack`, uint8 [N, size, size], in the catalog's order.

    Raises:
        ValueError: the split holds no image, a patient of whom another split holds one, or a class that is not among
            `classes`.
    """
    if len(leaks := catalog.groupby("PATIENT_ID")["SPLIT"].nunique().loc[lambda splits: splits > 1]):
        raise ValueError(
            f"{len(leaks)} patients stand in more than one split of the catalog (first: {leaks.index[0]}), so metrics "
            "would be measured on patients of training. Bring each into one split: python3 ci rekey (add --data-csv "
            "TABLE if patient ids come from a table)"
        )
    chosen = np.flatnonzero(catalog["SPLIT"] == split)
    if not len(chosen):
        raise ValueError(f"the catalog holds no image in the {split} split; more patients are needed")
    rows = catalog.iloc[chosen].reset_index(drop=True)
    labels = torch.from_numpy(class_indices(rows["LABEL"], classes))
    return Split(rows, Indexed(stack, chosen), labels, len(classes))


def halve(split: Split, seed: int, fewest: int = 0) -> tuple[Split, Split]:
    """Two halves by patient: the tuning half for all choices, and the held-back half, which only tests them.

    Within each class, patients are ordered by a hash of their id and the seed, and go to the halves in turn. A patient
    counts for the rarest of their classes. The tuning half has every class that the split has.

    Args:
        fewest: patients that a test needs. If the held-back half would have fewer, it is empty and all patients are
            used for tuning, because a test that cannot succeed is not worth half of them.
    """
    numbers = split.labels.numpy()
    shown = pd.DataFrame({"patient": split.rows["PATIENT_ID"].to_numpy(), "label": numbers}).drop_duplicates()
    shown = shown.assign(patients=shown.groupby("label")["patient"].transform("count"))
    patients = shown.sort_values(["patients", "label"]).drop_duplicates("patient")
    patients = patients.assign(position=[_hash(seed, patient) for patient in patients["patient"]]).sort_values(
        "position"
    )
    first = set(patients.loc[patients.groupby("label").cumcount() % 2 == 0, "patient"])
    for label in sorted(set(numbers)):  # a class of which all patients count for another
        having = patients.loc[patients["patient"].isin(shown.loc[shown["label"] == label, "patient"]), "patient"]
        if not first & set(having):
            first.add(having.iloc[0])
    if len(patients) - len(first) < fewest:
        first = set(patients["patient"])
    chosen = split.rows["PATIENT_ID"].isin(first).to_numpy()
    return split.part(chosen), split.part(~chosen)


def one_image_each(rows: pd.DataFrame, seed: int) -> np.ndarray:
    """The indices of one image of each patient, chosen by a hash of its id and the seed, in the order of the rows."""
    order = np.argsort([_hash(seed, image_id) for image_id in rows["IMAGE_ID"]], kind="stable")
    return np.sort(order[~rows["PATIENT_ID"].iloc[order].duplicated().to_numpy()])


def _hash(seed: int, name: str) -> str:
    return hashlib.sha256(f"triage:{seed}:{name}".encode()).hexdigest()


def class_indices(labels: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """Names of classes as indices into `classes`, int64 [N]. Raises ValueError for a name that is not among them."""
    indices = labels.map({name: position for position, name in enumerate(classes)})
    if indices.isna().any():
        unknown = sorted(set(labels[indices.isna()].astype(str)))
        raise ValueError(f"labels {', '.join(unknown)} are not among the classes {', '.join(classes)}")
    return indices.to_numpy(dtype=np.int64)

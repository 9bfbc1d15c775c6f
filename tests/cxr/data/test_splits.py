"""One split of a catalog, and what must not pass as one."""

import numpy as np
import pandas as pd
import pytest

from cxr.data.splits import take_split

CLASSES = ("NORMAL", "PNEUMONIA")


def test_a_patient_in_two_splits_is_refused():
    """A leak planted on purpose."""
    rows = pd.DataFrame({"PATIENT_ID": list("aabc"), "LABEL": "NORMAL", "SPLIT": ["train", "train", "test", "test"]})
    stack = np.zeros((4, 8, 8), np.uint8)
    assert len(take_split(stack, rows, "train", CLASSES)) == 2
    rows.loc[1, "SPLIT"] = "validation"
    with pytest.raises(ValueError, match="1 patients stand in more than one split"):
        take_split(stack, rows, "train", CLASSES)


def test_no_validation_patients_is_said():
    rows = pd.DataFrame({"PATIENT_ID": ["a"], "LABEL": ["NORMAL"], "SPLIT": ["train"]})
    with pytest.raises(ValueError, match="no image in the validation split; more patients"):
        take_split(np.zeros((1, 8, 8), np.uint8), rows, "validation", CLASSES)


def test_labels_become_indices_into_the_classes():
    rows = pd.DataFrame({"PATIENT_ID": list("abc"), "LABEL": ["B", "NONE", "A"], "SPLIT": "test"})
    split = take_split(np.zeros((3, 8, 8), np.uint8), rows, "test", ("NONE", "A", "B"))
    assert split.labels.tolist() == [2, 0, 1]
    assert split.positive_fraction == pytest.approx(2 / 3) and split.class_frequencies == pytest.approx([1 / 3] * 3)
    with pytest.raises(ValueError, match="labels B are not among the classes NONE, A"):
        take_split(np.zeros((3, 8, 8), np.uint8), rows, "test", ("NONE", "A"))

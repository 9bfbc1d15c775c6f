"""One split of a catalog, and what must not pass as one."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from cxr.data.splits import check_classes, halve, one_image_each, take_split

CLASSES = ("NORMAL", "PNEUMONIA")


def test_a_patient_in_two_splits_is_refused():
    """A leak planted on purpose."""
    rows = pd.DataFrame({"PATIENT_ID": list("aabc"), "LABEL": "NORMAL", "SPLIT": ["train", "train", "test", "test"]})
    stack = np.zeros((4, 8, 8), np.uint8)
    assert len(take_split(stack, rows, "train", CLASSES)) == 2
    rows.loc[1, "SPLIT"] = "validation"
    with pytest.raises(ValueError, match="1 patients stand in more than one split"):
        take_split(stack, rows, "train", CLASSES)


def test_a_split_reads_only_the_images_that_are_asked_for():
    class Watched(np.ndarray):
        read: ClassVar[list] = []

        def __getitem__(self, which):
            self.read.append(np.atleast_1d(which).tolist())
            return np.asarray(super().__getitem__(which))

    rows = pd.DataFrame({"PATIENT_ID": list("abcd"), "LABEL": "NORMAL", "SPLIT": ["train", "test", "train", "train"]})
    stack = np.arange(4, dtype=np.uint8).repeat(64).reshape(4, 8, 8).view(Watched)
    split = take_split(stack, rows, "train", CLASSES)
    later = split.part(np.array([False, True, True])).pixels
    assert not Watched.read and (len(later), later.shape, later.nbytes) == (2, (2, 8, 8), 128)
    assert later[1:][0, 0, 0] == 3 and Watched.read == [[3]]
    assert split.pixels[torch.tensor([2, 0])][:, 0, 0].tolist() == [3, 0]
    assert split.pixels[torch.tensor([2])].shape == (1, 8, 8)
    assert [len(some) for some in split.pixels.split(2)] == [2, 1]


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


@pytest.mark.parametrize("missing", ["A", "B", "NORMAL"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_class_that_a_split_lacks_is_named_before_the_training_with_what_to_do(missing, split):
    names, classes = ("train", "validation", "test"), ("NORMAL", "A", "B")
    rows = pd.DataFrame([(name, label) for name in names for label in classes], columns=["SPLIT", "LABEL"])
    rows["PATIENT_ID"] = [f"p{number}" for number in range(len(rows))]
    check_classes(rows, classes)
    rows = rows[(rows["SPLIT"] != split) | (rows["LABEL"] != missing)]
    with pytest.raises(ValueError, match=f"the {split} split has no image of {missing} .2 patients .*at least 3"):
        check_classes(rows, classes)
    check_classes(rows[rows["LABEL"] != missing], [name for name in classes if name != missing])


def test_frequencies_are_as_many_as_the_classes():
    rows = pd.DataFrame({"PATIENT_ID": list("abcd"), "LABEL": ["NORMAL", "NORMAL", "NORMAL", "A"], "SPLIT": "train"})
    split = take_split(np.zeros((4, 8, 8), np.uint8), rows, "train", ("NORMAL", "A", "B"))
    assert split.class_frequencies == [0.75, 0.25, 0.0]
    assert split.part(np.array([0, 1])).class_frequencies == [1.0, 0.0, 0.0]


def validation_of(patients: list[str], labels: list[str]):
    rows = pd.DataFrame({"PATIENT_ID": patients, "LABEL": labels, "SPLIT": "validation"})
    rows["IMAGE_ID"] = [f"image-{number}" for number in range(len(rows))]
    return take_split(np.zeros((len(rows), 8, 8), np.uint8), rows, "validation", ("NORMAL", "A", "B", "C"))


def test_halves_share_no_patient_and_depend_on_ids_alone():
    patients = [f"p{number // 2}" for number in range(400)]
    split = validation_of(patients, [("NORMAL", "A", "B")[number // 2 % 3] for number in range(400)])
    tuning, tested = halve(split, seed=0)
    assert not set(tuning.rows["PATIENT_ID"]) & set(tested.rows["PATIENT_ID"])
    assert len(tuning) + len(tested) == 400 and abs(len(tuning) - len(tested)) <= 6
    assert tuning.labels.bincount().tolist() == [68, 68, 66]
    order = np.random.default_rng(0).permutation(400)
    again, _ = halve(split.part(order), seed=0)
    assert set(again.rows["IMAGE_ID"]) == set(tuning.rows["IMAGE_ID"])
    assert set(halve(split, seed=1)[0].rows["IMAGE_ID"]) != set(tuning.rows["IMAGE_ID"])


def test_the_half_that_chooses_has_every_class_however_few_patients():
    split = validation_of(["p", "q", "r", "r"], ["NORMAL", "NORMAL", "A", "B"])
    tuning, tested = halve(split, seed=0)
    assert set(tuning.labels.tolist()) == {0, 1, 2} and len(tested) == 1
    shared = validation_of(list("aabbccxyz"), ["A", "B"] * 3 + ["NORMAL"] * 3)
    assert set(halve(shared, seed=0)[0].labels.tolist()) == {0, 1, 2}
    alone = validation_of(["p"], ["A"])
    assert [len(half) for half in halve(alone, seed=0)] == [1, 0]


def test_where_a_test_cannot_succeed_everybody_chooses():
    split = validation_of([f"p{number}" for number in range(40)], ["NORMAL", "A"] * 20)
    patients = halve(split, seed=0)[1].rows["PATIENT_ID"].nunique()
    assert len(halve(split, seed=0, fewest=patients)[1])
    assert [len(half) for half in halve(split, seed=0, fewest=patients + 1)] == [len(split), 0]


@pytest.mark.parametrize("seed", range(30))
def test_a_class_whose_patients_all_count_for_rarer_ones_is_not_lost(seed):
    labels = ["NORMAL", "A", "NORMAL", "B", "NORMAL", "C", "A", "B", "C"]
    tuning, _ = halve(validation_of(list("aabbccxyz"), labels), seed)
    assert set(tuning.labels.tolist()) == {0, 1, 2, 3}


def test_one_image_of_each_patient():
    rows = validation_of([f"p{number % 30}" for number in range(90)], ["A"] * 90).rows
    chosen = one_image_each(rows, seed=0)
    assert sorted(rows["PATIENT_ID"].iloc[chosen]) == sorted(set(rows["PATIENT_ID"]))
    assert len({number // 30 for number in chosen}) == 3, "not always the first"

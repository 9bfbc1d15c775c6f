"""A version must answer as the network that it was logged from; across machines, up to rounding."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests.trained import model_config

from cxr.lifecycle import parity
from cxr.lifecycle.parity import ACROSS_MACHINES, TOLERANCE, Expected
from cxr.serving.scoring import LARGEST_IN_SQL, TOO_LARGE

VERSION = SimpleNamespace(version_name="V_1")
TRIAGE = {"rule_out": {"at": 0.25}, "rule_in": {"at": 0.75}}


def expected(positive: list[float], distances: list[float] | None = None, **config) -> Expected:
    probabilities = np.stack([1 - np.array(positive), positive], axis=1)
    return Expected(probabilities, np.array(distances or [0.0] * len(positive)), model_config(**config))


@pytest.fixture
def check(monkeypatch):
    """Parity of a version that says `said` (and `alone` of the first image) with a network that expects `wanted`."""

    def ask(said: pd.DataFrame, wanted: Expected, alone: pd.DataFrame | None = None, **options) -> parity.Parity:
        first = said.head(1) if alone is None else alone
        monkeypatch.setattr(parity, "score", lambda version, files: said if len(files) > 1 else first)
        return parity.check_parity(VERSION, [b""] * len(said), wanted, **options)

    return ask


SAID = pd.DataFrame({"P_POSITIVE": [0.2, 0.8], "LABEL": ["NORMAL", "PNEUMONIA"], "TRIAGE": ["rule_out", "rule_in"]})
SAID["STATUS"] = "ok"


def test_the_same_answers_pass(check):
    assert check(SAID, expected([0.2, 0.8], triage=TRIAGE)).labels_equal
    assert check(SAID.assign(TRIAGE=None), expected([0.2, 0.8])).labels_equal, "a version of before triage"


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (SAID, expected([0.2, 0.8 + 2e-5], triage=TRIAGE)),
        (SAID, expected([0.2, 0.8], threshold=0.1, triage=TRIAGE)),
        (SAID.assign(TRIAGE=["uncertain", "rule_in"]), expected([0.2, 0.8], triage=TRIAGE)),
        (SAID.assign(P_POSITIVE=[0.2, None]), expected([0.2, 0.8], triage=TRIAGE)),
        (SAID, expected([0.2, 0.8], distances=[0.5, 1.5], triage=TRIAGE)),
    ],
    ids=["another probability", "another label", "another zone", "no probability", "an image that is unlike"],
)
def test_a_version_that_differs_from_its_network_is_rejected(check, said, wanted):
    with pytest.raises(ValueError, match="V_1 does not answer as the network"):
        check(said, wanted)


def test_another_answer_when_asked_alone_is_rejected(check):
    with pytest.raises(ValueError, match="V_1 does not answer as the network"):
        check(SAID, expected([0.2, 0.8], triage=TRIAGE), alone=SAID.head(1).assign(P_POSITIVE=0.3))


def test_an_image_unlike_training_has_no_label_on_either_side(check):
    said = SAID.assign(LABEL=["NORMAL", None], TRIAGE=["rule_out", None])
    assert check(said, expected([0.2, 0.8], distances=[0.5, 1.5], triage=TRIAGE)).unlike == 1


def test_another_machine_rounds_otherwise_so_labels_at_the_threshold_may_differ(check):
    said = pd.DataFrame({"P_POSITIVE": [0.20003, 0.49995], "LABEL": ["NORMAL", "NORMAL"], "STATUS": "ok"})
    wanted = expected([0.2, 0.5], threshold=0.49999)
    result = check(said, wanted, tolerance=ACROSS_MACHINES)
    assert result.labels_equal and result.undecided == 1
    with pytest.raises(ValueError, match="within 1e-05"):
        check(said, wanted, tolerance=TOLERANCE)
    with pytest.raises(ValueError, match="V_1 does not"):  # too far from the threshold
        check(said, expected([0.2, 0.5], threshold=0.4), tolerance=ACROSS_MACHINES)
    with pytest.raises(ValueError, match="V_1 does not"):  # too far from the probability
        check(said.assign(P_POSITIVE=[0.2003, 0.49995]), wanted, tolerance=ACROSS_MACHINES)


def test_two_classes_that_are_as_likely_may_change_places():
    likely = np.array([[0.1, 0.45, 0.45], [0.1, 0.6, 0.3], [0.7, 0.2, 0.1]])

    def undecided(threshold: float) -> list[bool]:
        config = model_config(threshold=threshold, labels=("A", "B", "C"))
        return list(Expected(likely, np.zeros(3), config).undecided(ACROSS_MACHINES)["LABEL"])

    assert undecided(0.3) == [True, False, True]
    assert undecided(0.9) == [True, True, False]


def test_an_image_that_a_path_refuses_has_no_label_to_compare():
    answers = SAID.assign(P_POSITIVE=[0.2, None], LABEL=["NORMAL", None], TRIAGE=["rule_out", None])
    assert expected([0.2, 0.8], triage=TRIAGE).agrees(answers).tolist() == [True, True]


def refused(number: int) -> pd.DataFrame:
    """As SAID, but SQL was not asked about this file, because it is too large."""
    said = SAID.astype(object)
    said.loc[number] = [None, None, None, TOO_LARGE]
    return said


def test_a_file_that_is_too_large_for_sql_is_not_compared(check):
    for number in (0, 1):
        alone = SAID.iloc[[1 - number]]
        result = check(refused(number), expected([0.2, 0.8], triage=TRIAGE), alone=alone)
        assert (result.images, result.too_large, result.largest_difference) == (1, 1, 0.0)
    with pytest.raises(ValueError, match="V_1 does not"):
        check(refused(0), expected([0.2, 0.7], triage=TRIAGE), alone=SAID.iloc[[1]])


def test_if_all_files_are_too_large_for_sql_none_is_compared_and_it_is_said(check):
    result = check(refused(0).head(1), expected([0.2], triage=TRIAGE))
    assert (result.images, result.too_large) == (0, 1)


def test_files_that_sql_takes_are_chosen_first():
    sizes = [LARGEST_IN_SQL + 1, 5, LARGEST_IN_SQL, 7, 9]
    rows = pd.DataFrame({"IMAGE_ID": list("abcde"), "BYTES": sizes, "SPLIT": ["test"] * 4 + ["train"]})
    assert "".join(parity.choose_images(rows, at_most=3)["IMAGE_ID"]) == "bcd"
    assert "".join(parity.choose_images(rows, at_most=9)["IMAGE_ID"]) == "bcda"

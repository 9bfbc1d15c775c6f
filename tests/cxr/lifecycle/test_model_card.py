"""The card: what a person reads before using a version."""

import numpy as np
import pandas as pd
import pytest
from tests.trained import model_config, report_of

from cxr.lifecycle.model_card import make_card, to_markdown

ROWS = pd.DataFrame({"PATIENT_ID": [f"p{i}" for i in range(20)], "LABEL": ["NORMAL", "PNEUMONIA"] * 10})


def card(**parts: np.ndarray) -> dict:
    evaluation = {name: report_of(ROWS, logits) for name, logits in parts.items()}
    return make_card("0123456789ab", model_config(data="phantoms"), evaluation, {})


TRUE = np.tile([-1.0, 1.0], 10)
BLURRED = np.where(np.arange(20) < 4, -TRUE, TRUE)


def test_what_to_expect_elsewhere_comes_before_the_source_that_flatters():
    told = to_markdown(card(test=TRUE, validation_shifted=BLURRED))
    assert told.index("**Elsewhere** expect less") < told.index("**Held-out patients of the same source**")
    assert "auroc 0.800 (" in told and "| auroc | 1.000" in told


@pytest.mark.parametrize(
    ("held_back", "said"),
    [
        (True, "of patients who chose nothing"),
        (False, "of patients who also chose epoch"),
        (None, "who also chose epoch"),
    ],
)
def test_the_card_says_whose_changed_images_were_measured(held_back, said):
    """Runs of before kept no mark: theirs are the copies that chose."""
    mark = {} if held_back is None else {"held_back": held_back}
    evaluation = {name: report_of(ROWS, BLURRED) for name in ("test", "validation_shifted")}
    evaluation["validation_shifted"] |= mark
    assert said in to_markdown(make_card("0123456789ab", model_config(data="phantoms"), evaluation, {}))


def test_a_run_of_before_changed_copies_has_no_figure_for_elsewhere():
    assert "**Elsewhere**" not in to_markdown(card(test=TRUE))


def test_an_interval_of_few_patients_is_no_certainty():
    told = to_markdown(card(test=TRUE))
    assert "Only 10 positive images of 10 patients, and 10 negative of 10" in told and "no finding" in told
    assert "The AUROC is 1 in every resample, which is no certainty" in told
    assert "exact binomial 95% interval for 10 patients is 0.692 to 1" in told, "0.025 ** (1 / 10)"
    assert "The AUROC is" not in to_markdown(card(test=BLURRED))

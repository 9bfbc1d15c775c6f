"""Triage keeps its promise: at most 5% of repetitions violate the stated NPV or PPV."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binom, norm
from tests.trained import report_of

from cxr.evaluation import triage
from cxr.evaluation.calibration import OperatingPoint
from cxr.evaluation.figures import roc_and_precision
from cxr.evaluation.triage_figures import risk_and_zones
from cxr.model.probabilities import Calibration
from cxr.model.zones import RULE_IN, RULE_OUT, UNCERTAIN, to_zones

LEVEL, GAP = 0.95, 1.3  # log-odds of the classes: normal around -GAP and +GAP, of unit variance


def draw(rng: np.random.Generator, patients: int, prevalence: float) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.random(patients) < prevalence
    return labels, expit(rng.normal(size=patients) + np.where(labels, GAP, -GAP))


def true_values(found: triage.Triage, prevalence: float) -> tuple[float, float]:
    """(NPV, PPV) among all patients there could be; 1 where nothing is decided."""
    values = []
    for at, side in ((found.rule_out.at, -1), (found.rule_in.at, 1)):
        odds = None if at is None else np.log(at / (1 - at))
        if odds is None:
            values.append(1.0)
            continue
        right, wrong = (norm.cdf(side * (side * GAP * sign - odds)) for sign in (1, -1))
        right, wrong = (
            right * (prevalence if side > 0 else 1 - prevalence),
            wrong * (1 - prevalence if side > 0 else prevalence),
        )
        values.append(right / (right + wrong))
    return values[0], values[1]


def simulate(prevalence: float, patients: int = 260, repetitions: int = 1000) -> list[triage.Triage]:
    rng = np.random.default_rng(0)
    return [
        triage.choose_triage(
            draw(rng, patients, prevalence), draw(rng, patients, prevalence), 0.5, npv=LEVEL, ppv=LEVEL
        )
        for _ in range(repetitions)
    ]


@pytest.mark.parametrize("prevalence", [0.3, 0.73])
def test_at_most_5_percent_of_1000_splits_violate_the_stated_npv_or_ppv(prevalence):
    found = simulate(prevalence)
    values = np.array([true_values(each, prevalence) for each in found])
    assert (values < LEVEL).any(axis=1).mean() <= 0.05
    assert (values < LEVEL).mean(axis=0).max() <= 0.035, "2.5% a side, and what 1,000 repetitions add"
    decided = np.array([[each.rule_out.at is not None, each.rule_in.at is not None] for each in found])
    assert decided.any(axis=1).mean() > 0.5, "it is not kept by never deciding"


def test_at_another_prevalence_the_guarantee_does_not_hold_and_the_table_says_what_does():
    found = [each for each in simulate(0.3, repetitions=100) if each.rule_out.at is not None]
    npv = np.array([true_values(each, 0.7)[0] for each in found])
    assert (npv < LEVEL).mean() > 0.5, "as it is: with more positive patients, ruling out errs more often"
    labels, scores = draw(np.random.default_rng(1), 200_000, 0.3)
    table = triage.at_prevalences(triage.measure_zones(labels, found[0].zones(scores)), [0.3, 0.7])
    assert table["NPV of rule out"].tolist() == pytest.approx(
        [true_values(found[0], p)[0] for p in (0.3, 0.7)], abs=0.01
    )


def test_fewer_than_72_patients_without_error_decide_nothing():
    assert triage.fewest_without_error(0.95) == 72
    for patients, decided in ((71, False), (72, True)):
        labels, scores = np.repeat([False, True], patients), np.repeat([0.01, 0.99], patients)
        found = triage.choose_triage((labels, scores), (labels, scores), 0.5)
        assert ((found.rule_out.at, found.rule_in.at) == (0.01, 0.99)) is decided
        assert set(found.zones(scores)) == ({RULE_OUT, RULE_IN} if decided else {UNCERTAIN})
        assert ("a zone needs at least 72 patients" in str(found)) is not decided


def test_the_number_of_patients_needed_is_enough():
    rng = np.random.default_rng(2)
    few = triage.choose_triage(draw(rng, 2000, 0.5), draw(rng, 20, 0.5), 0.5)
    assert few.rule_out.at is None and 72 < few.rule_out.needed < 1000
    passed = [
        triage.choose_triage(draw(rng, 2000, 0.5), draw(rng, few.rule_out.needed, 0.5), 0.5).rule_out.at is not None
        for _ in range(50)
    ]
    assert np.mean(passed) > 0.6
    labels, scores = rng.random(500) < 0.5, rng.random(500)
    hopeless = triage.choose_triage((labels, scores), (labels, scores), 0.5)
    assert hopeless.rule_out.needed is None and "more patients may not help" in str(hopeless)


def test_the_tested_half_does_not_fix_the_order():
    """A threshold between two scores of the tested half alone is never tried."""
    rng = np.random.default_rng(3)
    tuning, tested = draw(rng, 1000, 0.5), draw(rng, 1000, 0.5)
    found = triage.choose_triage(tuning, tested, 0.5)
    assert {found.rule_out.at, found.rule_in.at} <= {None, *tuning[1]} and found.rule_out.at is not None


def test_no_zone_contradicts_the_label():
    labels, scores = np.repeat(False, 500), np.linspace(0, 1, 500)  # nobody is ill: everything could be ruled out
    found = triage.choose_triage((labels, scores), (labels, scores), 0.3)
    assert found.rule_out.at < 0.3 and found.rule_in.at is None


@pytest.mark.parametrize("sizes", [(0, 0), (1, 0), (5, 3)])
def test_a_handful_of_patients_is_no_error(sizes):
    tuning, tested = (draw(np.random.default_rng(0), size, 0.5) for size in sizes)
    found = triage.choose_triage(tuning, tested, 0.5)
    assert set(found.zones(np.linspace(0, 1, 5))) == {UNCERTAIN} and found.patients == sizes[1]
    triage.zone_table(triage.measure_zones(tested[0], found.zones(tested[1])))


@given(st.integers(1, 500), st.data())
@settings(max_examples=50, deadline=None)
def test_the_bound_is_that_of_the_test(images, data):
    wrong = data.draw(st.integers(0, images))
    bound = triage.lower_bound(images, wrong)
    passes = binom.cdf(wrong, images, 1 - LEVEL) <= triage.ALPHA
    assert passes == (bound >= LEVEL)


def test_the_errors_allowed_are_the_most_that_pass():
    images = np.arange(0, 400)
    allowed = triage._errors_allowed(images, LEVEL)
    passing = binom.cdf(np.arange(0, 60)[:, None], images, 1 - LEVEL) <= triage.ALPHA
    assert allowed.tolist() == (passing.sum(axis=0) - 1).tolist()


def test_zones_of_no_answer_count_for_a_reader():
    zones = np.array([RULE_OUT, RULE_IN, UNCERTAIN, None], dtype=object)
    assert triage.readers_needed(zones) == "Of 100 images, 50 need a reader."
    measured = triage.measure_zones(np.array([True, True, False, False]), zones)
    assert measured[RULE_OUT] == {"images": 1, "wrong": 1, "of_positive": 0.5, "of_negative": 0.0}
    assert measured[RULE_IN]["wrong"] == 0
    assert triage.zone_table(measured).loc["rule in", "predictive value"] == "1.000"


def test_images_that_the_gate_stopped_are_left_to_a_reader_at_every_prevalence():
    truth = np.array([True] * 4 + [False] * 4)
    zones = np.array([RULE_IN, RULE_IN, RULE_OUT, None, RULE_OUT, RULE_OUT, UNCERTAIN, UNCERTAIN], dtype=object)
    table = triage.at_prevalences(triage.measure_zones(truth, zones), [0.0, 0.5, 1.0])
    assert table["for a reader"].tolist() == pytest.approx([0.5, 0.375, 0.25])
    assert table["for a reader"][0.5] == pytest.approx(triage.report(truth, zones)["for_a_reader"])


def test_without_a_class_no_prevalence_has_a_predictive_value():
    table = triage.at_prevalences(triage.measure_zones(np.array([False, False]), np.array([RULE_OUT, RULE_IN])), [0.1])
    assert table.isna().all(axis=None)


def test_risk_is_the_share_of_wrong_labels_among_the_surest():
    coverage, risk = triage.risk_coverage(np.array([1, 0, 1, 0]), np.array([0.99, 0.02, 0.4, 0.3]), 0.5)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk == pytest.approx([0, 0, 0, 0.25])
    labels, scores = draw(np.random.default_rng(0), 50, 0.5)
    zones = to_zones(scores, 0.2, 0.9)
    assert len(risk_and_zones(labels, scores, 0.5, zones).axes) == 2
    risk_and_zones(labels, scores, 0.5, to_zones(scores, None, None))


def test_shares_without_a_class_are_told_as_such():
    table = triage.zone_table(triage.measure_zones(np.array([False]), np.array([UNCERTAIN], dtype=object)))
    assert table.loc["uncertain", "of positive images"] == "" and isinstance(table, pd.DataFrame)


def test_figures_of_a_threshold_that_calls_nobody_positive():
    rows = pd.DataFrame({"LABEL": ["NORMAL", "PNEUMONIA"] * 4, "PATIENT_ID": list("abcdefgh")})
    report = report_of(rows, np.linspace(-1, 1, 8), OperatingPoint(Calibration(), 0.99))
    assert report["metrics"]["ppv"]["value"] is None
    roc_and_precision(report, np.array([False, True] * 4), np.linspace(0.2, 0.8, 8))

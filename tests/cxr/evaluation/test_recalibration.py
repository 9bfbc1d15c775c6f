"""Calibration on images from elsewhere, held against scikit-learn and against cases whose answer is known."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_curve
from tests.trained import probability

from cxr.evaluation.intervals import words_of
from cxr.evaluation.recalibration import calibration_figures, fit_line, other_thresholds, reliability_bins


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 1.5, 800)
    truth = rng.random(800) < probability(odds)
    return truth, odds, rng.integers(0, 300, 800).astype(str)


def test_the_line_is_that_of_a_logistic_regression(drawn):
    truth, odds, _ = drawn
    weights = np.random.default_rng(1).multinomial(800, np.full(800, 1 / 800), size=3).astype(float)
    shifts, slopes = fit_line(truth.astype(float), odds, weights)
    for row, shift, slope in zip(weights, shifts, slopes, strict=True):
        other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds[:, None], truth, sample_weight=row)
        assert (shift, slope) == pytest.approx((other.intercept_[0], other.coef_[0, 0]), abs=1e-4)
    (shift,), (slope,) = fit_line(truth.astype(float), odds, np.ones((1, 800)), slope=False)
    assert slope == 1 and probability(odds + shift).mean() == pytest.approx(truth.mean())


def test_probabilities_that_are_right_and_ones_that_are_too_high_or_too_extreme(drawn):
    truth, odds, patients = drawn
    right = calibration_figures(truth, probability(odds), patients)
    assert right["intercept"]["interval"][0] < 0 < right["intercept"]["interval"][1]
    assert right["slope"]["interval"][0] < 1 < right["slope"]["interval"][1]
    assert right["brier"]["value"] == pytest.approx(brier_score_loss(truth, probability(odds)))
    too_high = calibration_figures(truth, probability(odds + 1), patients)["intercept"]
    assert too_high["value"] == pytest.approx(right["intercept"]["value"] - 1, abs=1e-6) and too_high["interval"][1] < 0
    extreme = calibration_figures(truth, probability(2 * odds), patients)["slope"]
    assert extreme["value"] == pytest.approx(right["slope"]["value"] / 2) and extreme["interval"][1] < 1


def test_what_has_no_finite_answer_is_undefined():
    scores = np.linspace(0.1, 0.9, 20)
    apart = calibration_figures(scores > 0.5, scores, np.arange(20).astype(str))
    assert apart["slope"]["value"] is None, "the classes are parted wholly"
    alone = calibration_figures(np.ones(20), scores, np.arange(20).astype(str))
    assert alone["intercept"] == {"value": None, "interval": [None, None]} and alone["brier"]["value"] is not None


def test_resamples_that_part_the_classes_make_the_slope_unbounded_above():
    """Two images alone overlap: resamples without one of them have no finite slope, and are not left out."""
    odds = np.linspace(-3, 3, 60)
    truth = odds > 0
    truth[[29, 30]] = True, False
    found = calibration_figures(truth, probability(odds), np.arange(60).astype(str))["slope"]
    low, high = found["interval"]
    assert 1 < low < found["value"] and high is None
    assert words_of(found) == f"{found['value']:.3f} ({low:.3f} to unbounded)"
    _, (up, down) = fit_line(truth, odds, np.stack([odds != odds[29], odds == odds[29]]) * (odds != odds[30]))
    assert up == np.inf and np.isnan(down), "one class alone"
    _, (inverted,) = fit_line(odds < 0, odds, np.ones((1, 60)))
    assert inverted == -np.inf
    assert np.isnan(fit_line(truth, np.ones(60), np.ones((1, 60)))[1]).all(), "equal log-odds"


def test_other_thresholds_are_those_of_the_curve(drawn):
    truth, odds, patients = drawn
    scores = probability(odds)
    rows = {row["rule"]: row for row in other_thresholds(truth, scores, patients, own=0.7)}
    assert rows["the version's own"]["threshold"] == 0.7
    assert rows["the version's own"]["sensitivity"]["value"] == pytest.approx((scores[truth] >= 0.7).mean())
    false_positives, sensitivity, _ = roc_curve(truth, scores)
    youden = rows["Youden's index, here"]
    reached = youden["sensitivity"]["value"] + youden["specificity"]["value"] - 1
    assert reached == pytest.approx((sensitivity - false_positives).max())
    for target in (90, 95, 99):
        assert rows[f"sensitivity {target}% or more, here"]["sensitivity"]["value"] >= target / 100
    assert other_thresholds(np.ones(5), scores[:5], patients[:5], own=0.5) == []


def test_bins_hold_every_image_once(drawn):
    truth, odds, _ = drawn
    scores = np.append(probability(odds)[:-1], 1.0)
    bins = reliability_bins(truth, scores)
    assert sum(row["images"] for row in bins) == 800
    assert sum(row["images"] * row["observed"] for row in bins) == pytest.approx(truth.sum())
    assert all(row["from"] <= row["predicted"] <= row["to"] for row in bins)

"""Metrics, calibration, intervals and reports, compared with scikit-learn and with cases of known result."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from tests.trained import probability, report_of

from cxr.evaluation.bootstrap import bootstrap, paired_bootstrap, roc_band
from cxr.evaluation.calibration import OperatingPoint, choose_operating_point, choose_threshold, fit_calibration
from cxr.evaluation.metrics import expected_calibration_error, measure, measure_weighted
from cxr.evaluation.report import as_table, class_table, evaluate, most_confident, subgroup_table
from cxr.model.probabilities import Calibration
from cxr.settings import LABELS


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    logits = np.round(rng.normal(labels * 2 - 1, 1.5), 1)  # rounded, so that ties occur
    return labels, probability(logits), rng.integers(0, 120, 300).astype(str)


def test_counts_at_the_threshold():
    labels, scores = np.array([1, 1, 1, 0, 0, 0, 0, 1]), np.array([0.9, 0.8, 0.3, 0.2, 0.6, 0.1, 0.4, 0.5])
    found = measure(labels, scores, threshold=0.5)
    assert found["sensitivity"] == 3 / 4 and found["specificity"] == 3 / 4
    assert found["ppv"] == 3 / 4 and found["npv"] == 3 / 4 and found["accuracy"] == 6 / 8
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, scores >= 0.5))


def test_undefined_metrics_are_nan():
    found = measure(np.ones(3), np.array([0.2, 0.7, 0.9]), 0.5)
    assert np.isnan(found["auroc"]) and np.isnan(found["specificity"]) and found["sensitivity"] == 2 / 3


def test_youden_threshold_separates_the_classes():
    labels, scores = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.7, 0.8])
    assert choose_threshold(labels, scores) == pytest.approx(0.5)


def test_target_sensitivity_is_reached_with_the_fewest_false_positives(scored):
    labels, scores, _ = scored
    threshold = choose_threshold(labels, scores, target_sensitivity=0.9)
    assert (scores[labels == 1] >= threshold).mean() >= 0.9
    assert (scores[labels == 1] >= threshold + 0.1).mean() < 0.9


def test_a_target_sensitivity_that_is_reached_exactly_counts():
    labels, scores = np.array([1, 1, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.7, 0.2, 0.6, 0.1])
    assert choose_threshold(labels, scores, target_sensitivity=0.75) == pytest.approx(0.65)


def test_calibration_undoes_overconfidence_and_a_shifted_intercept():
    rng = np.random.default_rng(1)
    true_logits = rng.normal(0, 2, 4000)
    labels = rng.random(4000) < probability(true_logits)
    found = fit_calibration(labels.astype(int), (3 * true_logits - 6).reshape(-1, 1))
    assert found.temperature == pytest.approx(3, rel=0.1) and found.bias == (pytest.approx(6, abs=0.5),)
    overconfident = expected_calibration_error(labels, probability(3 * true_logits))
    assert expected_calibration_error(labels, probability(true_logits)) < overconfident / 3


def test_calibration_error_of_a_known_case():
    """Ten images with probability 0.75, five of them positive: the error is 0.25."""
    assert expected_calibration_error(np.array([1, 0] * 5), np.full(10, 0.75)) == pytest.approx(0.25)


def test_the_vectorised_resamples_equal_scikit_learn(scored):
    """One patient per image and known weights: each metric must equal scikit-learn's with sample_weight."""
    labels, scores, _ = scored
    order = np.argsort(-scores, kind="stable")
    weights = np.random.default_rng(2).multinomial(300, np.full(300, 1 / 300), size=5).astype(float)
    truth, called = labels[order], scores[order] >= 0.5
    found = measure_weighted(truth, scores[order], 0.5, weights)
    for row, weight in enumerate(weights):
        assert found["auroc"][row] == pytest.approx(metrics.roc_auc_score(truth, scores[order], sample_weight=weight))
        expected = metrics.average_precision_score(truth, scores[order], sample_weight=weight)
        assert found["auprc"][row] == pytest.approx(expected)
        assert found["sensitivity"][row] == pytest.approx(metrics.recall_score(truth, called, sample_weight=weight))
        assert found["ppv"][row] == pytest.approx(metrics.precision_score(truth, called, sample_weight=weight))
        assert found["f1"][row] == pytest.approx(metrics.f1_score(truth, called, sample_weight=weight))
        assert found["accuracy"][row] == pytest.approx(metrics.accuracy_score(truth, called, sample_weight=weight))
        drawn = np.repeat(np.arange(300), weight.astype(int))
        error = expected_calibration_error(truth[drawn], scores[order][drawn])
        assert found["ece"][row] == pytest.approx(error)


def test_intervals_contain_the_value_and_are_wider_for_fewer_patients(scored):
    labels, scores, patients = scored
    value = measure(labels, scores, 0.5)
    many = bootstrap(labels, scores, np.arange(300).astype(str), 0.5)
    for name, (low, high) in many.items():
        assert low <= value[name] <= high, name
    # The same images ten times over are no more patients than before.
    copied = bootstrap(np.tile(labels, 10), np.tile(scores, 10), np.tile(np.arange(300), 10), 0.5)
    assert np.diff(copied["auroc"]) == pytest.approx(np.diff(many["auroc"]), rel=0.1)


def test_the_same_seed_gives_the_same_interval(scored):
    labels, scores, patients = scored
    assert bootstrap(labels, scores, patients, 0.5) == bootstrap(labels, scores, patients, 0.5)


def test_two_models_are_compared_on_the_same_resamples_of_patients(scored):
    labels, scores, patients = scored
    rng = np.random.default_rng(3)
    worse = probability(rng.normal(labels - 0.5, 1.5))
    found = paired_bootstrap(labels, worse, scores, patients)
    expected = metrics.roc_auc_score(labels, worse) - metrics.roc_auc_score(labels, scores)
    assert found["difference"] == pytest.approx(expected) and found["worse"]
    assert found["interval"][0] < expected < found["interval"][1] < 0
    mirrored = paired_bootstrap(labels, scores, worse, patients)
    assert not mirrored["worse"]
    assert mirrored["interval"] == pytest.approx([-found["interval"][1], -found["interval"][0]])
    itself = paired_bootstrap(labels, scores, scores, patients)
    assert itself == {"difference": 0.0, "interval": [0.0, 0.0], "worse": False}
    with pytest.raises(ValueError, match="one class"):
        paired_bootstrap(np.ones(300), scores, worse, patients)


def test_an_insignificant_difference_is_not_worse(scored):
    labels, scores, patients = scored
    close = np.clip(scores + np.random.default_rng(5).normal(0, 0.05, len(scores)), 0, 1)
    found = paired_bootstrap(labels, close, scores, patients)
    assert found["difference"] < 0 < found["interval"][1] and not found["worse"]


def test_duplicated_images_do_not_narrow_the_comparison_or_the_roc_band(scored):
    labels, scores, _ = scored
    other, patients = probability(np.random.default_rng(6).normal(labels, 1.5)), np.arange(len(labels))
    copied = [np.tile(values, 10) for values in (labels, other, scores, patients)]
    width = np.diff(paired_bootstrap(labels, other, scores, patients)["interval"])
    assert np.diff(paired_bootstrap(*copied)["interval"]) == pytest.approx(width, rel=0.1)
    once, often = (roc_band(*given) for given in ((labels, scores, patients), (copied[0], copied[2], copied[3])))
    widths = [np.mean(np.subtract(band["high"], band["low"])) for band in (once, often)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_a_95_percent_interval_is_as_wide_as_the_textbook_says():
    """320 of 400 patients in each class are classified correctly: a standard error of 2 points, times 1.96."""
    labels, called = np.repeat([0, 1], 400), np.tile(np.repeat([0, 1], [80, 320]), 2)
    scores = np.where(labels == 1, called, 1 - called).astype(float)
    patients = np.arange(800).astype(str)
    low, high = bootstrap(labels, scores, patients, 0.5)["sensitivity"]
    assert high - low == pytest.approx(2 * 1.96 * 0.02, rel=0.06)
    band = roc_band(labels, scores, patients)
    # Above 1 - specificity of 0.2 the curve runs straight to (1, 1): halfway there half of the error is left.
    assert band["high"][60] - band["low"][60] == pytest.approx(1.96 * 0.02, rel=0.12)


def test_a_paired_interval_is_narrower_than_an_unpaired_one(scored):
    labels, scores, patients = scored
    close = np.clip(scores + np.random.default_rng(4).normal(0, 0.02, len(scores)), 0, 1)
    low, high = paired_bootstrap(labels, close, scores, patients)["interval"]
    alone = np.diff(bootstrap(labels, scores, patients, 0.5)["auroc"])[0]
    assert high - low < alone / 3


@pytest.fixture
def rows():
    return pd.DataFrame(
        {
            "LABEL": ["PNEUMONIA"] * 4 + ["NORMAL"] * 4,
            "CAUSE": ["bacteria", "bacteria", "virus", "virus"] + [None] * 4,
            "SEX": ["F", "M"] * 4,
            "PATIENT_ID": list("aabbccdd"),
            "SPLIT": "validation",
        }
    )


LOGITS = np.array([3.0, 2, 1, -2, -1, -3, -2, -1])


def test_evaluation_of_a_catalog_reports_subgroups_and_counts(rows):
    report = report_of(rows, LOGITS)
    assert (report["images"], report["patients"], report["positive"]) == (8, 4, 4)
    assert report["metrics"]["specificity"]["value"] == 1.0 and report["metrics"]["ece"]["interval"][0] >= 0
    groups = {(group["column"], group["value"]): group for group in report["subgroups"]}
    assert set(groups) == {("CAUSE", "bacteria"), ("CAUSE", "virus"), ("SEX", "F"), ("SEX", "M")}
    assert groups["CAUSE", "bacteria"]["images"] == 2 and groups["CAUSE", "virus"]["sensitivity"]["value"] == 0.5
    assert groups["CAUSE", "bacteria"]["auroc"]["value"] == 1.0  # against all normal images
    assert groups["SEX", "F"]["sensitivity"]["value"] == 1.0 and groups["SEX", "M"]["sensitivity"]["value"] == 0.5
    assert "scores" not in report
    assert subgroup_table(report).loc["cause: virus", "sensitivity"].startswith("0.500 (")
    table = as_table({"validation": report, "test": report})
    assert list(table) == ["validation", "test"] and table.loc["images", "test"] == 8


def test_undefined_metrics_are_null_in_json_and_blank_in_tables(rows):
    healthy = rows[rows["LABEL"] == "NORMAL"]
    report = report_of(healthy, LOGITS[rows["LABEL"] == "NORMAL"])
    read = json.loads(json.dumps(report, allow_nan=False))
    assert read["metrics"]["auroc"] == {"value": None, "interval": [None, None]}
    assert as_table({"test": report}).loc["auroc", "test"] == ""


def test_before_calibration_means_before_the_bias_too(rows):
    moved = report_of(rows, LOGITS, OperatingPoint(Calibration(2.0, (2.0,)), 0.5))
    plain = report_of(rows, LOGITS)
    assert moved["ece_before_temperature"] == pytest.approx(plain["metrics"]["ece"]["value"])
    assert moved["reliability"]["before_temperature"] == plain["reliability"]["after_temperature"]


def test_kept_scores_are_the_measured_ones_without_any_id(rows):
    rows["IMAGE_ID"], rows["PATIENT_ID"] = "sha-of-image", rows["PATIENT_ID"] + "-name"
    report = report_of(rows, LOGITS, OperatingPoint(Calibration(2.0), 0.5), keep_scores=True)
    kept = report["scores"]
    again = measure(np.array(kept["labels"]), np.array(kept["probabilities"]), 0.5)
    assert again == pytest.approx({name: figure["value"] for name, figure in report["metrics"].items()})
    written = json.dumps(report)
    assert "sha-of-image" not in written and "-name" not in written
    assert sorted(kept["patients"]) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_kept_scores_are_aligned_with_their_labels_and_patients(rows):
    logits = LOGITS + np.arange(8) / 100  # each of its own
    kept = report_of(rows, logits, keep_scores=True)["scores"]
    sorted_rows = rows.iloc[np.argsort(logits)]
    assert kept["labels"] == (sorted_rows["LABEL"] == "PNEUMONIA").astype(int).tolist()
    assert kept["patients"] == sorted_rows["PATIENT_ID"].map(list("abcd").index).tolist()


def test_the_roc_band_contains_the_curve_whose_area_is_the_auroc(scored):
    labels, scores, patients = scored
    band = {name: np.array(values) for name, values in roc_band(labels, scores, patients).items()}
    assert (band["low"] <= band["sensitivity"]).all() and (band["sensitivity"] <= band["high"]).all()
    area = metrics.auc(band["false_positive_rate"], band["sensitivity"])
    assert area == pytest.approx(metrics.roc_auc_score(labels, scores), abs=0.01)
    assert roc_band(np.ones(300), scores, patients)["sensitivity"] == []


def test_a_threshold_chosen_on_test_patients_is_refused(rows):
    """A deliberate leak."""
    point = choose_operating_point(rows, LOGITS.reshape(-1, 1), LABELS)
    assert point.calibration.temperature > 0 and 0 < point.threshold < 1
    rows.loc[3, "SPLIT"] = "test"
    with pytest.raises(ValueError, match="chosen on test images"):
        choose_operating_point(rows, LOGITS.reshape(-1, 1), LABELS)


def test_the_threshold_belongs_to_the_calibrated_probabilities(rows):
    labels = (rows["LABEL"] == "PNEUMONIA").to_numpy()
    for target in (1.0, 0.5):
        point = choose_operating_point(rows, (LOGITS + 4).reshape(-1, 1), LABELS, target)
        scores = point.calibration.positive((LOGITS + 4).reshape(-1, 1))
        assert point.threshold == pytest.approx(choose_threshold(labels, scores, target)), target
    chosen = {choose_operating_point(rows, LOGITS.reshape(-1, 1), LABELS, target).threshold for target in (1.0, 0.5)}
    assert len(chosen) == 2


def test_what_is_more_likely_positive_is_never_called_negative():
    """If most images are positive, Youden's threshold is near their fraction; if few are, it is low."""
    rng = np.random.default_rng(0)
    for positive, lowest, highest in ((0.8, 0.5, 0.5), (0.2, 0.05, 0.35)):
        labels = rng.random(4000) < positive
        logits = rng.normal(np.where(labels, 1.0, -1.0)).reshape(-1, 1)
        rows = pd.DataFrame({"LABEL": np.where(labels, "PNEUMONIA", "NORMAL"), "SPLIT": "validation"})
        point = choose_operating_point(rows, logits, LABELS)
        assert lowest <= point.threshold <= highest, positive
        scores = point.calibration.positive(logits)
        assert (choose_threshold(labels, scores) > 0.6) == (positive > 0.5), "without the limit"
        asked = choose_operating_point(rows, logits, LABELS, target_sensitivity=0.5)
        assert asked.threshold > 0.6 or positive < 0.5, "who asks for a sensitivity gets it"


def test_the_most_confident_correct_and_wrong_predictions():
    labels, scores = np.array([1, 1, 1, 0, 0, 0]), np.array([0.99, 0.7, 0.05, 0.95, 0.2, 0.6])
    right, wrong = most_confident(labels, scores, 0.5, count=2)
    assert right.tolist() == [0, 1] and wrong.tolist() == [2, 3]
    assert len(most_confident(labels, labels.astype(float), 0.5, count=2)[1]) == 0


THREE = ("NONE", "A", "B")


@pytest.fixture
def three_classes():
    """90 images of 45 patients. Logits of the true class are higher by 2, and the intercept of B is far off."""
    rng = np.random.default_rng(7)
    labels = np.arange(90) % 3
    logits = rng.normal(size=(90, 3)) + 2 * np.eye(3)[labels] + [0, 0, 3]
    rows = pd.DataFrame({"LABEL": np.array(THREE)[labels], "PATIENT_ID": np.arange(90) // 2, "SPLIT": "validation"})
    return rows, labels, logits


def test_three_classes_are_calibrated_by_a_temperature_and_a_bias_each(three_classes):
    """A temperature alone cannot correct an intercept that class weights have shifted."""
    rows, labels, logits = three_classes
    point = choose_operating_point(rows, logits, THREE)
    calibrated = metrics.log_loss(labels, point.calibration.probabilities(logits))
    assert calibrated < metrics.log_loss(labels, Calibration(1.0, (0.0,) * 3).probabilities(logits)) - 0.1
    assert point.calibration.bias[2] < point.calibration.bias[1] - 2


def test_three_classes_are_reported_each_and_as_the_screening_question(three_classes):
    rows, labels, logits = three_classes
    point = OperatingPoint(Calibration(1.0, (0.0, 0.0, -3.0)), 0.5)
    probabilities = point.calibration.probabilities(logits)
    report = evaluate(rows, logits, point, THREE)
    positive = probabilities[:, 1:].sum(axis=1)
    assert report["positive"] == 60
    assert report["patients_by_outcome"] == {"positive": 45, "negative": 30}, "some have both"
    assert report["metrics"]["auroc"]["value"] == pytest.approx(metrics.roc_auc_score(labels > 0, positive))
    by_class = report["by_class"]
    expected = metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert by_class["macro_auroc"]["value"] == pytest.approx(expected)
    predicted = np.where(positive >= 0.5, 1 + probabilities[:, 1:].argmax(axis=1), 0)
    assert by_class["confusion_matrix"] == metrics.confusion_matrix(labels, predicted).tolist()
    assert by_class["accuracy"]["value"] == pytest.approx((labels == predicted).mean())
    for number, row in enumerate(by_class["classes"]):
        assert row["class"] == THREE[number] and row["images"] == 30
        recall = metrics.recall_score(labels == number, predicted == number)
        assert row["sensitivity"]["value"] == pytest.approx(recall)
        low, high = row["auroc"]["interval"]
        assert low < row["auroc"]["value"] < high
    assert list(class_table(report).index) == list(THREE)
    assert json.loads(json.dumps(report, allow_nan=False)) == report

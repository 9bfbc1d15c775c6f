"""The evaluation report of a classifier on one set of images, with intervals, and tables of reports for readers."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.special import logit

from cxr.data.splits import class_indices
from cxr.evaluation.bootstrap import bootstrap, roc_band
from cxr.evaluation.by_class import evaluate_classes
from cxr.evaluation.calibration import OperatingPoint
from cxr.evaluation.intervals import with_interval, words_of
from cxr.evaluation.metrics import expected_calibration_error, measure, reliability
from cxr.model.probabilities import Calibration, choose_classes, p_positive


def evaluate(
    catalog: pd.DataFrame,
    logits: np.ndarray,
    point: OperatingPoint,
    classes: Sequence[str],
    seed: int = 0,
    keep_scores: bool = False,
) -> dict:
    """The report of one set of images, ready for JSON. None stands for an undefined value.

    Args:
        catalog: [N] rows with LABEL and PATIENT_ID, and CAUSE, SEX and AGE_BAND where known, in the order of `logits`.
        logits: [N, outputs], uncalibrated.
        point: calibration and threshold, chosen on validation.
        classes: the label set, the negative class first.
        keep_scores: include labels and probabilities, with patients as numbers instead of ids.

    Raises:
        ValueError: a label is not among `classes`.
    """
    labels, patients = class_indices(catalog["LABEL"], classes), catalog["PATIENT_ID"].to_numpy()
    probabilities = point.calibration.probabilities(logits)
    truth, scores, before = labels > 0, p_positive(probabilities), Calibration().positive(logits)
    report = {
        "images": len(labels),
        "patients": int(catalog["PATIENT_ID"].nunique()),
        "positive": int(truth.sum()),
        "patients_by_outcome": {
            name: int(catalog.loc[chosen, "PATIENT_ID"].nunique())
            for name, chosen in (("positive", truth), ("negative", ~truth))
        },
        "threshold": point.threshold,
        "metrics": _with_intervals(truth, scores, patients, point.threshold, seed),
        "ece_before_temperature": expected_calibration_error(truth, before),
        "subgroups": list(_subgroups(catalog, truth, scores, point.threshold, seed)),
        "roc": roc_band(truth, scores, patients, seed=seed),
        "reliability": {
            name: dict(zip(("observed", "predicted"), (part.tolist() for part in reliability(truth, p)), strict=True))
            for name, p in (("before_temperature", before), ("after_temperature", scores))
        },
    }
    if len(classes) > 2:
        predictions = choose_classes(probabilities, point.threshold)
        report["by_class"] = evaluate_classes(labels, probabilities, predictions, patients, classes, seed)
    if keep_scores:
        order = np.argsort(scores)  # in the catalog's order, rows could be matched with images
        number = np.unique(patients, return_inverse=True)[1]
        columns = {"labels": truth.astype(int), "probabilities": scores, "patients": number}
        report["scores"] = {name: values[order].tolist() for name, values in columns.items()}
    return report


def _with_intervals(
    truth: np.ndarray, scores: np.ndarray, patients: np.ndarray, threshold: float, seed: int
) -> dict[str, dict]:
    values, intervals = measure(truth, scores, threshold), bootstrap(truth, scores, patients, threshold, seed=seed)
    return {name: with_interval(value, intervals[name]) for name, value in values.items()}


def _subgroups(
    catalog: pd.DataFrame, truth: np.ndarray, scores: np.ndarray, threshold: float, seed: int
) -> Iterator[dict]:
    """AUROC, sensitivity and specificity by sex, age band and cause. A cause is compared with all negative images."""
    patients = catalog["PATIENT_ID"].to_numpy()
    for column in ("CAUSE", "SEX", "AGE_BAND"):
        known = catalog[column].dropna().unique() if column in catalog else ()
        for value in sorted(known):
            inside = (catalog[column] == value).to_numpy()
            chosen = inside | ~truth if column == "CAUSE" else inside
            figures = _with_intervals(truth[chosen], scores[chosen], patients[chosen], threshold, seed)
            named = {name: figures[name] for name in ("auroc", "sensitivity", "specificity")}
            yield {"column": column, "value": str(value), "images": int(inside.sum())} | named


def most_confident(
    truth: np.ndarray, probabilities: np.ndarray, threshold: float, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the most confident predictions: up to `count` true positives, and up to `count` errors.

    Confidence is the distance from the threshold in log-odds. Distances in probability would favour one kind of error
    if the threshold is near 0 or 1.
    """
    odds = logit(np.clip([*probabilities, threshold], 1e-9, 1 - 1e-9))
    order = np.argsort(-np.abs(odds[:-1] - odds[-1]), kind="stable")
    positive = np.asarray(probabilities) >= threshold
    right = positive & (np.asarray(truth) == 1)
    wrong = positive != (np.asarray(truth) == 1)
    return order[right[order]][:count], order[wrong[order]][:count]


def as_table(report: dict[str, dict]) -> pd.DataFrame:
    """Reports of :func:`evaluate` as a table: one column for each set of images, one row for each metric."""
    columns = {
        name: {metric: words_of(figure, "") for metric, figure in part["metrics"].items()}
        | {"ece before calibration": f"{part['ece_before_temperature']:.3f}"}
        | {"images": part["images"], "patients": part["patients"]}
        for name, part in report.items()
    }
    return pd.DataFrame(columns).rename_axis("95% intervals over patients")


def subgroup_table(evaluation: dict) -> pd.DataFrame:
    """The subgroups of one report, a row each."""
    rows = [
        {"group": f"{group['column'].lower().replace('_', ' ')}: {group['value']}", "images": group["images"]}
        | {name: words_of(group[name], "") for name in ("auroc", "sensitivity", "specificity")}
        for group in evaluation["subgroups"]
    ]
    return pd.DataFrame(rows, columns=["group", "images", "auroc", "sensitivity", "specificity"]).set_index("group")


def class_table(evaluation: dict) -> pd.DataFrame:
    """The classes of one report, a row each; empty if there are only two."""
    rows = [
        {"class": row["class"], "images": row["images"]}
        | {name: words_of(row[name], "") for name in ("auroc", "sensitivity")}
        for row in evaluation.get("by_class", {}).get("classes", ())
    ]
    return pd.DataFrame(rows, columns=["class", "images", "auroc", "sensitivity"]).set_index("class")

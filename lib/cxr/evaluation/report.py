"""How good the classifier is, with intervals. scikit-learn computes; this module chooses and resamples."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import logit
from sklearn import metrics
from sklearn.calibration import calibration_curve

RESAMPLES = 2000
BINS = 10  # of the expected calibration error
_BLOCK = 100  # resamples at once; bounds the memory at 100 x images


def probability(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """The probability of pneumonia, float64 [N], for log-odds divided by the temperature."""
    return 1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64) / temperature))


def fit_calibration(labels: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """(temperature, offset) for which `probability(logits + offset, temperature)` has the smallest log loss.

    A temperature alone (Guo et al. 2017) leaves the intercept where class weights have put it; with the offset this is
    Platt's scaling (1999). The temperature lies between 0.1 and 10, the offset between -10 and 10.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, dtype=np.float64)

    def loss(at: np.ndarray) -> float:
        return metrics.log_loss(labels, probability(logits + at[1], np.exp(at[0])), labels=[0, 1])

    log_temperature, offset = minimize(loss, (0, 0), bounds=[(np.log(0.1), np.log(10)), (-10, 10)]).x
    return float(np.exp(log_temperature)), float(offset)


def choose_threshold(labels: np.ndarray, probabilities: np.ndarray, target_sensitivity: float | None = None) -> float:
    """An operating point; give it validation data, never test data.

    The largest threshold that reaches `target_sensitivity`, or, without one, the largest sensitivity + specificity
    (Youden 1950). The threshold lies midway between two neighbouring probabilities, so that it does not hang on one.
    """
    false_positives, sensitivity, thresholds = metrics.roc_curve(labels, probabilities, drop_intermediate=False)
    if target_sensitivity is not None:
        best = int(np.argmax(sensitivity >= target_sensitivity))
    else:
        best = int(np.argmax(sensitivity - false_positives))
    below = np.unique(probabilities[probabilities < thresholds[best]])
    chosen = (thresholds[best] + below[-1]) / 2 if len(below) else thresholds[best]
    return float(np.clip(chosen, 0, 1))


def operating_point(
    catalog: pd.DataFrame, logits: np.ndarray, target_sensitivity: float | None = None
) -> tuple[float, float, float]:
    """(temperature, offset, threshold), from validation images and shifted copies of them.

    Args:
        catalog: rows with LABEL and SPLIT, in the order of `logits`.

    Raises:
        ValueError: an image of another split than validation is among them.
    """
    if others := set(catalog["SPLIT"]) - {"validation"}:
        raise ValueError(
            f"calibration and threshold would be chosen on {', '.join(sorted(others))} images; "
            "what is reported of them would then be too good: give validation images alone"
        )
    labels = _truth(catalog)
    temperature, offset = fit_calibration(labels, logits)
    scores = probability(logits + offset, temperature)
    return temperature, offset, choose_threshold(labels, scores, target_sensitivity)


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean distance between predicted and observed shares over equally wide bins, weighted by their size."""
    which = _bins(probabilities)
    gaps = np.bincount(which, probabilities, BINS) - np.bincount(which, labels, BINS)
    return float(np.abs(gaps).sum() / len(labels))


def _bins(probabilities: np.ndarray) -> np.ndarray:
    return np.minimum((np.asarray(probabilities) * BINS).astype(int), BINS - 1)


def measure(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float]:
    """AUROC, AUPRC, and, at the threshold, sensitivity, specificity, PPV, NPV, F1, accuracy; ECE. NaN where undefined.

    Args:
        labels: [N], 1 for pneumonia.
        probabilities: [N], of pneumonia.
    """
    labels = np.asarray(labels).astype(int)
    called = np.asarray(probabilities) >= threshold
    (true_negative, false_positive), (false_negative, true_positive) = metrics.confusion_matrix(
        labels, called, labels=[0, 1]
    )
    both = 0 < labels.sum() < len(labels)

    def share(part, other):
        return float(part / (part + other)) if part + other else float("nan")

    return {
        "auroc": float(metrics.roc_auc_score(labels, probabilities)) if both else float("nan"),
        "auprc": float(metrics.average_precision_score(labels, probabilities)) if both else float("nan"),
        "sensitivity": share(true_positive, false_negative),
        "specificity": share(true_negative, false_positive),
        "ppv": share(true_positive, false_positive),
        "npv": share(true_negative, false_negative),
        "f1": share(2 * true_positive, false_positive + false_negative),
        "accuracy": share(true_positive + true_negative, false_positive + false_negative),
        "ece": expected_calibration_error(labels, probabilities),
    }


def bootstrap(
    labels: np.ndarray,
    probabilities: np.ndarray,
    patients: Sequence[str],
    threshold: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95% intervals of :func:`measure` by resampling patients with replacement (percentile method).

    Whole patients are drawn, because the images of one patient are alike. A resample without both classes is left out
    of the metrics that need them. Resampling inflates the ECE, so its resamples are moved to lie around its value.
    """
    order, last_of_tie = _falling(probabilities)
    scores, truth = np.asarray(probabilities, dtype=float)[order], np.asarray(labels)[order].astype(float)
    blocks = [
        _weighted(weights, truth, scores, threshold, last_of_tie)
        for weights in _resampled(np.asarray(patients)[order], resamples, seed)
    ]
    values = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    inflation = values["ece"].mean() - expected_calibration_error(truth, scores)
    values["ece"] = np.maximum(values["ece"] - inflation, 0)
    return {name: _interval(value) for name, value in values.items()}


def paired_bootstrap(
    labels: np.ndarray,
    candidate: np.ndarray,
    present: np.ndarray,
    patients: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict:
    """Whether a candidate's AUROC is worse than the present model's on the same images.

    Both are measured on the same resamples of patients, so what makes a resample hard cancels out.

    Args:
        labels: [N], 1 for pneumonia.
        candidate, present: [N], the two models' probabilities for the same images in the same order.
        patients: [N].

    Returns:
        `difference` (candidate minus present), its 95% `interval` as [low, high], and `worse`: whether the whole
        interval lies below zero.

    Raises:
        ValueError: one class is missing.
    """
    labels = np.asarray(labels).astype(float)
    if not 0 < labels.sum() < len(labels):
        raise ValueError(f"all {len(labels)} images are of one class, so two AUROCs cannot be compared")
    differences = np.concatenate(
        [
            _auroc_of(weights, labels, candidate) - _auroc_of(weights, labels, present)
            for weights in _resampled(np.asarray(patients), resamples, seed)
        ]
    )
    low, high = _interval(differences)
    value = metrics.roc_auc_score(labels, candidate) - metrics.roc_auc_score(labels, present)
    return {"difference": float(value), "interval": [low, high], "worse": high < 0}


def _falling(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order from the highest score to the lowest, and in it the last position of each distinct score."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    return order, np.append(np.flatnonzero(np.diff(np.asarray(scores)[order])), len(order) - 1)


def _resampled(patients: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is drawn when patients are drawn with replacement: blocks of [R, N]."""
    _, patient = np.unique(patients, return_inverse=True)
    count = patient.max() + 1
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _BLOCK):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=min(_BLOCK, resamples - start))
        yield drawn[:, patient].astype(float)


def _interval(values: np.ndarray) -> tuple[float, float]:
    if np.isnan(values).all():
        return np.nan, np.nan
    low, high = np.nanpercentile(values, (2.5, 97.5)).tolist()
    return low, high


def _auroc_of(weights: np.ndarray, truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    order, last_of_tie = _falling(scores)
    weights, truth = weights[:, order], truth[order]
    return _auroc(*_curve(weights, truth, last_of_tie))


def _curve(weights: np.ndarray, truth: np.ndarray, last_of_tie: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(true positives, false positives) at each distinct score, images in falling order: two arrays [R, scores]."""
    hits = np.cumsum(weights * truth, axis=1)[:, last_of_tie]
    alarms = np.cumsum(weights * (1 - truth), axis=1)[:, last_of_tie]
    return hits, alarms


def _auroc(hits: np.ndarray, alarms: np.ndarray) -> np.ndarray:
    before = np.pad(hits, ((0, 0), (1, 0)))[:, :-1]
    steps = np.diff(alarms, axis=1, prepend=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (steps * (before + hits) / 2).sum(1) / (hits[:, -1] * alarms[:, -1])


def _weighted(
    weights: np.ndarray, truth: np.ndarray, scores: np.ndarray, threshold: float, last_of_tie: np.ndarray
) -> dict[str, np.ndarray]:
    """The metrics of each resample: weights [R, N], images in falling order of score -> arrays [R]."""
    hits, alarms = _curve(weights, truth, last_of_tie)
    called = scores >= threshold
    found, false = (weights * truth)[:, called].sum(1), (weights * (1 - truth))[:, called].sum(1)
    positives, negatives = hits[:, -1], alarms[:, -1]
    missed, cleared = positives - found, negatives - false
    in_bin = np.eye(BINS)[_bins(scores)] * (scores - truth)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        gains = np.diff(hits, axis=1, prepend=0)
        return {
            "auroc": _auroc(hits, alarms),
            "auprc": np.nansum(gains * hits / (hits + alarms), axis=1) / positives,
            "sensitivity": found / positives,
            "specificity": cleared / negatives,
            "ppv": found / (found + false),
            "npv": cleared / (cleared + missed),
            "f1": 2 * found / (2 * found + false + missed),
            "accuracy": (found + cleared) / (positives + negatives),
            "ece": np.abs(weights @ in_bin).sum(1) / (positives + negatives),
        }


def evaluate(
    catalog: pd.DataFrame,
    logits: np.ndarray,
    temperature: float,
    threshold: float,
    seed: int = 0,
    keep_scores: bool = False,
    offset: float = 0.0,
) -> dict:
    """Everything that is reported of one set of images, ready for JSON; None stands for what is undefined.

    Args:
        catalog: rows with LABEL and PATIENT_ID, and CAUSE, SEX and AGE_BAND where known, in the order of `logits`.
        keep_scores: put labels and probabilities into it, with patients as numbers: nothing that says whose they are.
        offset: of :func:`fit_calibration`, which `logits` hold already; "before" calibration is without it.
    """
    labels, patients = _truth(catalog), catalog["PATIENT_ID"].to_numpy()
    before, scores = probability(np.asarray(logits) - offset), probability(logits, temperature)
    report = {
        "images": len(labels),
        "patients": int(catalog["PATIENT_ID"].nunique()),
        "pneumonia": int(labels.sum()),
        "threshold": threshold,
        "metrics": _with_intervals(labels, scores, patients, threshold, seed),
        "ece_before_temperature": expected_calibration_error(labels, before),
        "subgroups": list(_subgroups(catalog, scores, threshold, seed)),
        "roc": roc_band(labels, scores, patients, seed=seed),
        "reliability": {
            name: dict(zip(("observed", "predicted"), (part.tolist() for part in reliability(labels, p)), strict=True))
            for name, p in (("before_temperature", before), ("after_temperature", scores))
        },
    }
    if keep_scores:
        order = np.argsort(scores)  # the catalog's order would tell which image is whose
        number = np.unique(patients, return_inverse=True)[1]
        columns = {"labels": labels, "probabilities": scores, "patients": number}
        report["scores"] = {name: values[order].tolist() for name, values in columns.items()}
    return report


def _truth(catalog: pd.DataFrame) -> np.ndarray:
    return (catalog["LABEL"] == "PNEUMONIA").to_numpy().astype(int)


def _with_intervals(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, threshold: float, seed: int
) -> dict[str, dict]:
    values, intervals = measure(labels, scores, threshold), bootstrap(labels, scores, patients, threshold, seed=seed)
    return {
        name: {"value": _or_none(value), "interval": [_or_none(end) for end in intervals[name]]}
        for name, value in values.items()
    }


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _subgroups(catalog: pd.DataFrame, scores: np.ndarray, threshold: float, seed: int) -> Iterator[dict]:
    """The figures of each cause, against all normal images, and of each sex and age band, where known."""
    labels, patients = _truth(catalog), catalog["PATIENT_ID"].to_numpy()
    for column in ("CAUSE", "SEX", "AGE_BAND"):
        known = catalog[column].dropna().unique() if column in catalog else ()
        for value in sorted(known):
            inside = (catalog[column] == value).to_numpy()
            chosen = inside | (labels == 0) if column == "CAUSE" else inside
            part = (labels[chosen], scores[chosen], patients[chosen])
            figures = _with_intervals(*part, threshold, seed)
            named = {name: figures[name] for name in ("auroc", "sensitivity", "specificity")}
            yield {"column": column, "value": str(value), "images": int(inside.sum())} | named


def most_confident(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the calls furthest from the threshold: up to `count` right ones of pneumonia, and wrong ones.

    The distance is measured in log-odds, so that a threshold near 0 or 1 does not make one kind of error look sure.
    """
    odds = logit(np.clip([*probabilities, threshold], 1e-9, 1 - 1e-9))
    order = np.argsort(-np.abs(odds[:-1] - odds[-1]), kind="stable")
    called = np.asarray(probabilities) >= threshold
    right = called & (np.asarray(labels) == 1)
    wrong = called != (np.asarray(labels) == 1)
    return order[right[order]][:count], order[wrong[order]][:count]


def roc_band(labels: np.ndarray, probabilities: np.ndarray, patients: Sequence[str], seed: int = 0) -> dict:
    """The ROC curve at 101 values of 1 - specificity, with a pointwise 95% band over resampled patients.

    Returns:
        Lists `false_positive_rate`, `sensitivity`, `low`, `high`; empty where one class is missing.
    """
    labels = np.asarray(labels)
    grid = np.linspace(0, 1, 101)
    if not 0 < labels.sum() < len(labels):
        return {name: [] for name in ("false_positive_rate", "sensitivity", "low", "high")}
    order, last_of_tie = _falling(probabilities)
    truth, curves = labels[order].astype(float), []
    everyone = np.ones((1, len(labels)))
    for weights in (everyone, *_resampled(np.asarray(patients)[order], RESAMPLES // 4, seed)):
        for hits, alarms in zip(*_curve(weights, truth, last_of_tie), strict=True):
            if hits[-1] and alarms[-1]:
                # At one rate of alarms the curve is as high as its last point there.
                curves.append(np.interp(grid, np.append(0, alarms / alarms[-1]), np.append(0, hits / hits[-1])))
    low, high = np.percentile(curves[1:], (2.5, 97.5), axis=0)
    values = {"false_positive_rate": grid, "sensitivity": curves[0], "low": low, "high": high}
    return {name: value.tolist() for name, value in values.items()}


def as_table(report: dict[str, dict]) -> pd.DataFrame:
    """Several :func:`evaluate` for people: a column a set of images, a row a metric with its interval."""
    columns = {
        name: {metric: _words(figure) for metric, figure in part["metrics"].items()}
        | {"ece before temperature": f"{part['ece_before_temperature']:.3f}"}
        | {"images": part["images"], "patients": part["patients"]}
        for name, part in report.items()
    }
    return pd.DataFrame(columns).rename_axis("95% intervals over patients")


def subgroup_table(evaluation: dict) -> pd.DataFrame:
    """The subgroups of one :func:`evaluate`, a row each."""
    rows = [
        {"group": f"{group['column'].lower().replace('_', ' ')}: {group['value']}", "images": group["images"]}
        | {name: _words(group[name]) for name in ("auroc", "sensitivity", "specificity")}
        for group in evaluation["subgroups"]
    ]
    return pd.DataFrame(rows, columns=["group", "images", "auroc", "sensitivity", "specificity"]).set_index("group")


def _words(figure: dict) -> str:
    if None in (figure["value"], *figure["interval"]):
        return ""
    return "{:.3f} ({:.3f} to {:.3f})".format(figure["value"], *figure["interval"])


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(observed, predicted) share of pneumonia in each bin that holds images."""
    return calibration_curve(labels, probabilities, n_bins=BINS)

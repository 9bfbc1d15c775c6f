"""Compare two versions on the candidate's test images, which neither of them was trained on."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from snowflake.ml.model import Model, ModelVersion

from cxr.account.project import Project
from cxr.data.catalog import read_catalog
from cxr.data.pixels import fetch_files
from cxr.data.splits import class_indices
from cxr.evaluation.bootstrap import bootstrap_of, paired_bootstrap
from cxr.evaluation.by_class import macro_auroc
from cxr.lifecycle import runs
from cxr.lifecycle.registry import artifacts_of
from cxr.model.config import ModelConfig
from cxr.model.gate import UNLIKE as UNLIKE_TRAINING
from cxr.model.zones import UNCERTAIN
from cxr.serving.scoring import ROWS_PER_CALL, score

MIN_COMPARED = 4  # test images that both versions have scored
BYTES_PER_CALL = 2**27  # of files that are in memory at once; one more file may come on top
MAX_RESCORED = 1000  # test images that the present version scores again for the comparison
FEW = 0.02  # of the images; a share whose lower bound is not above it may more than double


@dataclass(frozen=True)
class Comparison:
    """`difference` of a metric, candidate minus present, with its 95% interval; `worse`: the interval is below zero.

    For a share of images without a decision, less is better: `worse` means that it more than doubled,
    and that its 97.5% lower bound (over patients) is above `FEW`.
    """

    metric: str
    difference: float
    interval: tuple[float, float]
    worse: bool
    is_quality: bool = True  # more is better


def compare(
    project: Project, model: Model, candidate: str, present: str, across_labels: bool = False
) -> list[Comparison] | str:
    """Compare AUROC (positive against negative) and, with the same three or more classes, macro AUROC; and, where both
    have them, the shares of images that are uncertain (triage) and unlike those of training (gate).

    The present version scores now those of the images of which its run kept no score (they came later). It was not
    trained on them, because an image never changes its split.

    Returns:
        The comparisons, or the reason why the versions cannot be compared.
    """
    labels, before = read_labels(project, candidate), read_labels(project, present)
    if set(labels) != set(before) and not across_labels:
        return (
            f"{candidate} has the classes {', '.join(labels)}, but {present} has {', '.join(before)}: to compare only "
            "positive against negative, use promote(..., across_labels=True)"
        )
    new = kept_scores(project, candidate)
    if new is None:
        return f"the run of {candidate} left no scores, so they cannot be compared"
    rows = read_catalog(project).merge(new, on="IMAGE_ID")
    old = kept_scores(project, present)
    missing = rows if old is None else rows[~rows["IMAGE_ID"].isin(old["IMAGE_ID"])]
    if len(missing):
        old = pd.concat([old, ask(project, model, present, missing.head(MAX_RESCORED))], ignore_index=True)
    both = rows.merge(old, on="IMAGE_ID", suffixes=("_NEW", "_OLD")) if len(rows) else rows
    if len(both) < MIN_COMPARED:
        return f"only {len(both)} test images have a score of both {candidate} and {present}: {MIN_COMPARED} are needed"
    truth = class_indices(both["LABEL"], labels)
    if not 0 < (truth > 0).sum() < len(truth):
        return "the test images of both are of one class, so they cannot be compared"
    patients = both["PATIENT_ID"].to_numpy()
    scores = (both[f"P_POSITIVE_{which}"].to_numpy(dtype=float) for which in ("NEW", "OLD"))
    found = paired_bootstrap(truth > 0, *scores, patients)
    comparisons = [Comparison("AUROC", found["difference"], tuple(found["interval"]), found["worse"])]
    if len(labels) > 2 and set(labels) == set(before) and _all_known(both, "PROBABILITIES_OLD"):
        missing_classes = [label for number, label in enumerate(labels) if number not in truth]
        if not missing_classes:
            comparisons.append(_compare_macro(both, truth, labels, patients))
        elif not across_labels:
            return (
                f"no test image among those compared is of {', '.join(missing_classes)}, so the macro AUROC cannot be "
                "compared: ingest labelled images, or compare only positive against negative with "
                "promote(..., across_labels=True)"
            )
    return comparisons + _compare_shares(both, patients)


def _all_known(both: pd.DataFrame, *columns: str) -> bool:
    return all(name in both and both[name].notna().all() for name in columns)


def _compare_shares(both: pd.DataFrame, patients: np.ndarray) -> list[Comparison]:
    """Whether the share of images that are uncertain, or unlike training, doubled; empty if a version has no triage."""
    if not _all_known(both, "TRIAGE_NEW", "TRIAGE_OLD"):
        return []
    found = []
    for name, value in (("share uncertain", UNCERTAIN), ("share unlike training", runs.UNLIKE)):
        new, old = ((both[f"TRIAGE_{which}"] == value).to_numpy(dtype=float) for which in ("NEW", "OLD"))

        # Of few patients, one or two more say nothing: the lower bound must be above what is always allowed.
        least, _ = bootstrap_of(_share_of(new), patients)
        doubled = bool(new.sum() > 2 * old.sum() and least > FEW)
        interval = bootstrap_of(_share_of(new - old), patients)
        found.append(Comparison(name, float((new - old).mean()), interval, doubled, False))
    return found


def _share_of(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The mean of the values [N] under each row of weights [R, N]."""
    return lambda weights: weights @ values / weights.sum(axis=1)


def _compare_macro(both: pd.DataFrame, truth: np.ndarray, labels: tuple[str, ...], patients: np.ndarray) -> Comparison:
    new, old = (_matrix(both[f"PROBABILITIES_{which}"], labels) for which in ("NEW", "OLD"))

    def difference(weights: np.ndarray | None) -> np.ndarray:
        return macro_auroc(truth, new, weights) - macro_auroc(truth, old, weights)

    interval = bootstrap_of(difference, patients)
    return Comparison("macro AUROC", float(difference(None)[0]), interval, interval[1] < 0)


def _matrix(texts: pd.Series, labels: tuple[str, ...]) -> np.ndarray:
    """JSON texts of class -> probability [N] as an array [N, classes]."""
    return np.array([[json.loads(text)[label] for label in labels] for text in texts])


def read_labels(project: Project, version: str) -> tuple[str, ...]:
    """The classes of a version; the first is the negative one."""
    return ModelConfig.read(artifacts_of(project, version) / "model.json").labels


def kept_scores(project: Project, version: str) -> pd.DataFrame | None:
    """IMAGE_ID, P_POSITIVE, PROBABILITIES and, with triage, TRIAGE (a zone, or `unlike`) of a version's test images.

    None if its run kept no scores.
    """
    folder = artifacts_of(project, version)
    if not (folder / runs.SCORES).exists():
        return None
    kept = runs.read_scores(folder)
    return kept[kept["SPLIT"] == "test"].drop(columns="SPLIT")


def ask(project: Project, model: Model, version: str, rows: pd.DataFrame) -> pd.DataFrame:
    """As :func:`kept_scores`, scored now by the registered version; few of the files are in memory at once."""
    asked = model.version(version)
    calls = [np.arange(len(rows)) // ROWS_PER_CALL, rows["BYTES"].fillna(0).cumsum().to_numpy() // BYTES_PER_CALL]
    scores = [_ask_once(project, asked, part) for _, part in rows.groupby(calls)]
    return pd.concat(scores, ignore_index=True).dropna(subset=["P_POSITIVE", "PROBABILITIES"])


def _ask_once(project: Project, version: ModelVersion, rows: pd.DataFrame) -> pd.DataFrame:
    answers = score(version, [path.read_bytes() for path in fetch_files(project, rows)])
    stopped = answers["STATUS"].str.startswith(UNLIKE_TRAINING)
    return answers[["P_POSITIVE", "PROBABILITIES"]].assign(
        IMAGE_ID=list(rows["IMAGE_ID"]),
        P_POSITIVE=answers["P_POSITIVE"].astype(float),
        TRIAGE=answers["TRIAGE"].mask(stopped, runs.UNLIKE),
    )

"""Promote a version to production if it is not worse, and roll back. Old versions stay in the registry."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from snowflake.ml.model import Model, ModelVersion

from cxr.account.project import Project
from cxr.data.catalog import read_catalog
from cxr.data.pixels import fetch_files
from cxr.evaluation.bootstrap import paired_bootstrap
from cxr.lifecycle import runs
from cxr.lifecycle.registry import run_of
from cxr.serving.scoring import open_registry, score

PRODUCTION, PREVIOUS = "PRODUCTION", "PREVIOUS"
MARGIN = 0.01  # of AUROC: a candidate that is worse by more is not promoted, even if the interval includes zero
MIN_COMPARED = 4  # test images that both versions have scored
MAX_RESCORED = 1000  # test images that the production version scores again for the comparison


@dataclass(frozen=True)
class Decision:
    """Whether the candidate was promoted, and the reason.

    `production` is the version in production afterwards. `difference` is the candidate's AUROC minus that of the former
    production version, with its 95% `interval`; None if they were not compared.
    """

    promoted: bool
    reason: str
    production: str
    difference: float | None = None
    interval: tuple[float, float] | None = None


def promote(project: Project, candidate: ModelVersion) -> Decision:
    """Move the alias PRODUCTION, and the model's default, to the candidate if it is not worse than production.

    It counts as worse if, on its own run's test images, the 95% interval of the difference in AUROC is below zero
    (paired bootstrap over patients) or the difference itself is below -0.01. The former production version gets the
    alias PREVIOUS, for :func:`roll_back`.
    """
    model = open_registry(project).get_model(project.settings.model_name)
    present = aliases(model).get(PRODUCTION)
    if present == candidate.version_name:
        return Decision(True, "it is in production already", present)
    if present is None:
        _move(model, None, candidate.version_name)
        return Decision(True, "it is the first", candidate.version_name)
    found = _compare(project, candidate.version_name, present)
    if isinstance(found, str):
        return Decision(False, found, present)
    value, interval = found["difference"], tuple(found["interval"])
    words = f"AUROC {value:+.4f} (95% {interval[0]:+.4f} to {interval[1]:+.4f}) against {present}"
    if found["worse"] or value < -MARGIN:
        return Decision(False, f"worse on the same test patients: {words}", present, value, interval)
    _move(model, present, candidate.version_name)
    return Decision(True, f"not worse on the same test patients: {words}", candidate.version_name, value, interval)


def roll_back(project: Project) -> str:
    """Swap the aliases PRODUCTION and PREVIOUS. Returns the name of the version that is now in production.

    Raises:
        LookupError: no version has the alias PREVIOUS.
    """
    model = open_registry(project).get_model(project.settings.model_name)
    named = aliases(model)
    if PREVIOUS not in named:
        raise LookupError(f"cannot roll back: no version of {project.settings.model_name} has the alias {PREVIOUS}")
    _move(model, named.get(PRODUCTION), named[PREVIOUS])
    return named[PREVIOUS]


def aliases(model: Model) -> dict[str, str]:
    """The version names of the aliases PRODUCTION and PREVIOUS, as far as they are set."""
    versions = model.show_versions()
    named = {}
    for name, text in zip(versions["name"], versions["aliases"], strict=True):
        named |= {alias: name for alias in (PRODUCTION, PREVIOUS) if f'"{alias}"' in str(text).upper()}
    return named


def _move(model: Model, present: str | None, chosen: str) -> None:
    """Set default and aliases. An alias must be removed from one version before another can get it.

    The default moves first, in one statement, so that callers who name no version always reach one.
    """
    model.default = chosen
    for alias in aliases(model):
        model.version(chosen).unset_alias(alias)
    model.version(chosen).set_alias(PRODUCTION)
    if present is not None:
        model.version(present).set_alias(PREVIOUS)


def _compare(project: Project, candidate: str, present: str) -> dict | str:
    """The paired bootstrap of two versions on the candidate's test images, or the reason why it is impossible.

    If the production version's run kept no scores of these images (it was trained on other images), that version scores
    them now. It was not trained on them, because an image never changes its split.
    """
    new = _kept_scores(project, candidate)
    if new is None:
        return f"the run of {candidate} left no scores, so they cannot be compared"
    rows = read_catalog(project).merge(new, on="IMAGE_ID")
    old = _kept_scores(project, present)
    if old is None or len(old.merge(rows, on="IMAGE_ID")) < min(MIN_COMPARED, len(rows)):
        old = _score_again(project, present, rows.head(MAX_RESCORED))
    both = rows.merge(old, on="IMAGE_ID", suffixes=("_NEW", "_OLD"))
    if len(both) < MIN_COMPARED:
        return f"only {len(both)} test images have a score of both {candidate} and {present}: {MIN_COMPARED} are needed"
    labels = (both["LABEL"] == "PNEUMONIA").to_numpy().astype(int)
    if labels.min() == labels.max():
        return "the test images of both are of one class, so they cannot be compared"
    new_scores, old_scores = both["P_PNEUMONIA_NEW"].to_numpy(), both["P_PNEUMONIA_OLD"].to_numpy()
    return paired_bootstrap(labels, new_scores, old_scores, both["PATIENT_ID"].to_numpy())


def _kept_scores(project: Project, version: str) -> pd.DataFrame | None:
    """IMAGE_ID and P_PNEUMONIA of the test images of a version's run; None if the run kept no scores."""
    with tempfile.TemporaryDirectory(prefix="cxr-scores-") as scratch:
        folder = runs.fetch(project, run_of(version), Path(scratch))
        if not (folder / runs.SCORES).exists():
            return None
        kept = runs.read_scores(folder)
    return kept.loc[kept["SPLIT"] == "test", ["IMAGE_ID", "P_PNEUMONIA"]]


def _score_again(project: Project, version: str, rows: pd.DataFrame) -> pd.DataFrame:
    """IMAGE_ID and P_PNEUMONIA of these images, scored now by the registered version."""
    files = [path.read_bytes() for path in fetch_files(project, rows)]
    model = open_registry(project).get_model(project.settings.model_name)
    answers = score(model.version(version), files)
    asked = pd.DataFrame({"IMAGE_ID": list(rows["IMAGE_ID"]), "P_PNEUMONIA": answers["P_PNEUMONIA"].astype(float)})
    return asked.dropna()

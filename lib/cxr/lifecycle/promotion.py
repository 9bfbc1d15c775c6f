"""Which version is in production: moved by rule, kept with a way back. Old versions stay in the registry."""

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
MARGIN = 0.01  # of AUROC: a candidate that is further below is not promoted, however few images there are to tell
FEWEST = 4  # test images with a score of both
AT_MOST = 1000  # test images that production is asked about anew


@dataclass(frozen=True)
class Decision:
    """`promoted`, and why; `difference` is the candidate's AUROC minus production's, with its 95% interval."""

    promoted: bool
    reason: str
    production: str
    difference: float | None = None
    interval: tuple[float, float] | None = None


def promote(project: Project, candidate: ModelVersion) -> Decision:
    """Move the alias PRODUCTION, and the model's default, to the candidate if it is not worse than what stands there.

    Not worse: on the candidate's test images, the 95% interval of the difference in AUROC (bootstrap over patients,
    both models on the same resamples) does not lie below zero, nor the difference below -0.01.
    The version that leaves keeps the alias PREVIOUS, for :func:`roll_back`.
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
    """Put the version that was in production before back there, and the present one into its place; its name.

    Raises:
        LookupError: there is none.
    """
    model = open_registry(project).get_model(project.settings.model_name)
    named = aliases(model)
    if PREVIOUS not in named:
        raise LookupError(f"{project.settings.model_name} has no version with the alias {PREVIOUS} to go back to")
    _move(model, named.get(PRODUCTION), named[PREVIOUS])
    return named[PREVIOUS]


def aliases(model: Model) -> dict[str, str]:
    """The version behind PRODUCTION and PREVIOUS, where they stand."""
    versions = model.show_versions()
    named = {}
    for name, text in zip(versions["name"], versions["aliases"], strict=True):
        named |= {alias: name for alias in (PRODUCTION, PREVIOUS) if f'"{alias}"' in str(text).upper()}
    return named


def _move(model: Model, present: str | None, chosen: str) -> None:
    """An alias is taken from one version before another gets it. The default moves first, in one statement of its own,
    so that who asks for no version is never left without an answer."""
    model.default = chosen
    for alias in aliases(model):
        model.version(chosen).unset_alias(alias)
    model.version(chosen).set_alias(PRODUCTION)
    if present is not None:
        model.version(present).set_alias(PREVIOUS)


def _compare(project: Project, candidate: str, present: str) -> dict | str:
    """The paired bootstrap of two versions on the candidate's test images, or why there can be none.

    Production is asked anew where its run kept no scores of them, as after training on other images. It has not seen
    them: an image never leaves its split.
    """
    new = _kept_scores(project, candidate)
    if new is None:
        return f"the run of {candidate} left no scores, so they cannot be compared"
    rows = read_catalog(project).merge(new, on="IMAGE_ID")
    old = _kept_scores(project, present)
    if old is None or len(old.merge(rows, on="IMAGE_ID")) < min(FEWEST, len(rows)):
        old = _ask(project, present, rows.head(AT_MOST))
    both = rows.merge(old, on="IMAGE_ID", suffixes=("_NEW", "_OLD"))
    if len(both) < FEWEST:
        return f"only {len(both)} test images have a score of both {candidate} and {present}: {FEWEST} are needed"
    labels = (both["LABEL"] == "PNEUMONIA").to_numpy().astype(int)
    if labels.min() == labels.max():
        return "the test images of both are of one class, so they cannot be compared"
    new_scores, old_scores = both["P_PNEUMONIA_NEW"].to_numpy(), both["P_PNEUMONIA_OLD"].to_numpy()
    return paired_bootstrap(labels, new_scores, old_scores, both["PATIENT_ID"].to_numpy())


def _kept_scores(project: Project, version: str) -> pd.DataFrame | None:
    """IMAGE_ID and P_PNEUMONIA of the test images of a version's run, where it left them."""
    with tempfile.TemporaryDirectory(prefix="cxr-scores-") as scratch:
        folder = runs.fetch(project, run_of(version), Path(scratch))
        if not (folder / runs.SCORES).exists():
            return None
        kept = runs.read_scores(folder)
    return kept.loc[kept["SPLIT"] == "test", ["IMAGE_ID", "P_PNEUMONIA"]]


def _ask(project: Project, version: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The same, from the registered version itself."""
    files = [path.read_bytes() for path in fetch_files(project, rows)]
    model = open_registry(project).get_model(project.settings.model_name)
    answers = score(model.version(version), files)
    asked = pd.DataFrame({"IMAGE_ID": list(rows["IMAGE_ID"]), "P_PNEUMONIA": answers["P_PNEUMONIA"].astype(float)})
    return asked.dropna()

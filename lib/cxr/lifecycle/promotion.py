"""Which version is in production: moved by rule, recorded, with a way back. Old versions stay in the registry."""

import json
from dataclasses import dataclass
from pathlib import Path

from snowflake.ml.model import Model, ModelVersion

from cxr.account.project import Project
from cxr.data.pixels import cache_directory
from cxr.earlier_versions import read_evaluation
from cxr.lifecycle import promotion_records, runs
from cxr.lifecycle.comparison import Comparison, compare
from cxr.lifecycle.registry import run_of
from cxr.model.config import ModelConfig
from cxr.serving.scoring import find_version, open_registry

PRODUCTION, PREVIOUS = "PRODUCTION", "PREVIOUS"
MARGIN = 0.01  # of AUROC: a candidate that is further below is not promoted, however few images there are to tell


@dataclass(frozen=True)
class Decision:
    """`promoted`, and why; `production` is the version in production now, None where there is none.

    `difference` is the candidate's AUROC minus production's, with its 95% interval.
    """

    promoted: bool
    reason: str
    production: str | None
    difference: float | None = None
    interval: tuple[float, float] | None = None


def promote(project: Project, candidate: ModelVersion, across_labels: bool = False) -> Decision:
    """Move the alias PRODUCTION, and the model's default, to the candidate if it is good enough and not worse.

    Good enough: trained on patients and not on phantoms, by no smoke run; test AUROC at least `least_auroc`, its 95%
    interval above 0.5. Not worse: on the candidate's test images, the 95% interval of the difference in AUROC
    (bootstrap over patients, both models on the same resamples) does not lie below zero, nor the difference below
    -0.01; with the same three or more classes, the macro AUROC likewise. The version that leaves keeps the alias
    PREVIOUS, for :func:`roll_back`.

    Args:
        across_labels: compare versions of different classes too, by the screening AUROC alone.
    """
    model = open_registry(project).get_model(project.settings.model_name)
    present, name = repair(project, model), candidate.version_name
    if present == name:
        return Decision(True, "it is in production already", present)
    if why := below_the_floor(project, name):
        return Decision(False, why, present)
    if present is None:
        return _move_and_record(project, model, None, name, "it is the first")
    found = compare(project, model, name, present, across_labels)
    if isinstance(found, str):
        return Decision(False, found, present)
    if worse := [each for each in found if each.worse or each.difference < -MARGIN]:
        return _decide(False, f"worse on the same test patients: {_in_words(worse, present)}", present, worse[0])
    moved = _move_and_record(project, model, present, name, f"not worse: {_in_words(found, present)}")
    return _decide(moved.promoted, moved.reason, moved.production, found[0])


def below_the_floor(project: Project, version: str) -> str | None:
    """Why a version must not be in production whatever stands there; None where nothing speaks against it."""
    folder = artifacts(project, version)
    config = ModelConfig.read(folder / "model.json")
    if isinstance(config.data, dict) and config.data["phantoms"]:
        return "it was trained on phantoms, which say nothing about patients"
    if config.profile == "smoke":
        return "a smoke run proves that the parts work; its quality means nothing"
    test = read_evaluation(json.loads((folder / "evaluation.json").read_text()))["test"]["metrics"]["auroc"]
    least, value, low = project.settings.least_auroc, test["value"], test["interval"][0]
    if value is None or low is None:
        return "its AUROC on test patients is undefined, because they are of one class"
    if value < least or low <= 0.5:
        return (
            f"AUROC {value:.3f} (95% from {low:.3f}) on test patients: {least:.2f}, and above 0.5 for sure, is needed"
        )
    return None


def roll_back(project: Project) -> str:
    """Put the version that was in production before back there, and the present one into its place; its name.

    Raises:
        LookupError: there is none.
        RuntimeError: another promotion is under way.
    """
    model = open_registry(project).get_model(project.settings.model_name)
    present, named = repair(project, model), aliases(model)
    if PREVIOUS not in named:
        raise LookupError(f"{project.settings.model_name} has no version with the alias {PREVIOUS} to go back to")
    moved = _move_and_record(project, model, present, named[PREVIOUS], "rolled back")
    if not moved.promoted:
        raise RuntimeError(moved.reason)
    return named[PREVIOUS]


def version_in_use(project: Project) -> tuple[ModelVersion, str]:
    """The version in production, else the model's default, and a sentence that says which it is.

    Raises:
        LookupError: the model has no version yet.
    """
    registry, name = open_registry(project), project.settings.model_name
    if find_version(registry, name) is None:
        raise LookupError(f"{name} has no version yet: run notebooks 03_train and 04_register")
    model = registry.get_model(name)
    production = aliases(model).get(PRODUCTION)
    if production:
        return model.version(production), f"{production}, which is in production"
    return model.default, f"{model.default.version_name}, which is not in production"


def find_named(project: Project, name: str) -> tuple[ModelVersion, str]:
    """A version by its name, and a sentence that says whether it is in production.

    Raises:
        LookupError: there is none of that name; names those that there are.
    """
    registry, model_name = open_registry(project), project.settings.model_name
    version = find_version(registry, model_name, name.upper())
    if version is None:
        known = find_version(registry, model_name) and registry.get_model(model_name).show_versions()["name"]
        there = ", ".join(known) if known is not None else "none"
        raise LookupError(f"{model_name} has no version {name}; there are: {there}")
    production = aliases(registry.get_model(model_name)).get(PRODUCTION)
    found = version.version_name
    return version, f"{found}, which is {'' if found == production else 'not '}in production"


def repair(project: Project, model: Model) -> str | None:
    """The version in production, after what a broken-off promotion left is put right; None where there is none.

    Where the alias is gone, the last recorded version is production: what a promotion that ended put there, what one
    that was broken off had found there.
    """
    promotion_records.wait_for_others(project)
    present, record = aliases(model).get(PRODUCTION), promotion_records.last(project)
    names = set(model.show_versions()["name"])
    if present is None and record:
        kept = record.to_version if record.status == "done" else record.from_version
        if kept in names:
            _move(model, None, kept)
            present = kept
    if record and record.status == "started" and present != record.to_version:
        promotion_records.end(project, record.promotion_id, "broken off")
    elif record and record.status == "started":
        promotion_records.end(project, record.promotion_id, "done")
    if present is not None and model.default.version_name != present:
        model.default = present
    return present


def aliases(model: Model) -> dict[str, str]:
    """The version behind PRODUCTION and PREVIOUS, where they are set."""
    versions = model.show_versions()
    named = {}
    for name, text in zip(versions["name"], versions["aliases"], strict=True):
        named |= {alias: name for alias in (PRODUCTION, PREVIOUS) if f'"{alias}"' in str(text).upper()}
    return named


def artifacts(project: Project, version: str) -> Path:
    """A local folder with what the version's training run left."""
    run_id = run_of(version)
    return runs.fetch(project, run_id, cache_directory() / "runs" / run_id)


def _move_and_record(project: Project, model: Model, present: str | None, chosen: str, reason: str) -> Decision:
    promotion_id = promotion_records.begin(project, present, chosen, reason)
    if promotion_id is None or aliases(model).get(PRODUCTION) != present:
        if promotion_id:
            promotion_records.end(project, promotion_id, "gave way")
        now = aliases(model).get(PRODUCTION)
        return Decision(False, "another promotion was under way: run this again", now)
    _move(model, present, chosen)
    now = aliases(model).get(PRODUCTION)
    promotion_records.end(project, promotion_id, "done" if now == chosen else "gave way")
    if now != chosen:
        return Decision(False, f"another promotion came between: {now} is in production", now)
    return Decision(True, reason, chosen)


def _move(model: Model, present: str | None, chosen: str) -> None:
    """An alias is taken from one version before another gets it. The default moves first, in one statement of its own,
    so that a caller who names no version is never left without an answer."""
    model.default = chosen
    for alias in aliases(model):
        model.version(chosen).unset_alias(alias)
    model.version(chosen).set_alias(PRODUCTION)
    if present is not None:
        model.version(present).set_alias(PREVIOUS)


def _in_words(found: list[Comparison], present: str) -> str:
    parts = [f"{c.metric} {c.difference:+.4f} (95% {c.interval[0]:+.4f} to {c.interval[1]:+.4f})" for c in found]
    return f"{', '.join(parts)} against {present}"


def _decide(promoted: bool, reason: str, production: str | None, found: Comparison) -> Decision:
    return Decision(promoted, reason, production, found.difference, found.interval)

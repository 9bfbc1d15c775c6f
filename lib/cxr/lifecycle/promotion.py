"""Promote a version to production if it is good enough and not worse, record it, roll back.

Old versions stay in the registry.
"""

import json
from dataclasses import dataclass

from snowflake.ml.model import Model, ModelVersion

from cxr.account.project import Project
from cxr.earlier_versions import read_evaluation
from cxr.evaluation.triage import fewest_without_error
from cxr.lifecycle import promotion_records
from cxr.lifecycle.comparison import Comparison, compare
from cxr.lifecycle.registry import artifacts_of
from cxr.model.config import ModelConfig
from cxr.serving.scoring import find_version, open_registry

PRODUCTION, PREVIOUS = "PRODUCTION", "PREVIOUS"
# Of either outcome. If fewer are all right, the exact 95% lower bound, 0.025 ** (1 / patients), is below 0.5, and a
# bootstrap cannot tell: each resample is as perfect (Clopper and Pearson 1934).
MIN_TEST_PATIENTS = fewest_without_error(0.5)
MARGIN = 0.01  # of AUROC: a candidate that is worse by more is not promoted, even if the interval includes zero


@dataclass(frozen=True)
class Decision:
    """Whether the candidate was promoted, and the reason.

    `production` is the version in production afterwards, None if there is none. `difference` is the candidate's AUROC
    minus that of the former production version, with its 95% `interval`; None if they were not compared.
    """

    promoted: bool
    reason: str
    production: str | None
    difference: float | None = None
    interval: tuple[float, float] | None = None


def promote(project: Project, candidate: ModelVersion, across_labels: bool = False) -> Decision:
    """Move the alias PRODUCTION, and the model's default, to the candidate if it is good enough and not worse.

    Good enough: it was not trained on phantoms or by a smoke run, its test AUROC is at least the setting `least_auroc`,
    and the 95% interval of that AUROC is above 0.5, shown by at least six test patients of either outcome.

    Worse, on the candidate's test images: the 95% interval of the difference in AUROC is below zero (paired bootstrap
    over patients), or the difference itself is below -0.01. If both versions have the same three or more classes, the
    same holds for the macro AUROC. Nor may the share of images that are uncertain, or unlike those of training, more
    than double if its 97.5% lower bound, by resampling patients, is above 2%.

    The former production version gets the alias PREVIOUS, for :func:`roll_back`.

    Args:
        across_labels: also compare versions with different classes, or with a class that no test image has, by the
            AUROC of positive against negative only.
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
    if worse := [each for each in found if each.worse or each.is_quality and each.difference < -MARGIN]:
        return _decide(False, f"worse on the same test patients: {_in_words(worse, present)}", present, worse[0])
    moved = _move_and_record(project, model, present, name, f"not worse: {_in_words(found, present)}")
    return _decide(moved.promoted, moved.reason, moved.production, found[0])


def below_the_floor(project: Project, version: str) -> str | None:
    """The reason why a version is not good enough for production, whatever is there now; None if it is."""
    folder = artifacts_of(project, version)
    config = ModelConfig.read(folder / "model.json")
    if isinstance(config.data, dict) and config.data["phantoms"]:
        return "it was trained on phantoms, which say nothing about patients"
    if config.profile == "smoke":
        return "it is from a smoke run, which only checks that the parts work"
    test = read_evaluation(json.loads((folder / "evaluation.json").read_text()))["test"]
    auroc, positive = test["metrics"]["auroc"], test["positive"]
    # Earlier runs did not count patients by outcome; there are at least as many images.
    images = {"positive": positive, "negative": test["images"] - positive}
    patients = test.get("patients_by_outcome", images)
    least, value, low = project.settings.least_auroc, auroc["value"], auroc["interval"][0]
    if value is None or low is None:
        return "its AUROC on test patients is undefined, because they are of one class"
    if min(patients.values()) < MIN_TEST_PATIENTS:
        return (
            f"its AUROC may be chance: {patients['positive']} positive and {patients['negative']} negative test "
            f"patients, and at least {MIN_TEST_PATIENTS} of either are needed. Ingest more patients, then train again"
        )
    if value < least or low <= 0.5:
        return (
            f"AUROC {value:.3f} (95% interval from {low:.3f}) on test patients: at least {least:.2f} is needed, and an "
            "interval above 0.50"
        )
    return None


def roll_back(project: Project) -> str:
    """Swap the aliases PRODUCTION and PREVIOUS. Returns the name of the version that is now in production.

    Raises:
        LookupError: no version has the alias PREVIOUS.
        RuntimeError: another promotion is in progress.
    """
    model = open_registry(project).get_model(project.settings.model_name)
    present, named = repair(project, model), aliases(model)
    if PREVIOUS not in named:
        raise LookupError(f"cannot roll back: no version of {project.settings.model_name} has the alias {PREVIOUS}")
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
        LookupError: there is none of that name; the message names the versions that exist.
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
    """Repair the effects of an interrupted promotion. Returns the version in production, None if there is none.

    If the alias PRODUCTION is missing, the last record decides: the new version of a finished promotion, or the former
    version of an interrupted one.
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
    """The version names of the aliases PRODUCTION and PREVIOUS, as far as they are set."""
    versions = model.show_versions()
    named = {}
    for name, text in zip(versions["name"], versions["aliases"], strict=True):
        named |= {alias: name for alias in (PRODUCTION, PREVIOUS) if f'"{alias}"' in str(text).upper()}
    return named


def _move_and_record(project: Project, model: Model, present: str | None, chosen: str, reason: str) -> Decision:
    promotion_id = promotion_records.begin(project, present, chosen, reason)
    if promotion_id is None or aliases(model).get(PRODUCTION) != present:
        if promotion_id:
            promotion_records.end(project, promotion_id, "gave way")
        now = aliases(model).get(PRODUCTION)
        return Decision(False, "another promotion was in progress: run this again", now)
    _move(model, present, chosen)
    now = aliases(model).get(PRODUCTION)
    promotion_records.end(project, promotion_id, "done" if now == chosen else "gave way")
    if now != chosen:
        return Decision(False, f"another promotion came first: {now} is in production", now)
    return Decision(True, reason, chosen)


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


def _in_words(found: list[Comparison], present: str) -> str:
    parts = [f"{c.metric} {c.difference:+.4f} (95% {c.interval[0]:+.4f} to {c.interval[1]:+.4f})" for c in found]
    return f"{', '.join(parts)} against {present}"


def _decide(promoted: bool, reason: str, production: str | None, found: Comparison) -> Decision:
    return Decision(promoted, reason, production, found.difference, found.interval)

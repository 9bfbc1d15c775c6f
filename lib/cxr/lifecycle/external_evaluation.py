"""A registered version on labelled images from elsewhere, which are not cataloged (external validation)."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from snowflake.ml.model import ModelVersion

from cxr.account import migrate
from cxr.account.project import Project
from cxr.account.tables import temporary
from cxr.data.outside import Outside, Training, read_outside
from cxr.data.sources import PHANTOMS
from cxr.data.splits import class_indices
from cxr.earlier_versions import read_evaluation
from cxr.evaluation.calibration import OperatingPoint
from cxr.evaluation.recalibration import calibration_figures, other_thresholds, reliability_bins
from cxr.evaluation.report import evaluate
from cxr.evaluation.triage import report as report_triage
from cxr.lifecycle import runs
from cxr.lifecycle.registry import artifacts_of, run_of
from cxr.lifecycle.run_images import RunImages, images_of_run
from cxr.model.config import ModelConfig
from cxr.model.labelset import LabelSet
from cxr.model.probabilities import Calibration, choose_classes, p_positive
from cxr.model.zones import to_zones
from cxr.serving.scoring import score

SEED = 0  # of the bootstrap


@dataclass(frozen=True)
class ExternalEvaluation:
    """What was measured, and on what. `report` is one of :func:`cxr.evaluation.report.evaluate`; so are `own_test`,
    the version's figures on its own test patients, and `with_known`, with patients of training (None without any).

    `triage` is of :func:`cxr.evaluation.triage.report`; None if the version has no triage.

    `probabilities` [N, classes] are in the order of `outside.rows`. `list_kept`: the run kept the list of its images.
    `own_test_images` counts images that are test images of the version too: it has not seen them.
    """

    model_name: str
    version: str
    config: ModelConfig
    outside: Outside = field(repr=False)
    report: dict = field(repr=False)
    own_test: dict = field(repr=False)
    with_known: dict | None = field(repr=False)
    calibration: dict = field(repr=False)
    bins: list[dict] = field(repr=False)
    thresholds: list[dict] = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    list_kept: bool
    triage: dict | None = field(repr=False, default=None)
    own_test_images: int = 0

    @property
    def labels(self) -> np.ndarray:
        """Indices into the version's classes, int [N]."""
        return class_indices(self.outside.rows["LABEL"], self.config.labels)

    @property
    def predictions(self) -> np.ndarray:
        """The same of what the version says at its threshold."""
        return choose_classes(self.probabilities, self.config.threshold)

    def to_json(self) -> dict:
        """Everything in numbers; no id of an image or patient, and no name of a file."""
        return {
            "model": self.model_name,
            "version": self.version,
            "files": self.outside.files,
            "left_out": self.outside.left_out,
            "unknown_classes": self.outside.unknown_classes,
            "known_patients": self.outside.known_patients,
            "own_test_images": self.own_test_images,
            "outside": self.report,
            "own_test": self.own_test,
            "with_known_patients": self.with_known,
            "calibration": self.calibration,
            "reliability_bins": self.bins,
            "thresholds": self.thresholds,
            "triage": self.triage,
        }


def evaluate_outside(project: Project, version: ModelVersion, data: str | Path) -> ExternalEvaluation:
    """Measure a version on a labelled folder, zip or `@stage/path`. Nothing of it enters the account.

    Left out, and counted: what the version cannot read or has no class for, copies, and everything that the version
    may have seen in training or validation: the same bytes, nearly the same picture, the same patient (by the
    catalog's rules and key).

    Raises:
        FileNotFoundError: there is no such source, or it holds no image.
        ValueError: its labels, its table or the patients' key cannot be used, or no image is left.
        LookupError: the version's run left no artifacts.
    """
    migrate.upgrade(project)
    run_id = run_of(version.version_name)
    if not {"model.json", "evaluation.json"} <= runs.list_files(project).get(run_id, set()):
        raise LookupError(f"{version.version_name}: its run {run_id} is not on {project.artifacts_stage}/runs any more")
    folder = artifacts_of(project, version.version_name)
    config = ModelConfig.read(folder / "model.json")
    images = images_of_run(project, run_id)
    training = _read_training(project, images)
    outside = read_outside(
        project, data, LabelSet.from_list(config.labels), training, lambda files: score(version, files)
    )
    if outside.rows.empty:
        raise ValueError(
            f"All {len(outside.known):,} images that could be measured on are of patients who also stand in training"
        )
    report, probabilities = _measure(outside.rows, config)
    both = pd.concat([outside.rows, outside.known], ignore_index=True)
    truth, scores = (class_indices(outside.rows["LABEL"], config.labels) > 0), p_positive(probabilities)
    patients = outside.rows["PATIENT_ID"].to_numpy()
    return ExternalEvaluation(
        model_name=project.settings.model_name,
        version=version.version_name,
        config=config,
        outside=outside,
        report=report,
        own_test=read_evaluation(json.loads((folder / "evaluation.json").read_text()))["test"],
        with_known=_measure(both, config)[0] if len(outside.known) else None,
        calibration=calibration_figures(truth, scores, patients, SEED),
        bins=reliability_bins(truth, scores),
        thresholds=other_thresholds(truth, scores, patients, config.threshold, SEED),
        probabilities=probabilities,
        triage=_measure_triage(outside.rows, config, truth, scores),
        list_kept=images.kept,
        own_test_images=int(outside.rows["IMAGE_ID"].isin(images.of("test")).sum()),
    )


def _read_training(project: Project, images: RunImages) -> Training:
    """The images and patients of the version's training and validation, as far as the catalog still has them."""
    ids = pd.DataFrame({"IMAGE_ID": images.of("train", "validation")})
    with temporary(project.session, "IMAGE_ID STRING", ids) as asked:
        rows = project.session.sql(f"""
            SELECT DISTINCT PATIENT_ID, STARTSWITH(SOURCE, '{PHANTOMS}') AS PHANTOM FROM {project.catalog}
            WHERE IMAGE_ID IN (SELECT IMAGE_ID FROM {asked})""").to_pandas()
    return Training(frozenset(ids["IMAGE_ID"]), frozenset(rows["PATIENT_ID"]), phantoms=bool(rows["PHANTOM"].any()))


def _measure_triage(rows: pd.DataFrame, config: ModelConfig, truth: np.ndarray, scores: np.ndarray) -> dict | None:
    if not config.triage:
        return None
    zones = to_zones(scores, config.rule_out_at, config.rule_in_at)
    return report_triage(truth, np.where(rows["STATUS"] == "ok", zones, None))


def _measure(rows: pd.DataFrame, config: ModelConfig) -> tuple[dict, np.ndarray]:
    """(the report, probabilities [N, classes]), from the answers that the version gave."""
    answers = [json.loads(text) for text in rows["PROBABILITIES"]]
    probabilities = np.array([[answer[name] for name in config.labels] for answer in answers], dtype=np.float64)
    point = OperatingPoint(config.calibration, config.threshold)
    return evaluate(rows, to_logits(probabilities, config.calibration), point, config.labels, SEED), probabilities


def to_logits(probabilities: np.ndarray, calibration: Calibration) -> np.ndarray:
    """What the network said before calibration: the inverse of :meth:`Calibration.probabilities`, up to a constant."""
    logs = np.log(np.maximum(probabilities, 1e-300))
    scaled = logs[:, 1:] - logs[:, :1] if len(calibration.bias) == 1 else logs
    return scaled * calibration.temperature - np.asarray(calibration.bias)

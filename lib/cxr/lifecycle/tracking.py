"""A training run in progress: metrics in Snowflake's experiment tracking, checkpoints on the stage."""

import contextlib
import hashlib
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from snowflake.ml.experiment import ExperimentTracking

from cxr.account.project import Project
from cxr.data.pixels import cache_directory, cache_key, image_size

if TYPE_CHECKING:
    from cxr.training.recipe import Recipe


class Tracker:
    """One run of Snowflake's experiment tracking."""

    def __init__(self, project: Project, parameters: dict):
        self._tracking = ExperimentTracking(
            project.session,
            database_name=project.settings.database,
            schema_name=project.settings.schema,
            capture_source_info=False,
        )
        self._tracking.set_experiment(project.settings.experiment_name)
        # Tracking state is global to the process, and an interrupted run may still be active.
        with contextlib.suppress(RuntimeError):  # raised if no run is active
            self._tracking.end_run(status="FAILED")
        self._tracking.start_run()
        self._finished = False
        self._tracking.log_params(parameters)

    def epoch(self, metrics: dict[str, float]) -> None:
        """Log the metrics of an epoch."""
        self._tracking.log_metrics({key: float(value) for key, value in metrics.items()}, step=int(metrics["epoch"]))

    def finish(self, name: str, evaluation: dict, files: list[Path]) -> None:
        """Log the metrics of the evaluation and the files, then end the run. A second call does nothing."""
        if self._finished:
            return
        values = {
            f"{part}_{key}": metric["value"]
            for part, measured in evaluation.items()
            for key, metric in measured["metrics"].items()
        }
        self._tracking.log_metrics({key: value for key, value in values.items() if value is not None})
        self._tracking.log_params({"run_id": name})
        for file in files:
            self._tracking.log_artifact(str(file))
        self._tracking.end_run()
        self._finished = True


class Checkpoints:
    """The checkpoints of a run: a local folder, and copies on the stage, because a node's disk is lost with the node.

    The folder's name is a hash of network, images, split, settings and recipe, so that a run finds only its own.
    """

    SECONDS = 60  # between two copies of one file: on a GPU, copying can take longer than an epoch

    def __init__(self, project: Project, catalog: pd.DataFrame, recipe: "Recipe"):
        settings = project.settings
        size = image_size(project, catalog)
        what = [settings.backbone, settings.weights, size, asdict(recipe), *catalog["SPLIT"]]
        content = cache_key(catalog["IMAGE_ID"], size)
        key = hashlib.sha256((json.dumps(what) + content).encode()).hexdigest()[:12]
        self.folder = cache_directory() / "checkpoints" / key
        self._session, self._stage = project.session, f"{project.artifacts_stage}/checkpoints/{key}"
        self._copied: dict[str, float] = {}

    def fetch(self) -> None:
        """Download the checkpoints from the stage unless this machine has some."""
        if not (self.folder / "last.pt").exists() and self._session.sql(f"LIST {self._stage}/").collect():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._session.file.get(f"{self._stage}/", self.folder.as_posix())

    def copy(self, path: Path) -> None:
        """Copy a checkpoint to the stage, at most once a minute."""
        if time.monotonic() - self._copied.get(path.name, -math.inf) >= self.SECONDS:
            self._session.file.put(path.as_posix(), self._stage, auto_compress=False, overwrite=True)
            self._copied[path.name] = time.monotonic()

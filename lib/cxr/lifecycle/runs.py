"""What training runs leave in Snowflake: artifacts and checkpoints on the stage, metrics in log and experiment."""

import contextlib
import hashlib
import json
import math
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from snowflake.ml.experiment import ExperimentTracking
from snowflake.snowpark.exceptions import SnowparkSQLException

from cxr.account.project import Project
from cxr.account.tables import append
from cxr.data.pixels import cache_directory, cache_key, preprocessing_hash

if TYPE_CHECKING:  # neither registering nor deploying trains or draws
    from matplotlib.figure import Figure

    from cxr.training.loop import Recipe

WEIGHTS_FOLDER = "weights"
SCORES = "scores.csv"


def run_id(state: dict[str, torch.Tensor], config: dict) -> str:
    """Twelve hexadecimal digits that follow from the weights and the configuration alone."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for key, value in sorted(state.items()):
        digest.update(key.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def save(
    project: Project,
    state: dict[str, torch.Tensor],
    config: dict,
    evaluation: dict,
    history: list[dict[str, float]],
    figures: dict[str, "Figure"],
    scores: pd.DataFrame | None = None,
    tracker: "Tracker | None" = None,
) -> str:
    """Put everything the run leaves on the artifacts stage, then write the training log; returns the run's id.

    The log comes last, so that a run that stands in it is whole.

    Args:
        scores: rows of IMAGE_ID, SPLIT and P_PNEUMONIA, so that a later run can be compared on the same images.
        tracker: is given the figures and files too, and its run ends.
    """
    config = {"preprocessing": preprocessing_hash(), **config}
    name = run_id(state, config)
    with tempfile.TemporaryDirectory(prefix="cxr-run-") as scratch:
        folder = Path(scratch)
        torch.save(state, folder / "network.pt")
        for file, content in (("model", config), ("evaluation", evaluation), ("history", history)):
            (folder / f"{file}.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        if scores is not None:
            scores.to_csv(folder / SCORES, index=False)
        for file, figure in figures.items():
            figure.savefig(folder / f"{file}.png", dpi=120)
        target = f"{project.artifacts_stage}/runs/{name}"
        project.session.file.put(f"file://{folder.as_posix()}/*", target, auto_compress=False, overwrite=True)
        if tracker:
            tracker.finish(name, evaluation, [path for path in folder.iterdir() if path.suffix in (".json", ".png")])
    rows = [
        {"RUN_ID": name, "EPOCH": metrics["epoch"], "METRIC": key, "VALUE": float(value)}
        for metrics in history
        for key, value in metrics.items()
        if key != "epoch"
    ]
    rows += [
        {"RUN_ID": name, "EPOCH": 0, "METRIC": f"{part}_{key}", "VALUE": metric["value"]}
        for part, measured in evaluation.items()
        for key, metric in measured["metrics"].items()
    ]
    frame = pd.DataFrame(rows).assign(LOGGED_AT=pd.Timestamp.now("UTC").tz_localize(None))
    table = project.training_log
    append(project.session, table, frame)
    return name


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
        with contextlib.suppress(RuntimeError):  # raised where none is active
            self._tracking.end_run(
                status="FAILED"
            )  # the object is one a process, and an earlier run may have broken off
        self._tracking.start_run()
        self._tracking.log_params(parameters)

    def epoch(self, metrics: dict[str, float]) -> None:
        """What :func:`cxr.training.loop.train` tells of an epoch."""
        self._tracking.log_metrics({key: float(value) for key, value in metrics.items()}, step=int(metrics["epoch"]))

    def finish(self, name: str, evaluation: dict, files: list[Path]) -> None:
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


class Checkpoints:
    """Where a run's checkpoints lie: in a local folder, and copied to the stage, because a node's disk goes with it.

    The place follows from what is trained on what and how, so that a run finds its own and no other's.
    """

    SECONDS = 60  # between two copies of one file; a GPU's epoch can be shorter than its copying

    def __init__(self, project: Project, catalog: pd.DataFrame, recipe: "Recipe"):
        what = [
            project.settings.backbone,
            project.settings.weights,
            project.settings.image_size,
            asdict(recipe),
            *catalog["SPLIT"],
        ]
        content = cache_key(catalog["IMAGE_ID"], project.settings.image_size)
        key = hashlib.sha256((json.dumps(what) + content).encode()).hexdigest()[:12]
        self.folder = cache_directory() / "checkpoints" / key
        self._session, self._stage = project.session, f"{project.artifacts_stage}/checkpoints/{key}"
        self._copied: dict[str, float] = {}

    def fetch(self) -> None:
        """Get what the stage holds where this machine has nothing."""
        if not (self.folder / "last.pt").exists() and self._session.sql(f"LIST {self._stage}/").collect():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._session.file.get(f"{self._stage}/", self.folder.as_posix())

    def copy(self, path: Path) -> None:
        """Copy a checkpoint to the stage, unless it was copied a moment ago."""
        if time.monotonic() - self._copied.get(path.name, -math.inf) >= self.SECONDS:
            self._session.file.put(path.as_posix(), self._stage, auto_compress=False, overwrite=True)
            self._copied[path.name] = time.monotonic()


def latest(project: Project) -> str:
    """The id of the run that ended last.

    Raises:
        LookupError: there is none; says which notebook to run.
    """
    table = project.session.table(project.training_log)
    newest = table.sort(table["LOGGED_AT"].desc()).select("RUN_ID").first()
    if newest is None:
        raise LookupError(f"{project.settings.training_log_table} holds no run: run notebooks/03_train.ipynb first")
    return newest[0]


def fetch(project: Project, name: str, folder: Path) -> Path:
    """The run's artifacts, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    project.session.file.get(f"{project.artifacts_stage}/runs/{name}/", folder.as_posix())
    return folder


def read_scores(folder: Path) -> pd.DataFrame:
    """IMAGE_ID, SPLIT and P_PNEUMONIA (calibrated) of a fetched run's validation and test images.

    Labels and patients stand in the catalog alone: join them by IMAGE_ID.

    Raises:
        FileNotFoundError: the run left no scores.
    """
    return pd.read_csv(folder / SCORES, dtype={"IMAGE_ID": str})


def staged_weights(project: Project):
    """A function for :func:`cxr.model.network.build` that fetches a file from `@ARTIFACTS/weights/` if it is there."""

    def fetch_file(name: str, folder: Path) -> Path | None:
        try:
            found = project.session.sql(f"LIST {project.artifacts_stage}/{WEIGHTS_FOLDER}/{name}").collect()
        except SnowparkSQLException:
            return None
        if found:
            project.session.file.get(f"{project.artifacts_stage}/{WEIGHTS_FOLDER}/{name}", folder.as_posix())
        return folder / name if found else None

    return fetch_file

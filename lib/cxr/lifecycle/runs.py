"""The results of training runs in Snowflake: artifacts on the stage, metrics in the training log."""

import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from snowflake.snowpark.exceptions import SnowparkSQLException

from cxr import earlier_versions
from cxr.account.project import Project
from cxr.account.tables import merge
from cxr.lifecycle.tracking import Tracker
from cxr.model.config import ModelConfig
from cxr.model.gate import Gate
from cxr.model.probabilities import p_positive

if TYPE_CHECKING:  # matplotlib is not needed to register or deploy
    from matplotlib.figure import Figure

WEIGHTS_FOLDER = "weights"
RUN_ID = re.compile("[0-9a-f]{12}")
SCORES = "scores.csv"
GATE = "gate.npz"
UNLIKE = "unlike"  # in the place of a zone among kept scores: an image that the gate stopped
IMAGES = "images.csv"


def run_id(state: dict[str, torch.Tensor], config: ModelConfig) -> str:
    """Twelve hexadecimal digits: a hash of the weights and the configuration."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    for key, value in sorted(state.items()):
        digest.update(key.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def save(
    project: Project,
    *,
    network: torch.nn.Module,
    config: ModelConfig,
    evaluation: dict,
    history: list[dict[str, float]],
    scores: pd.DataFrame | None = None,
    images: pd.DataFrame | None = None,
    gate: Gate | None = None,
    figures: "dict[str, Figure] | None" = None,
    tracker: Tracker | None = None,
) -> str:
    """Put a run's artifacts on the stage, then write the training log. Returns the run's id.

    The log is written last, so a run in the log has all its artifacts. Saving a run again adds no rows.

    Args:
        network: with the weights to keep.
        evaluation: reports of :func:`cxr.evaluation.report.evaluate`, by split.
        history: metrics of each epoch.
        scores: rows of :func:`scores_of`, so that a later run can be compared on the same images.
        images: the catalog's rows of the run. Their ids and splits are kept, without patients, so that the versions
            that were trained on an image can be found (:mod:`cxr.lifecycle.run_images`).
        gate: where it is on; means and covariances, and no image's features.
        figures: by name. They must not show X-rays: patients' images stay on the images stage.
        tracker: logs the figures and JSON files to the experiment, and ends its run.
    """
    state = {name: value.cpu() for name, value in network.state_dict().items()}
    name = run_id(state, config)
    with tempfile.TemporaryDirectory(prefix="cxr-run-") as scratch:
        folder = Path(scratch)
        torch.save(state, folder / "network.pt")
        config.write(folder / "model.json")
        for file, content in (("evaluation", evaluation), ("history", history)):
            (folder / f"{file}.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        if gate is not None:
            gate.write(folder / GATE)
        if scores is not None:
            scores.to_csv(folder / SCORES, index=False)
        if images is not None:
            images[["IMAGE_ID", "SPLIT"]].sort_values("IMAGE_ID").to_csv(folder / IMAGES, index=False)
        for file, figure in (figures or {}).items():
            figure.savefig(folder / f"{file}.png", dpi=120)
        target = f"{project.artifacts_stage}/runs/{name}"
        project.session.file.put(f"file://{folder.as_posix()}/*", target, auto_compress=False, overwrite=True)
        if tracker:
            tracker.finish(name, evaluation, [path for path in folder.iterdir() if path.suffix in (".json", ".png")])
    rows = _log_rows(name, evaluation, history)
    merge(project.session, project.training_log, rows, keys=["RUN_ID", "EPOCH", "METRIC"])
    # By the account's clock: those of two machines may differ, and the latest run is looked for by this column.
    project.session.sql(
        f"UPDATE {project.training_log} SET LOGGED_AT = SYSDATE() WHERE RUN_ID = ?",
        params=[name],
    ).collect()
    return name


def _log_rows(name: str, evaluation: dict, history: list[dict[str, float]]) -> pd.DataFrame:
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
    return pd.DataFrame(rows)


def scores_of(
    catalog: pd.DataFrame, probabilities: np.ndarray, labels: Sequence[str], zones: np.ndarray | None = None
) -> pd.DataFrame:
    """IMAGE_ID, SPLIT, P_POSITIVE and PROBABILITIES (JSON) of a split's images, and TRIAGE if it is given.

    Args:
        probabilities: [N, classes], calibrated, in the order of the rows; class 0 is the negative one.
        zones: [N], None for an image unlike those of training; kept as `unlike`.
    """
    texts = [json.dumps(dict(zip(labels, row, strict=True))) for row in probabilities.tolist()]
    scores = catalog[["IMAGE_ID", "SPLIT"]].assign(P_POSITIVE=p_positive(probabilities), PROBABILITIES=texts)
    return scores if zones is None else scores.assign(TRIAGE=[zone or UNLIKE for zone in zones])


def latest(project: Project) -> str:
    """The id of the run that was saved last.

    Raises:
        LookupError: there is none; the message names the notebook to run.
    """
    table = project.session.table(project.training_log)
    newest = table.sort(table["LOGGED_AT"].desc()).select("RUN_ID").first()
    if newest is None:
        raise LookupError(f"{project.settings.training_log_table} has no run yet: run notebooks/03_train.ipynb first")
    return newest[0]


def fetch(project: Project, name: str, folder: Path) -> Path:
    """Download a run's artifacts into `folder` and return it. Two processes can fetch the same run at the same time."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as own:
        project.session.file.get(f"{project.artifacts_stage}/runs/{name}/", own)
        for path in Path(own).iterdir():
            path.replace(folder / path.name)
    return folder


def list_files(project: Project) -> dict[str, set[str]]:
    """Run id -> the names of the files that it left on the stage."""
    found: dict[str, set[str]] = {}
    for row in project.session.sql(f"LIST {project.artifacts_stage}/runs/").collect():
        run, name = row["name"].split("/")[-2:]
        found.setdefault(run, set()).add(name)
    return found


def read_scores(folder: Path) -> pd.DataFrame:
    """IMAGE_ID, SPLIT and P_POSITIVE (calibrated) of a fetched run's validation and test images.

    Labels and patients are only in the catalog: join by IMAGE_ID.

    Raises:
        FileNotFoundError: the run has no scores.
    """
    return earlier_versions.read_scores(pd.read_csv(folder / SCORES, dtype={"IMAGE_ID": str}))


def staged_weights(project: Project):
    """A function for :mod:`cxr.training.pretrained` that downloads a file of weights, or returns None.

    It takes a place (`@stage/file`), a run's id, or the name of a file in `@ARTIFACTS/weights/`.
    """

    def fetch_file(name: str, folder: Path) -> Path | None:
        if name.startswith("@"):
            place = name
        elif RUN_ID.fullmatch(name):
            place = f"{project.artifacts_stage}/runs/{name}/network.pt"
        else:
            place = f"{project.artifacts_stage}/{WEIGHTS_FOLDER}/{name}"
        try:
            found = project.session.sql(f"LIST {place}").collect()
        except SnowparkSQLException:
            return None
        if found:
            project.session.file.get(place, folder.as_posix())
        return folder / Path(place).name if found else None

    return fetch_file

"""A training run's leavings: a folder of artifacts on the stage, and its metrics in the training log."""

import hashlib
import json
import tempfile
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from snowflake.snowpark import Session
from snowflake.snowpark.exceptions import SnowparkSQLException

from cxr.settings import Settings
from cxr.tables import append

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
    session: Session,
    settings: Settings,
    state: dict[str, torch.Tensor],
    config: dict,
    evaluation: dict,
    history: list[dict[str, float]],
    figures: dict[str, Figure],
    scores: pd.DataFrame | None = None,
) -> str:
    """Put everything the run leaves on the artifacts stage, then write the training log; returns the run's id.

    The log comes last, so that a run that stands in it is whole.

    Args:
        scores: rows of IMAGE_ID, SPLIT and P_PNEUMONIA, so that a later run can be compared on the same images.
    """
    name = run_id(state, config)
    with tempfile.TemporaryDirectory(prefix="cxr-run-") as scratch:
        folder = Path(scratch)
        torch.save(state, folder / "network.pt")
        for file, content in (("model", config), ("evaluation", evaluation), ("history", history)):
            (folder / f"{file}.json").write_text(json.dumps(content, indent=2) + "\n")
        if scores is not None:
            scores.to_csv(folder / SCORES, index=False)
        for file, figure in figures.items():
            figure.savefig(folder / f"{file}.png", dpi=120)
        target = f"{settings.artifacts}/runs/{name}"
        session.file.put(f"file://{folder.as_posix()}/*", target, auto_compress=False, overwrite=True)
    rows = [
        {"RUN_ID": name, "EPOCH": metrics["epoch"], "METRIC": key, "VALUE": float(value)}
        for metrics in history
        for key, value in metrics.items()
        if key != "epoch"
    ]
    rows += [
        {"RUN_ID": name, "EPOCH": 0, "METRIC": f"{part}_{key}", "VALUE": metric["value"]}
        for part in ("validation", "test")
        for key, metric in evaluation[part]["metrics"].items()
    ]
    frame = pd.DataFrame(rows).assign(LOGGED_AT=pd.Timestamp.now("UTC").tz_localize(None))
    table = settings.qualified(settings.training_log_table)
    append(session, table, frame)
    return name


def latest(session: Session, settings: Settings) -> str:
    """The id of the run that ended last.

    Raises:
        LookupError: there is none; says which notebook to run.
    """
    table = session.table(settings.qualified(settings.training_log_table))
    newest = table.sort(table["LOGGED_AT"].desc()).select("RUN_ID").first()
    if newest is None:
        raise LookupError(f"{settings.training_log_table} holds no run: run notebooks/03_train.ipynb first")
    return newest[0]


def fetch(session: Session, settings: Settings, name: str, folder: Path) -> Path:
    """The run's artifacts, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    session.file.get(f"{settings.artifacts}/runs/{name}/", folder.as_posix())
    return folder


def read_scores(folder: Path) -> pd.DataFrame:
    """IMAGE_ID, SPLIT and P_PNEUMONIA (calibrated) of a fetched run's validation and test images.

    Labels and patients stand in the catalog alone: join them by IMAGE_ID.

    Raises:
        FileNotFoundError: the run left no scores.
    """
    return pd.read_csv(folder / SCORES)


def staged_weights(session: Session, settings: Settings):
    """A function for :func:`cxr.network.build` that fetches a file from `@ARTIFACTS/weights/` if it is there."""

    def fetch_file(name: str, folder: Path) -> Path | None:
        try:
            found = session.sql(f"LIST {settings.artifacts}/{WEIGHTS_FOLDER}/{name}").collect()
        except SnowparkSQLException:
            return None
        if found:
            session.file.get(f"{settings.artifacts}/{WEIGHTS_FOLDER}/{name}", folder.as_posix())
        return folder / name if found else None

    return fetch_file

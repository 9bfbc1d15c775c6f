"""Call the registered model and record its predictions: for one image with its heat map, or for many images."""

import base64
import hashlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import app_account
import numpy as np
import pandas as pd
import streamlit as st
from app_common import Choice
from PIL import Image

from cxr.model import preprocessing
from cxr.serving import predictions, scoring

MAX_UPLOAD_BYTES = 12 * 2**20  # 16 MB as base64, the largest text in Snowflake
SHOWN_PIXELS = 800  # the longer side; half the width of a desktop screen
IMAGES_PER_CALL = 100
BYTES_PER_CALL = 64 * 2**20
_ANSWERS_KEPT = 20


@dataclass(frozen=True)
class Study:
    """One image to show and score; `pixels` is uint8 [height, width], reduced to at most 800 pixels a side."""

    image_id: str
    data: bytes
    pixels: np.ndarray
    format: str
    width: int
    height: int


@dataclass(frozen=True)
class Answer:
    """The model's prediction; `heatmap` is a greyscale PNG. Without a probability, `status` has the reason."""

    probability: float | None
    label: str | None
    status: str
    heatmap: bytes | None
    seconds: float


def open_study(data: bytes) -> Study:
    """Decode and check a file before it is sent to the model. Raises preprocessing.BadImage."""
    if len(data) > MAX_UPLOAD_BYTES:
        raise preprocessing.BadImage("too_large", f"more than {MAX_UPLOAD_BYTES // 2**20} MB")
    xray = preprocessing.decode(data, at_least=SHOWN_PIXELS)
    shown = Image.fromarray(xray.pixels)
    shown.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS), Image.Resampling.BILINEAR)
    return Study(hashlib.sha256(data).hexdigest(), data, np.asarray(shown), xray.format, xray.width, xray.height)


def answer_for(study: Study, choice: Choice) -> Answer:
    """The prediction with its heat map. It is kept in the viewer's own session, so that reruns do not call again."""
    kept = st.session_state.setdefault("answers", {})
    key = (study.image_id, choice.version.name, choice.path)
    if key not in kept:
        start = time.perf_counter()
        row = scoring.explain(app_account.ready_session(), choice.version.asked, study.data, choice.service)
        # Null values may be missing in the answer.
        probability, label, heatmap = (row.get(name) for name in ("P_POSITIVE", "LABEL", "HEATMAP"))
        while len(kept) >= _ANSWERS_KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = Answer(
            probability=None if pd.isna(probability) else float(probability),
            label=label,
            status=row["STATUS"],
            heatmap=base64.b64decode(heatmap) if heatmap else None,
            seconds=time.perf_counter() - start,
        )
        st.session_state.setdefault("unrecorded", []).append((study.image_id, choice, kept[key], _new_request()))
    return kept[key]


def record_answers() -> None:
    """Write this viewer's predictions to the predictions table, each once.

    Called after a prediction is shown, and at the start of every run, in case the viewer left the page before.
    """
    waiting = st.session_state.get("unrecorded", [])
    while waiting:
        image_id, choice, answer, request = waiting[0]
        row = {"P_POSITIVE": answer.probability, "LABEL": answer.label, "STATUS": answer.status}
        _record([image_id], pd.DataFrame([row]), choice, request)
        waiting.pop(0)


def score_rows(
    rows: pd.DataFrame, choice: Choice, report: Callable[[float, str], None]
) -> tuple[pd.DataFrame, list[bytes]]:
    """Fetch, score and record images of the catalog, in calls of up to 100 images or 64 MB.

    Args:
        rows: of the catalog.
        report: called with the fraction that is done, and a text for the viewer.

    Returns:
        The rows with TRUTH, P_POSITIVE, PREDICTED and STATUS, joined by image id, and the files in the same order.
    """
    report(0.0, "Fetching images from the stage")
    files = app_account.read_staged(list(rows["RELATIVE_PATH"]))
    parts = _parts([len(data) for data in files])
    answers = []
    for start, end in parts:
        report(0.2 + 0.7 * start / len(files), f"Scoring images {start + 1} to {end} of {len(files)}")
        answer = scoring.score(choice.version.asked, files[start:end], choice.service, rows_per_call=end - start)
        _record(list(rows["IMAGE_ID"].iloc[start:end]), answer, choice, _new_request())
        answers.append(answer.assign(IMAGE_ID=rows["IMAGE_ID"].iloc[start:end].to_numpy()))
    report(1.0, "Done")
    predicted = pd.concat(answers, ignore_index=True).rename(columns={"LABEL": "PREDICTED"})
    return rows.rename(columns={"LABEL": "TRUTH"}).merge(predicted, on="IMAGE_ID", validate="one_to_one"), files


def _parts(sizes: list[int]) -> list[tuple[int, int]]:
    """(start, end) of the files of each call."""
    parts, start, weight = [], 0, 0
    for position, size in enumerate(sizes):
        if position > start and (position - start == IMAGES_PER_CALL or weight + size > BYTES_PER_CALL):
            parts.append((start, position))
            start, weight = position, 0
        weight += size
    return [*parts, (start, len(sizes))] if sizes else []


def _new_request() -> str:
    """A new id for each prediction of a viewer, so that repeated writes of it add one row only."""
    return uuid.uuid4().hex


def _record(image_ids: list[str], answers: pd.DataFrame, choice: Choice, request: str) -> None:
    predictions.write_predictions(app_account.project(), image_ids, answers, choice.version.name, choice.path, request)
    app_account.recorded_scores.clear()


def to_csv(table: pd.DataFrame) -> bytes:
    """The table as UTF-8 CSV with lower-case column names. Text that a spreadsheet could run as a formula is quoted."""
    shown = table.rename(columns=str.lower)
    for name in shown.select_dtypes(exclude="number"):
        shown[name] = shown[name].map(_cell)
    return shown.to_csv(index=False).encode()


def _cell(text: object) -> object:
    if not isinstance(text, str):
        return text
    line = " ".join(text.split())  # a line break would start a new row in some programs
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line

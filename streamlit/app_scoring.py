"""Score with the registered model and record the answers: one image with its heat map, or many in few calls."""

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import app_account
import app_labels
import app_runs
import numpy as np
import pandas as pd
import streamlit as st
from app_common import Choice
from PIL import Image

from cxr.model import preprocessing
from cxr.serving import predictions, scoring
from cxr.serving.rest_client import ANSWER

MOST = 500  # images of one click; larger sets belong to a batch job, `notebooks/05_deploy.ipynb`
SHOWN_PIXELS = 800  # the longer side; half a desktop's width
IMAGES_PER_CALL = 100
BYTES_PER_CALL = 64 * 2**20
_ANSWERS_KEPT = 20


@dataclass(frozen=True)
class Study:
    """One image that a viewer has opened; `pixels` is uint8 [height, width], reduced to about half a screen.

    `burned_in`: its header says that the picture contains text about the patient. `cataloged`: it is from the stage.
    """

    image_id: str
    data: bytes
    pixels: np.ndarray
    format: str
    width: int
    height: int
    burned_in: bool = False
    cataloged: bool = False


@dataclass(frozen=True)
class Answer:
    """The model's answer; `heatmap` is a greyscale PNG. If there is no probability or label, `status` says why.

    `triage` is a zone of :mod:`cxr.model.zones`; None without a label, and from versions without triage.
    """

    probability: float | None
    probabilities: dict[str, float]
    label: str | None
    status: str
    heatmap: bytes | None
    seconds: float
    triage: str | None = None

    @property
    def is_unlike(self) -> bool:
        """Whether the image is unlike those of training: its probability means little, and it has no label."""
        return self.status.startswith(app_labels.UNLIKE)


def open_study(data: bytes, cataloged: bool = False) -> Study:
    """Check a file before it is sent anywhere. Raises preprocessing.BadImage."""
    if len(data) > scoring.LARGEST_IN_SQL:
        raise preprocessing.BadImage("too_large", f"more than {scoring.LARGEST_IN_SQL // 2**20} MB")
    xray = preprocessing.decode(data, at_least=SHOWN_PIXELS)
    shown = Image.fromarray(xray.pixels)
    shown.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS), Image.Resampling.BILINEAR)
    return Study(hashlib.sha256(data).hexdigest(), data, np.asarray(shown), **_facts(xray), cataloged=cataloged)


def _facts(xray: preprocessing.XRay) -> dict:
    return {name: getattr(xray, name) for name in ("format", "width", "height", "burned_in")}


def answer_for(study: Study, choice: Choice) -> Answer:
    """The model's answer with its heat map. Kept in the viewer's own session, so that reruns do not ask again.

    A click while the model is asked starts a run of the page in a thread of its own, which asks too: both are one
    request. The first thread ends when it next looks into the session's state, so nothing does between the answer and
    its place among those to record.
    """
    kept, waiting, requests = (st.session_state.setdefault(name, {}) for name in ("answers", "unrecorded", "requests"))
    key = (study.image_id, choice.version.name, choice.path)
    if key not in kept:
        request = requests.setdefault(key, _new_request())
        start = time.perf_counter()
        row = scoring.explain(app_account.ready_session(), choice.version.asked, study.data, choice.service)
        while len(kept) >= _ANSWERS_KEPT:
            oldest = next(iter(kept))
            kept.pop(oldest, None)
            requests.pop(oldest, None)
        kept[key] = _read(row, time.perf_counter() - start)
        waiting[request] = (study, choice, kept[key])
    return kept[key]


def _read(row: dict, seconds: float) -> Answer:
    # An answer may leave out what is null.
    probability, label, heatmap, zone = (row.get(name) for name in ("P_POSITIVE", "LABEL", "HEATMAP", "TRIAGE"))
    return Answer(
        probability=None if pd.isna(probability) else float(probability),
        probabilities=app_labels.read_probabilities(row.get("PROBABILITIES")),
        label=None if pd.isna(label) else label,
        status=row["STATUS"],
        heatmap=base64.b64decode(heatmap) if heatmap else None,
        seconds=seconds,
        triage=None if pd.isna(zone) else zone,
    )


def record_answers() -> None:
    """Append this viewer's answers to the predictions table, each answer once.

    Called after an answer is shown, and at the start of every run, in case the viewer left the page before that. Two
    runs may do so at the same time: a request that is written twice adds no row.
    """
    waiting = st.session_state.get("unrecorded", {})
    for request, (study, choice, answer) in list(waiting.items()):
        row = {"P_POSITIVE": answer.probability, "LABEL": answer.label, "STATUS": answer.status}
        row["TRIAGE"] = answer.triage
        row["PROBABILITIES"] = json.dumps(answer.probabilities) if answer.probabilities else None
        _record([study.image_id], pd.DataFrame([row]), choice, request, study.cataloged)
        waiting.pop(request, None)


def score_rows(
    rows: pd.DataFrame,
    choice: Choice,
    report: Callable[[float, str], None],
    picture: Callable[[bytes], str] | None = None,
) -> pd.DataFrame:
    """Fetch, score and record cataloged images, in calls of up to 100 images or 64 MB. Memory holds one call's files.

    A file that is not the cataloged image gets the STATUS `app_labels.CHANGED`, and is neither scored nor recorded.

    Args:
        rows: of the catalog, at most `MOST`: all viewers share the node's disk.
        report: called with the fraction done and the current step.
        picture: makes the column PICTURE of each file.

    Returns:
        the rows with P_POSITIVE, PROBABILITIES, CALLED, STATUS and TRIAGE, paired by image id.
    """
    report(0.0, "Fetching images from the stage")
    ids, answers = list(rows["IMAGE_ID"]), []
    with app_account.staged(list(rows["RELATIVE_PATH"])) as files:
        for start, end in _parts([file.stat().st_size for file in files]):
            report(0.2 + 0.7 * start / len(files), f"Scoring images {start + 1} to {end} of {len(files)}")
            answers.append(_score_part(ids[start:end], files[start:end], choice, picture))
    report(1.0, "Done")
    said = pd.concat(answers).reset_index(names="IMAGE_ID").rename(columns={"LABEL": "CALLED"})
    return rows.rename(columns={"LABEL": "TRUTH"}).merge(said, on="IMAGE_ID", validate="one_to_one")


def _score_part(
    images: list[str], files: list[Path], choice: Choice, picture: Callable[[bytes], str] | None
) -> pd.DataFrame:
    """Score these files in one call, and record the answers. Returns them by image id, with the column PICTURE."""
    read = dict(zip(images, map(app_account.cataloged, files), strict=True))
    good = {image: data for image, data in read.items() if data is not None}
    answers = pd.DataFrame(columns=ANSWER)
    if good:
        answers = scoring.score(choice.version.asked, list(good.values()), choice.service, rows_per_call=len(good))
        _record(list(good), answers, choice, _new_request(), cataloged=True)
    answers = answers.set_index(pd.Index(good)).reindex(index=images, columns=ANSWER)
    answers.loc[[image not in good for image in images], "STATUS"] = app_labels.CHANGED
    return answers.assign(PICTURE=[picture(good[image]) if picture and image in good else "" for image in images])


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
    """A new id for each request of a viewer, so that a repeated write adds no row."""
    return uuid.uuid4().hex


def _record(image_ids: list[str], answers: pd.DataFrame, choice: Choice, request: str, cataloged: bool = False) -> None:
    project, version = app_account.project(), choice.version.name
    predictions.write_predictions(project, image_ids, answers, version, choice.path, request, cataloged)
    app_runs.recorded_scores.clear()
    app_runs.answered_images.clear()

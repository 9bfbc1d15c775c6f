"""A folder of unlabelled images of every kind: each has an answer or a reason, and its truth counts the same day.

CXR_UNLABELLED=1000 does it with a thousand images; `-s` shows the seconds.
"""

import io
import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cxr.data.in_account.test_in_place import images_read_here
from tests.dicom_files import dicom
from tests.pictures import encoded
from tests.registration import log_version
from tests.trained import fit_normalisation, model_config, probability, report_of, two

from cxr.account.project import Project
from cxr.account.session import start_local_account
from cxr.data import catalog, ingest
from cxr.data.in_account import functions
from cxr.data.pixels import fetch_files, provenance
from cxr.data.truth import add_truth
from cxr.lifecycle import runs
from cxr.model import preprocessing
from cxr.model.network import XrayNetwork
from cxr.phantoms.dataset import phantom
from cxr.serving import monitoring
from cxr.serving.scoring_job import score_folder, score_new_images
from cxr.settings import LABELS

IMAGES = int(os.environ.get("CXR_UNLABELLED", "40"))
REASONS = {
    "cut.png": "truncated",
    "blank.png": "blank",
    "text": "unreadable",
    "side.dcm": "lateral",
    "a.csv": "document",
}


def image_file(number: int) -> tuple[str, bytes]:
    """(ending, bytes) of a phantom of its own; healthy ones and others in turn."""
    pixels = phantom(LABELS[number % 2], rng=np.random.default_rng(10_000 + number), size=96, difficulty=0)
    if number % 3 == 2:
        return "", dicom(pixels, 8, allocated=8, StudyInstanceUID=f"1.2.3.{number // 6}", PatientID=f"{number // 6}")
    return (".png", ".jpg")[number % 3], encoded(pixels, ("PNG", "JPEG")[number % 3])


@pytest.fixture
def inbox(tmp_path):
    """(folder, file -> its truth): IMAGES images below folders of dates and wards, and five files that are none."""
    folder, truth = tmp_path / "inbox", {}
    for number in range(IMAGES):
        ending, data = image_file(number)
        name = f"2026-01-{number % 28 + 1:02}/ward {number % 5}/scan {number}{ending}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        truth[name] = LABELS[number % 2]
    good = image_file(0)[1]
    for name, data in {
        "cut.png": good[: len(good) // 2],
        "text": b"no image",
        "side.dcm": dicom(np.arange(64 * 64).reshape(64, 64), ViewPosition="LL"),
        "a.csv": b"1,2\n",
    }.items():
        (folder / name).write_bytes(data)
    Image.new("L", (64, 64), 9).save(folder / "blank.png")
    return folder, truth


@pytest.fixture
def version(empty, tmp_path):
    """A registered network that was trained on nothing; twelve labelled images stand in the catalog."""
    project = empty
    start_local_account(project.settings)  # puts this account's token where another test's account may have put its own
    for number in range(12):
        place = tmp_path / "training" / LABELS[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom(LABELS[number % 2], rng=np.random.default_rng(number), size=96)).save(place)
    ingest.ingest(project, tmp_path / "training")
    rows = catalog.read_catalog(project)
    stack = np.stack([preprocessing.load(path.read_bytes(), 64) for path in fetch_files(project, rows)])
    torch.manual_seed(0)
    network = XrayNetwork("mobilenet_v3_large")
    torch.nn.init.normal_(network.backbone.classifier[-1].weight, std=0.3)
    fit_normalisation(network, stack)
    logits = np.random.default_rng(0).normal(size=len(rows))
    report = {split: report_of(rows, logits) for split in ("validation", "test")}
    scores = runs.scores_of(rows.assign(SPLIT="validation"), two(probability(logits)), LABELS)
    run = runs.save(
        project, network=network, config=model_config(**provenance(stack, rows)), evaluation=report,
        history=[{"epoch": 1, "loss": 0.7}], scores=scores,
    )  # fmt: skip
    return log_version(project, run, runs.fetch(project, run, tmp_path / "run"))


@pytest.mark.parametrize("path", ["WAREHOUSE", "BATCH"])
def test_a_file_that_is_lost_or_changed_is_named_and_the_others_are_scored(empty, version, path):
    project = empty
    if path == "BATCH":
        project = Project(project.session, replace(project.settings, scoring_job_from=1))
    places = project.session.table(project.catalog).to_pandas().set_index("IMAGE_ID")["RELATIVE_PATH"]
    lost, changed = sorted(places)[:2]
    project.session.sql(f"REMOVE {project.images_stage}/{lost}").collect()
    place = f"{project.images_stage}/{changed}"
    with project.session.file.get_stream(place) as file:
        other = bytes(file.read(-1)[:-1]) + b"."
    project.session.file.put_stream(io.BytesIO(other), place, auto_compress=False, overwrite=True)  # of the same size
    with pytest.raises(ValueError, match=f"1 images are lost .first: {lost}") as raised:
        score_new_images(project, version)
    assert f"1 images do not hold what their names say (first: {changed}" in str(raised.value)
    assert str(raised.value).count("REMOVE") == 1
    answers = project.session.table(project.predictions).to_pandas()
    assert len(answers) == 10 and set(answers["STATUS"]) == {"ok"} and set(answers["PATH_TAKEN"]) == {path}
    assert not {lost, changed} & set(answers["IMAGE_ID"].map(places))


def pack_that_may_not_read() -> bytes:
    """The code of the functions in the account, where opening any file stops with an error."""
    packed, buffer, opening = functions.pack(), io.BytesIO(), b"with open_file() as file:"
    with zipfile.ZipFile(io.BytesIO(packed)) as before, zipfile.ZipFile(buffer, "w") as after:
        for name in before.namelist():
            after.writestr(name, before.read(name).replace(opening, b"raise PermissionError\n        " + opening))
    return buffer.getvalue()


def test_files_that_cannot_be_read_now_are_not_to_be_removed(empty, version, monkeypatch):
    project, packed = empty, pack_that_may_not_read()
    monkeypatch.setattr(functions, "pack", lambda: packed)
    with pytest.raises(ValueError, match="12 images could not be read .*PermissionError.*run this again") as raised:
        score_new_images(project, version)
    assert "REMOVE" not in str(raised.value)
    monkeypatch.undo()
    assert score_new_images(project, version) == 12


def test_every_image_has_an_answer_or_a_reason_and_its_truth_counts_the_same_day(
    empty, inbox, version, tmp_path, monkeypatch
):
    project, (folder, truth), start = empty, inbox, time.perf_counter()
    scores = score_folder(project, folder, version)
    results, scored = scores.results.set_index("FILE"), time.perf_counter()
    assert set(results.index) == set(truth) | set(REASONS), "a row for every file"
    assert (results.loc[list(truth), "STATUS"] == "ok").all() and scores.answered == IMAGES
    assert results.loc[list(truth), "P_POSITIVE"].between(0, 1).all()
    assert {name: results.loc[name, "STATUS"].split(":")[0] for name in REASONS} == REASONS
    studies = results.loc[[name for name in truth if not Path(name).suffix], "STUDY_ID"]
    assert studies.notna().all() and studies.nunique() == len({number // 6 for number in range(2, IMAGES, 3)})
    assert monitoring_of(project, version)["WITH_TRUTH"] == 0

    table = tmp_path / "truth.csv"
    table.write_text("file,label\n" + "".join(f"{name},{label}\n" for name, label in truth.items()))
    assert {name: count for name, count in add_truth(project, table).items() if count} == {"labelled": IMAGES}
    told = time.perf_counter()
    seen = images_read_here(monkeypatch, project)
    assert score_new_images(project, version) == 12, "the daily job finds those of the training alone"
    assert not seen, "the warehouse reads the files"
    today = monitoring_of(project, version)
    rows = catalog.read_catalog(project)
    counts = rows["SOURCE_NAME"].isin(truth) | (rows["SPLIT"] == "test")
    assert today["WITH_TRUTH"] == counts.sum() < IMAGES + 12, "all of the inbox, and test images of the training"
    assert today["SHARE_REFUSED"] == 0
    assert len(rows) == IMAGES + 12, "they may be learnt from at the next training"
    answers = project.session.table(project.predictions).to_pandas().set_index("IMAGE_ID")["LABEL"]
    right = (rows["LABEL"].to_numpy() == answers.loc[rows["IMAGE_ID"]].to_numpy())[counts]
    assert today["ACCURACY"] == pytest.approx(right.mean())
    print(f"{IMAGES} images: scored in {scored - start:.1f} s, truth in {told - scored:.1f} s")


def monitoring_of(project, version) -> dict:
    """Today's row of the view MONITORING; of no images where there is none."""
    rows = monitoring.daily(project, 1)
    (today,) = rows[rows["MODEL_VERSION"] == version.version_name].to_dict("records")
    return today

"""A patient is forgotten: nothing of theirs is left, the others stay, and what learned from them is named."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tests.cxr.data.test_any_labels import draw, rows_of
from tests.cxr.data.test_patient_ids import write_dicom
from tests.trained import model_config, probability, report_of, two

from cxr.account.tables import temporary
from cxr.data import pixels
from cxr.data.ingest import ingest
from cxr.lifecycle import runs
from cxr.lifecycle.forgetting import find_patient, forget
from cxr.serving.predictions import merge_answers, write_predictions
from cxr.settings import LABELS

PATIENT = "person7"
COPIED = "PNEUMONIA/person7_virus_1.png"
THEIRS = ["PNEUMONIA/copy.png", "PNEUMONIA/person7_virus_2.png"]  # as the catalog names them


@pytest.fixture
def project(empty, tmp_path, monkeypatch):
    """Eight patients; all images answered, decoded and in a run; two broken files, one of them of the patient."""
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    project, folder = empty, tmp_path / "images"
    project.session.sql(f"REMOVE {project.artifacts_stage}/runs/").collect()
    others = [f"PNEUMONIA/person{number}_bacteria_1.png" for number in range(1, 5)]
    draw(folder, COPIED, THEIRS[1], *others, *[f"NORMAL/IM-{number:04}-0001.png" for number in range(4)])
    (folder / THEIRS[0]).write_bytes((folder / COPIED).read_bytes())
    (folder / "PNEUMONIA" / "person7_virus_3.png").write_bytes(b"no image")
    (folder / "NORMAL" / "IM-0099-0001.png").write_bytes(b"no image")
    write_dicom(folder / "NORMAL" / "scan", "100123", 1)
    ingest(project, folder)
    rows = project.session.table(project.catalog).sort("IMAGE_ID").to_pandas()
    project.session.sql(
        f"UPDATE {project.catalog} SET NEAR_DUPLICATE_OF = ? WHERE PATIENT_ID = 'person1'",
        params=[rows.loc[rows["PATIENT_ID"] == PATIENT, "IMAGE_ID"].iloc[0]],
    ).collect()
    pixels.decoded(project, rows)
    there = replace(project.settings, decode_in="account", image_size=32)  # of another size: not of the cache
    pixels.decoded(replace(project, settings=there), rows)
    answers = pd.DataFrame({"P_POSITIVE": 0.5, "LABEL": "NORMAL", "STATUS": "ok", "PROBABILITIES": None}, rows.index)
    write_predictions(project, rows["IMAGE_ID"], answers, "V", "WAREHOUSE")
    return project


def save_run(project, kept: bool = True) -> str:
    rows = project.session.table(project.catalog).sort("IMAGE_ID").to_pandas()
    logits = np.linspace(-1, 1, len(rows))
    scores = runs.scores_of(rows, two(probability(logits)), LABELS)
    given = dict(network=torch.nn.Linear(3, 2), config=model_config(), history=[{"epoch": 1, "loss": 0.7}])
    report = {"test": report_of(rows, logits)}
    return runs.save(project, evaluation=report, scores=scores, images=rows if kept else None, **given)


def everything(project) -> str:
    """Whatever the account and the cache say, as one text."""
    tables = (project.catalog, project.rejected, project.predictions, project.pixels)
    texts = [project.session.table(name).to_pandas().to_csv() for name in tables]
    stage = project.session.sql(f"LIST {project.images_stage}").to_pandas().to_csv()
    return "\n".join([*texts, stage, *(path.name for path in pixels.cache_directory().rglob("*"))])


def test_nothing_is_left_of_the_patient_and_all_of_the_others(project, tmp_path):
    run_id = save_run(project)
    runs.fetch(project, run_id, pixels.cache_directory() / "runs" / run_id)
    rows = rows_of(project)
    ids = set(rows.loc[THEIRS, "IMAGE_ID"])
    others = set(rows["IMAGE_ID"]) - ids
    assert all(image_id in everything(project) for image_id in ids)
    found = find_patient(project, PATIENT)
    (use,) = found.uses
    split = rows.loc[THEIRS[1], "SPLIT"]
    assert use.run_id == run_id and use.certain and use.splits[split] >= 1 and sum(use.splits.values()) == 2
    assert sum(found.sources.values()) == 4, "two images, a copy of one, a broken file"
    assert PATIENT not in repr(found)
    counts = forget(project, found)
    assert {name: counts[name] for name in ("images", "answers", "scores", "rejections")} == {
        "images": 2, "answers": 2, "scores": 2, "rejections": 2,
    }  # fmt: skip
    after = everything(project)
    assert not any(image_id in after for image_id in ids) and "person7" not in after and "decoded-" not in after
    assert all(after.count(image_id) >= 4 for image_id in others), "row, answer, pixels, file and copy stay"
    assert "IM-0099-0001.png" in after
    scores = runs.read_scores(runs.fetch(project, run_id, tmp_path / "run"))
    assert set(scores["IMAGE_ID"]) == others
    local = pixels.cache_directory() / "runs" / run_id / runs.SCORES
    assert set(pd.read_csv(local)["IMAGE_ID"]) == others
    again = find_patient(project, PATIENT)
    assert not again.uses and not any(forget(project, again).values())


def test_what_a_killed_training_left_is_removed_too(project, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [tmp_path / f"cxr-images-{ended.pid}-abc_123", tmp_path / "cxr-training-abc_123"]
    for folder in left:
        folder.mkdir()
        (folder / "validation_pixels.npy").write_bytes(b"somebody's")
    os.utime(left[1], (0, 0))  # of an earlier version, which did not name the process
    forget(project, find_patient(project, PATIENT))
    assert not any(folder.exists() for folder in left)


def test_an_id_as_the_hospital_writes_it_and_one_of_the_catalog_are_both_understood(project):
    row = rows_of(project).loc["NORMAL/scan"]
    assert row["PATIENT_ID"].startswith("patient-")
    for written in ("100123", row["PATIENT_ID"]):
        assert find_patient(project, written).images["IMAGE_ID"].tolist() == [row["IMAGE_ID"]]
    assert not len(find_patient(project, "100124").images)
    with pytest.raises(ValueError, match="no patient id is given"):
        find_patient(project, " ")


def test_files_of_one_name_in_two_sources_are_said_to_go_together(empty, tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder, name in zip(folders, ("a.png", "b.png"), strict=True):
        draw(folder, f"NORMAL/{name}").joinpath(f"NORMAL/{name}").rename(folder / "NORMAL" / "1.png")
    ingest(empty, folders[0])
    (row,) = empty.session.table(empty.catalog).collect()
    assert find_patient(empty, row["PATIENT_ID"]).doubt == ""
    ingest(empty, folders[1])
    found = find_patient(empty, row["PATIENT_ID"])
    assert len(found.images) == 2 and "files of 2 sources" in found.doubt


def test_a_run_that_kept_no_list_says_so(project):
    save_run(project, kept=False)
    (use,) = find_patient(project, PATIENT).uses
    assert not use.certain and "kept no list" in str(use)


@pytest.mark.parametrize("after", (1, 7, 10))
def test_a_call_that_is_broken_off_is_completed_by_a_second(project, monkeypatch, after):
    save_run(project)
    ids = set(rows_of(project).loc[THEIRS, "IMAGE_ID"])
    found, real, calls = find_patient(project, PATIENT), project.session.sql, []

    def sql(*given, **options):
        calls.append(given)
        if len(calls) == after + 1:
            raise KeyboardInterrupt
        return real(*given, **options)

    with monkeypatch.context() as patched:
        patched.setattr(project.session, "sql", sql)
        try:
            forget(project, found)
        except KeyboardInterrupt:
            assert find_patient_again(real, project), "the rows are the last that goes"
    forget(project, find_patient(project, PATIENT))
    after_both = everything(project)
    assert not any(image_id in after_both for image_id in ids)


def test_answers_that_arrive_after_a_patient_was_forgotten_are_not_stored(project):
    """A job or notebook that began before; no second call could find them, because the catalog knows no such image."""
    rows = rows_of(project)
    ids = set(rows.loc[THEIRS, "IMAGE_ID"])
    others = len(rows) - len(ids)
    answers = pd.DataFrame({"STATUS": "ok"}, rows.index)
    with temporary(project.session, "IMAGE_ID STRING, ANSWER VARIANT, REASON STRING") as told:
        project.session.sql(f"INSERT INTO {told} SELECT IMAGE_ID, NULL, 'ok' FROM {project.catalog}").collect()
        forget(project, find_patient(project, PATIENT))
        assert merge_answers(project, told, "V_JOB", "BATCH") == others
    write_predictions(project, rows["IMAGE_ID"], answers, "V_NOTEBOOK", "REST", cataloged=True)
    assert project.session.table(project.predictions).count() == 3 * others
    assert not any(image_id in everything(project) for image_id in ids)


def find_patient_again(sql, project) -> list:
    return sql(f"SELECT 1 FROM {project.catalog} WHERE PATIENT_ID = '{PATIENT}'").collect()

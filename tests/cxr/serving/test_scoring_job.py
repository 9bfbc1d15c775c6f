"""Every file of a folder has an answer or a reason, whatever the folders are called."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.cxr.data.test_any_labels import draw, rows_of
from tests.cxr.data.test_patient_ids import write_dicom

from cxr.data.ingest import ingest
from cxr.data.survey import survey
from cxr.data.truth import add_truth
from cxr.phantoms.dataset import write_phantoms
from cxr.serving import monitoring, scoring
from cxr.serving.rest_client import ANSWER
from cxr.serving.scoring_job import score_folder, score_new_images


class Version:
    """A registered version that answers by the bytes of the file, and counts what it was asked."""

    version_name = "V_TEST"

    def __init__(self):
        self.asked = 0

    def run(self, images: pd.DataFrame, function_name: str, service_name: str | None) -> pd.DataFrame:
        self.asked += len(images)
        positive = [hashlib.sha256(text.encode()).digest()[0] / 255 for text in images["IMAGE"]]
        answers = [(p, "TB" if p >= 0.5 else "NORMAL", "ok", json.dumps({"NORMAL": 1 - p, "TB": p})) for p in positive]
        return pd.DataFrame(answers, columns=ANSWER[:-1])  # as those that were logged before triage


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def asked_in_sql(monkeypatch):
    """The version above is in no registry: it is asked by id. test_unlabelled.py asks one that is."""

    def score_staged(project, version, images):
        ids = project.session.sql(f"SELECT IMAGE_ID FROM {images}").to_pandas()["IMAGE_ID"]
        answers = version.run(pd.DataFrame({"IMAGE": ids}), "predict", None)
        return answers.assign(TRIAGE=None).set_index(pd.Index(ids))

    monkeypatch.setattr(scoring, "score_staged", score_staged)


@pytest.fixture
def inbox(tmp_path):
    """Three images in folders of any name, one of them twice; a broken one, a blank one, a text."""
    folder = draw(tmp_path / "inbox", "2024-01-03/DOE^JANE/a.png", "ward 7/Normal/b.png", "ward 7/fever/c.png")
    (folder / "copy.png").write_bytes((folder / "ward 7/fever/c.png").read_bytes())
    (folder / "=broken.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / "blank.png")
    (folder / "notes.txt").write_text("hello")
    return folder


def test_every_file_is_answered_or_has_a_reason(empty, tmp_path, inbox):
    project, version = empty, Version()
    ingest(project, draw(tmp_path / "training", "NORMAL/n.png", "TB/t.png"))
    scores = score_folder(project, inbox, version)
    rows = scores.results.set_index("FILE")
    assert set(rows.index) == {str(path.relative_to(inbox)) for path in inbox.rglob("*") if path.is_file()}
    status = rows["STATUS"].str.split(":").str[0]
    assert status[["=broken.png", "blank.png", "notes.txt"]].tolist() == ["unreadable", "blank", "document"]
    assert (status.drop(["=broken.png", "blank.png", "notes.txt"]) == "ok").all() and scores.answered == 4
    assert rows.loc["copy.png", "P_POSITIVE"] == rows.loc["ward 7/fever/c.png", "P_POSITIVE"]
    assert version.asked == 3, "one answer for the same bytes, and the training images were not asked about"
    cataloged = rows_of(project)
    assert pd.isna(cataloged.loc["2024-01-03/DOE^JANE/a.png", ["LABEL", "SPLIT"]]).all()
    assert project.session.table(project.predictions).count() == 3

    again = score_folder(project, inbox, version)
    assert version.asked == 3, "a second call asks nothing"
    pd.testing.assert_frame_equal(again.results, scores.results)

    table = tmp_path / "out" / "scores.csv"
    scores.write(table)
    assert table.stat().st_mode & 0o777 == 0o600
    assert "'=broken.png" in set(pd.read_csv(table)["FILE"]), "no spreadsheet takes a name for a formula"


def test_the_daily_job_does_the_rest_and_truth_reaches_monitoring(empty, tmp_path, inbox):
    project, version = empty, Version()
    monitoring.write_baseline(project, version.version_name, np.linspace(0, 1, 50), "NORMAL")
    ingest(project, draw(tmp_path / "training", "NORMAL/n.png", "TB/t.png"))
    score_folder(project, inbox, version)
    done = []
    assert score_new_images(project, version, on_scored=lambda *counts: done.append(counts)) == 2
    assert done == [(2, 2)] and score_new_images(project, version) == 0
    before = monitoring.daily(project, 1).set_index("MODEL_VERSION").loc["V_TEST", "WITH_TRUTH"]
    truth = tmp_path / "truth.csv"
    truth.write_text("file,label\n2024-01-03/DOE^JANE/a.png,TB\n")
    add_truth(project, truth)
    assert monitoring.daily(project, 1).set_index("MODEL_VERSION").loc["V_TEST", "WITH_TRUTH"] == before + 1


def test_a_study_of_the_header_stands_together_with_its_highest_probability(empty, inbox):
    project, version = empty, Version()
    for number, name in enumerate(("2024-01-03/DOE^JANE/front", "ward 7/later")):
        write_dicom(inbox / name, "1000000", number, study="1.2.826.1")
    results = score_folder(project, inbox, version).results
    first = results.head(2)
    assert first["FILE"].tolist() == ["2024-01-03/DOE^JANE/front", "ward 7/later"]
    assert first["STUDY_ID"].nunique() == 1 and first["STUDY_ID"].str.startswith("study-").all()
    assert (first["STUDY_IMAGES"] == 2).all() and (first["STUDY_HIGHEST"] == first["P_POSITIVE"].max()).all()
    assert results["STUDY_ID"][2:].isna().all()
    assert "1.2.826" not in results.to_csv(), "the study's own id stays in the file"


def test_images_set_aside_say_so(empty, inbox):
    project, version = empty, Version()
    score_folder(project, inbox, version)
    project.session.sql(f"UPDATE {project.catalog} SET SET_ASIDE = 'lateral'").collect()
    project.session.sql(f"DELETE FROM {project.predictions}").collect()
    results = score_folder(project, inbox, version).results.set_index("FILE")
    assert results.loc["ward 7/fever/c.png", "STATUS"].startswith("lateral: set aside")


def test_phantoms_do_not_push_patients_out_of_the_catalog(empty, tmp_path, inbox):
    project = empty
    ingest(project, inbox)
    phantoms = write_phantoms(tmp_path / "phantoms", patients=2, size=64, seed=1)
    with pytest.raises(ValueError, match="phantoms"):
        score_folder(project, phantoms, Version())
    assert rows_of(project)["VANISHED_AT"].isna().all()


def test_phantoms_do_not_leave_the_catalog_without_a_word(empty, tmp_path, inbox):
    project, said = empty, []
    phantoms = write_phantoms(tmp_path / "phantoms", patients=3, images_per_patient=1, size=64, seed=1)
    ingest(project, phantoms)
    score_folder(project, inbox, Version(), warn=said.append)
    assert len(said) == 1 and said[0].startswith("3 phantoms leave the catalog") and "CXR_SCHEMA" in said[0]
    assert any(line.startswith("3 images of patients leave") for line in survey(project, phantoms).summary())
    said.clear()
    score_folder(project, inbox, Version(), warn=said.append)
    assert not said, "nothing leaves a second time"
    ingest(project, phantoms)
    back = project.session.table(project.catalog).to_pandas().set_index("SOURCE_NAME")["VANISHED_AT"]
    assert back[back.index.str.contains("IM-|person")].isna().all(), "as the warning says"

"""Every file of a folder has an answer or a reason, whatever the folders are called."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.cxr.data.in_account.test_in_place import images_read_here
from tests.cxr.data.test_any_labels import draw, rows_of
from tests.cxr.data.test_patient_ids import write_dicom

from cxr.account.project import Project
from cxr.account.tables import append, temporary
from cxr.data.ingest import ingest
from cxr.data.survey import survey
from cxr.data.truth import add_truth
from cxr.lifecycle import promotion
from cxr.phantoms.dataset import write_phantoms
from cxr.serving import monitoring, scoring_job
from cxr.serving.predictions import merge_answers, write_predictions
from cxr.serving.scoring_job import score_folder, score_new_images

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def inbox(tmp_path):
    """Three images in folders of any name, one of them twice; a broken one, a blank one, a text."""
    folder = draw(tmp_path / "inbox", "2024-01-03/DOE^JANE/a.png", "ward 7/Normal/b.png", "ward 7/fever/c.png")
    (folder / "copy.png").write_bytes((folder / "ward 7/fever/c.png").read_bytes())
    (folder / "=broken.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / "blank.png")
    (folder / "notes.txt").write_text("hello")
    return folder


def answers_of(project) -> pd.DataFrame:
    return project.session.table(project.predictions).to_pandas().set_index("IMAGE_ID").sort_index()


def test_every_file_is_answered_or_has_a_reason(empty, tmp_path, inbox, untrained):
    project, version = empty, untrained
    ingest(project, draw(tmp_path / "training", "NORMAL/n.png", "TB/t.png"))
    scores = score_folder(project, inbox, version)
    rows = scores.results.set_index("FILE")
    assert set(rows.index) == {str(path.relative_to(inbox)) for path in inbox.rglob("*") if path.is_file()}
    status = rows["STATUS"].str.split(":").str[0]
    assert status[["=broken.png", "blank.png", "notes.txt"]].tolist() == ["unreadable", "blank", "document"]
    assert (status.drop(["=broken.png", "blank.png", "notes.txt"]) == "ok").all() and scores.answered == 4
    assert rows.loc["copy.png", "P_POSITIVE"] == rows.loc["ward 7/fever/c.png", "P_POSITIVE"]
    assert len(answers_of(project)) == 3, "one answer for the same bytes, and the training images were not asked about"
    cataloged = rows_of(project)
    assert pd.isna(cataloged.loc["2024-01-03/DOE^JANE/a.png", ["LABEL", "SPLIT"]]).all()

    again = score_folder(project, inbox, version)
    assert len(answers_of(project)) == 3, "a second call asks nothing"
    pd.testing.assert_frame_equal(again.results, scores.results)

    table = tmp_path / "out" / "scores.csv"
    scores.write(table)
    assert table.stat().st_mode & 0o777 == 0o600
    assert "'=broken.png" in set(pd.read_csv(table)["FILE"]), "no spreadsheet takes a name for a formula"


def test_one_file_that_is_lost_on_the_stage_has_its_reason_and_the_others_their_answers(
    empty, tmp_path, inbox, untrained, monkeypatch, capsys
):
    project, lost = empty, "ward 7/fever/c.png"

    def ingest_and_lose(*given, **options):
        counts = ingest(*given, **options)
        place = rows_of(project)["RELATIVE_PATH"].reindex(["copy.png", lost]).dropna().iloc[0]  # the same bytes
        project.session.sql(f"REMOVE {project.images_stage}/{place}").collect()
        return counts

    monkeypatch.setattr(scoring_job, "ingest", ingest_and_lose)
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    commands = importlib.import_module("commands")
    monkeypatch.setattr(commands, "_project", lambda *_: project)
    monkeypatch.setattr(promotion, "version_in_use", lambda project: (untrained, "V, which is a test"))
    assert commands.score(str(inbox), str(tmp_path / "scores.csv")) == 1
    rows = pd.read_csv(tmp_path / "scores.csv").set_index("FILE")
    assert rows.loc[[lost, "copy.png"], "STATUS"].str.startswith("lost: ").all()
    assert (rows.loc[["2024-01-03/DOE^JANE/a.png", "ward 7/Normal/b.png"], "STATUS"] == "ok").all()
    said = capsys.readouterr().out
    assert "1 images are lost" in said and "2 lost" in said and "The others are scored" in said


def test_the_daily_job_does_the_rest_and_truth_reaches_monitoring(empty, tmp_path, inbox, untrained):
    project, version = empty, untrained
    monitoring.write_baseline(project, version.version_name, np.linspace(0, 1, 50), "NORMAL")
    ingest(project, draw(tmp_path / "training", "NORMAL/n.png", "TB/t.png"))
    score_folder(project, inbox, version)
    assert score_new_images(project, version) == 2
    assert score_new_images(project, version) == 0
    before = monitoring.daily(project, 1).set_index("MODEL_VERSION").loc[version.version_name, "WITH_TRUTH"]
    truth = tmp_path / "truth.csv"
    truth.write_text("file,label\n2024-01-03/DOE^JANE/a.png,TB\n")
    add_truth(project, truth)
    after = monitoring.daily(project, 1).set_index("MODEL_VERSION").loc[version.version_name, "WITH_TRUTH"]
    assert after == before + 1


def test_many_images_are_scored_by_a_job_of_several_replicas_and_none_comes_here(
    empty, tmp_path, untrained, monkeypatch
):
    """Both paths give the same answers, in as many statements for one image as for three."""
    project, said = empty, {}
    ingest(project, draw(tmp_path / "first", "NORMAL/n.png", "TB/t.png", "TB/u.png"))
    seen = images_read_here(monkeypatch, project)
    for path, settings in {
        "WAREHOUSE": project.settings,
        "BATCH": replace(project.settings, scoring_job_from=1, scoring_replicas=2),
    }.items():
        project.session.sql(f"DELETE FROM {project.predictions}").collect()
        with project.session.query_history() as history:
            assert score_new_images(Project(project.session, settings), untrained) == 3
        said[path] = answers_of(project)
        assert set(said[path]["PATH_TAKEN"]) == {path} and (said[path]["STATUS"] == "ok").all()
    batch = Project(project.session, replace(project.settings, scoring_job_from=1))
    ids = said["BATCH"].index[:1].tolist()
    project.session.sql(f"DELETE FROM {project.predictions} WHERE IMAGE_ID = ?", params=ids).collect()
    with project.session.query_history() as again:
        assert score_new_images(batch, untrained) == 1
    assert len(again.queries) == len(history.queries)
    same = ["P_POSITIVE", "LABEL", "STATUS", "PROBABILITIES", "TRIAGE"]
    pd.testing.assert_frame_equal(said["BATCH"][same], said["WAREHOUSE"][same], atol=1e-6)
    assert not seen, "no image comes to the client"
    left = project.session.sql(f"LIST {project.artifacts_stage}/batch/").collect()
    left += project.session.sql("SHOW TABLES LIKE 'SCORING%'").collect()
    assert not left, "the job's files and its table are gone"


def test_answers_of_earlier_versions_are_written_in_todays_names(empty):
    project, old = empty, {"P_PNEUMONIA": 0.25, "LABEL": "NORMAL", "STATUS": "ok"}
    bad = {"P_PNEUMONIA": None, "LABEL": None, "STATUS": "blank: no contrast"}
    new = {"P_POSITIVE": 0.5, "LABEL": "TB", "STATUS": "ok", "PROBABILITIES": "{}", "TRIAGE": "rule_in"}
    place = dict(RELATIVE_PATH="x", SOURCE="x", SOURCE_NAME="x", PERCEPTUAL_HASH="0", PATIENT_ID="p", FORMAT="PNG")
    known = pd.DataFrame({"IMAGE_ID": list("abc")}).assign(**place, WIDTH=1, HEIGHT=1, BYTES=1)
    append(project.session, project.catalog, known)
    with temporary(project.session, "IMAGE_ID STRING, ANSWER VARIANT, REASON STRING") as answers:
        for image_id, answer in {"a": old, "b": bad, "c": new}.items():
            values = "SELECT ?, PARSE_JSON(?), NULL"
            project.session.sql(f"INSERT INTO {answers} {values}", params=[image_id, json.dumps(answer)]).collect()
        assert merge_answers(project, answers, "V_OLD", "WAREHOUSE") == 3
        assert merge_answers(project, answers, "V_OLD", "WAREHOUSE") == 0, "once"
    write_predictions(project, ["a"], pd.DataFrame([{"STATUS": "ok"}]), "V_OLD", "WAREHOUSE")
    rows = answers_of(project)
    assert len(rows) == 3, "its id is that which the client computes"
    assert rows["P_POSITIVE"].tolist()[::2] == [0.25, 0.5] and pd.isna(rows.loc["b", "P_POSITIVE"])
    assert json.loads(rows.loc["a", "PROBABILITIES"]) == {"NORMAL": 0.75, "PNEUMONIA": 0.25}
    assert pd.isna(rows.loc["b", ["LABEL", "PROBABILITIES", "TRIAGE"]]).all() and rows.loc["c", "TRIAGE"] == "rule_in"
    assert abs(rows["SCORED_AT"] - pd.Timestamp.now("UTC").tz_localize(None)).max() < pd.Timedelta(minutes=1)


def test_a_study_of_the_header_stands_together_with_its_highest_probability(empty, inbox, untrained):
    project, version = empty, untrained
    for number, name in enumerate(("2024-01-03/DOE^JANE/front", "ward 7/later")):
        write_dicom(inbox / name, "1000000", number, study="1.2.826.1")
    results = score_folder(project, inbox, version).results
    first = results.head(2)
    assert first["FILE"].tolist() == ["2024-01-03/DOE^JANE/front", "ward 7/later"]
    assert first["STUDY_ID"].nunique() == 1 and first["STUDY_ID"].str.startswith("study-").all()
    assert (first["STUDY_IMAGES"] == 2).all() and (first["STUDY_HIGHEST"] == first["P_POSITIVE"].max()).all()
    assert results["STUDY_ID"][2:].isna().all()
    assert "1.2.826" not in results.to_csv(), "the study's own id stays in the file"


def test_images_set_aside_say_so(empty, inbox, untrained):
    project, version = empty, untrained
    score_folder(project, inbox, version)
    project.session.sql(f"UPDATE {project.catalog} SET SET_ASIDE = 'lateral'").collect()
    project.session.sql(f"DELETE FROM {project.predictions}").collect()
    results = score_folder(project, inbox, version).results.set_index("FILE")
    assert results.loc["ward 7/fever/c.png", "STATUS"].startswith("lateral: set aside")


def test_phantoms_do_not_push_patients_out_of_the_catalog(empty, tmp_path, inbox, untrained):
    project = empty
    ingest(project, inbox)
    phantoms = write_phantoms(tmp_path / "phantoms", patients=2, size=64, seed=1)
    with pytest.raises(ValueError, match="phantoms"):
        score_folder(project, phantoms, untrained)
    assert rows_of(project)["VANISHED_AT"].isna().all()


def test_phantoms_do_not_leave_the_catalog_without_a_word(empty, tmp_path, inbox, untrained):
    project, said = empty, []
    phantoms = write_phantoms(tmp_path / "phantoms", patients=3, images_per_patient=1, size=64, seed=1)
    ingest(project, phantoms)
    score_folder(project, inbox, untrained, warn=said.append)
    assert len(said) == 1 and said[0].startswith("3 phantoms leave the catalog") and "CXR_SCHEMA" in said[0]
    assert any(line.startswith("3 images of patients leave") for line in survey(project, phantoms).summary())
    said.clear()
    score_folder(project, inbox, untrained, warn=said.append)
    assert not said, "nothing leaves a second time"
    ingest(project, phantoms)
    back = project.session.table(project.catalog).to_pandas().set_index("SOURCE_NAME")["VANISHED_AT"]
    assert back[back.index.str.contains("IM-|person")].isna().all(), "as the warning says"

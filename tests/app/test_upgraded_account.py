"""An account of the last version that knew two classes alone goes on working: tables, views, its model, the pages.

That version's own code, from git, makes the account; a clone without the history skips this file, and
tests/cxr/account/test_migrate.py holds the tables.
"""

import json
import os
import subprocess
import sys

import pytest
from tests.app.conftest import forget, open_session

import cxr
from cxr.account import migrate
from cxr.account.project import Project
from cxr.account.session import PROJECT
from cxr.data import catalog, facts
from cxr.data.pixels import fetch_files
from cxr.earlier_versions import OLD_PROBABILITY
from cxr.lifecycle import parity, runs
from cxr.phantoms.dataset import write_phantoms
from cxr.serving import monitoring, scoring
from cxr.serving.scoring_job import score_folder

BEFORE = "c35c56733f79d975ca2318defa7dfcdd57271949"  # the commit before any label of the data
TABLES = ("IMAGE_CATALOG", "REJECTED_IMAGES", "PREDICTIONS", "TRAINING_LOG", "VALIDATION_BASELINE")


@pytest.fixture(scope="module")
def earlier_code(tmp_path_factory):
    """The files of that version."""
    archive = subprocess.run(
        ["git", "archive", BEFORE, "lib", "sql", "jobs", "tests"], cwd=PROJECT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"this clone has no commit {BEFORE[:7]}: fetch the whole history")
    folder = tmp_path_factory.mktemp("earlier")
    subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
    return folder


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """Where the earlier code draws its phantoms."""
    return tmp_path_factory.mktemp("earlier-phantoms")


@pytest.fixture(scope="module")
def account(earlier_code, scratch, tmp_path_factory):
    """The settings for an account that the earlier code made, filled and closed, in the place of the other tests'."""
    root = tmp_path_factory.mktemp("earlier-account")
    path = os.pathsep.join(str(earlier_code / part) for part in ("lib", "", "jobs"))
    environ = os.environ | {"PYTHONPATH": path, "CXR_IMAGE_SIZE": "64", "CXR_ACCOUNT_DIR": str(root)}
    stop = [sys.executable, "-m", "local_account", "stop", "--root", root]
    make = [sys.executable, PROJECT / "tests" / "app" / "earlier_account.py", root, scratch]
    made = subprocess.run(make, cwd=earlier_code, env=environ, capture_output=True, text=True, check=False)
    subprocess.run(stop, cwd=earlier_code / "lib", env=environ, capture_output=True, check=True)
    assert made.returncode == 0, made.stderr
    forget()
    yield cxr.load(argv=[], environ={}, account_dir=str(root), image_size=64)
    forget()
    subprocess.run(stop, cwd=PROJECT / "lib", capture_output=True, check=True)


@pytest.fixture(scope="module")
def before_and_after(account):
    """The project, its tables before and after the upgrade, and what the upgrade said."""
    session = open_session(account)
    project = Project(session, account)
    before = {name: rows(project, name) for name in TABLES}
    assert OLD_PROBABILITY in before["PREDICTIONS"].columns, "made by the code of before"
    changes = migrate.upgrade(project)
    yield project, before, {name: rows(project, name) for name in TABLES}, changes
    session.close()


def rows(project, table):
    found = project.session.table(project.qualified(table)).to_pandas()
    return found.sort_values(list(found.columns[:2])).reset_index(drop=True)


def test_every_row_is_kept_and_a_second_upgrade_does_nothing(before_and_after):
    project, before, after, changes = before_and_after
    assert changes and migrate.upgrade(project) == []
    assert {name: len(found) for name, found in before.items()} | {"TRAINING_LOG": 1, "REJECTED_IMAGES": 1} == {
        "IMAGE_CATALOG": 100, "REJECTED_IMAGES": 1, "PREDICTIONS": 100, "TRAINING_LOG": 1, "VALIDATION_BASELINE": 10
    }  # fmt: skip
    for name, found in before.items():
        kept = found.rename(columns={OLD_PROBABILITY: "P_POSITIVE"})
        assert kept.equals(after[name][kept.columns]), name
    assert set(after["IMAGE_CATALOG"]["PATIENT_FROM"]) == {"name"}
    assert set(after["VALIDATION_BASELINE"]["NEGATIVE_LABEL"]) == {"NORMAL"}
    assert facts.read(project, phantoms=True).label_set.names == ("NORMAL", "PNEUMONIA")


def test_the_views_have_the_present_form(before_and_after):
    project, _, after, _ = before_and_after
    (day,) = monitoring.daily(project, 7).to_dict("records")
    answers = after["PREDICTIONS"].merge(after["IMAGE_CATALOG"], on="IMAGE_ID", suffixes=("", "_TRUE"))
    held_out = answers[answers["SPLIT"] == "test"]
    assert day["IMAGES"] == 100 and day["WITH_TRUTH"] == len(held_out) > 0 and day["STABILITY_INDEX"] >= 0
    assert day["SHARE_POSITIVE"] == pytest.approx((answers["LABEL"] == "PNEUMONIA").mean())
    assert day["ACCURACY"] == pytest.approx((held_out["LABEL"] == held_out["LABEL_TRUE"]).mean())
    assert {"POSITIVE", "TRULY_POSITIVE", "IN_TRAINING"} <= set(monitoring.counts(project, 7).columns)


def test_views_that_an_interrupted_upgrade_left_are_replaced_by_the_next(before_and_after):
    project, *_ = before_and_after
    view = project.qualified(project.settings.counts_view)
    project.session.sql(f"CREATE OR REPLACE VIEW {view} AS SELECT 1 AS DAY").collect()
    assert migrate.upgrade(project) == ["views: replaced"]
    assert monitoring.daily(project, 7)["IMAGES"].tolist() == [100]


def test_its_version_answers_as_before_through_the_adapter(before_and_after):
    project, _, after, _ = before_and_after
    version = scoring.find_version(scoring.open_registry(project), project.settings.model_name)
    some = catalog.read_catalog(project).head(8)
    files = [path.read_bytes() for path in fetch_files(project, some)]
    answers = scoring.score(version, [*files, b"no image"])
    said = after["PREDICTIONS"].set_index("IMAGE_ID").loc[some["IMAGE_ID"]]
    assert answers["P_POSITIVE"].tolist()[:-1] == pytest.approx(said["P_POSITIVE"].tolist(), abs=parity.TOLERANCE)
    assert answers["LABEL"].tolist()[:-1] == said["LABEL"].tolist()
    assert answers["STATUS"].iloc[-1].startswith("unreadable") and answers["LABEL"].iloc[-1] is None
    for text, positive in zip(answers["PROBABILITIES"][:-1], answers["P_POSITIVE"], strict=False):
        assert json.loads(text) == pytest.approx({"NORMAL": 1 - positive, "PNEUMONIA": positive})
    explained = scoring.explain(project.session, version, files[0])
    assert explained["P_POSITIVE"] == pytest.approx(said["P_POSITIVE"].iloc[0], abs=1e-6) and explained["HEATMAP"]


def test_its_run_is_read_through_the_adapter(before_and_after, tmp_path):
    project, *_ = before_and_after
    folder = runs.fetch(project, runs.latest(project), tmp_path / "run")
    assert OLD_PROBABILITY in (folder / runs.SCORES).read_text()
    assert runs.read_scores(folder)["P_POSITIVE"].between(0, 1).all()


@pytest.mark.parametrize("page", ["", "worklist", "model", "monitoring"])
def test_the_pages_open(before_and_after, open_app, page, words):
    app = open_app(*[page][: bool(page)], **{"split": "all", "n": "100"} if page == "worklist" else {})
    assert not app.exception and not app.error, words(app)
    if page == "model":
        assert {"ROC", "Another threshold"} <= {each.value for each in app.header}
    if page in ("", "model"):
        assert app.selectbox(key="version").value.startswith("V_")


def test_new_images_are_scored_by_its_version_and_stand_in_the_views(before_and_after, tmp_path):
    project, *_ = before_and_after
    version = scoring.find_version(scoring.open_registry(project), project.settings.model_name)
    scores = score_folder(project, write_phantoms(tmp_path / "new", patients=4, size=128, seed=9), version)
    assert scores.answered == len(scores.results) > 0
    assert monitoring.daily(project, 1)["IMAGES"].sum() >= 100 + scores.answered


def test_the_same_arguments_draw_the_same_phantoms_as_then(account, scratch, tmp_path):
    now = write_phantoms(tmp_path, patients=100, images_per_patient=1, size=128, seed=3)
    then = scratch / "set"
    names = sorted(path.relative_to(now) for path in now.rglob("*") if path.is_file())
    assert len(names) == 101 and all((now / name).read_bytes() == (then / name).read_bytes() for name in names)

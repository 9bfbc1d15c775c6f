"""The results of a run in the account: artifacts, log, experiment, checkpoints."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from tests.trained import model_config, probability, report_of, two

from cxr.account.project import Project
from cxr.atomic_files import write_atomically
from cxr.lifecycle import runs, tracking
from cxr.settings import LABELS
from cxr.training.recipe import Recipe
from cxr.training.trainer import CHECKPOINTS

HISTORY = [
    {"epoch": 1, "training_loss": 0.7, "validation_auroc": 0.5},
    {"epoch": 2, "training_loss": 0.4, "validation_auroc": 0.9},
]
NETWORK = torch.nn.Linear(3, 2)
STATE = NETWORK.state_dict()
RECIPE = Recipe(epochs=2)


@pytest.fixture
def rows():
    labels = ["PNEUMONIA", "NORMAL"] * 5
    ids = [f"{i:064x}" for i in range(10)]
    return pd.DataFrame({"IMAGE_ID": ids, "LABEL": labels, "PATIENT_ID": ids, "SPLIT": "test"})


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def test_a_run_leaves_its_files_its_log_and_its_experiment(empty, rows, tmp_path):
    project = empty
    logits = np.linspace(2, -2, 10)
    report = {"test": report_of(rows, logits)}
    scores = runs.scores_of(rows, two(probability(logits)), LABELS)
    tracker = tracking.Tracker(project, {"learning_rate": 0.003})
    for metrics in HISTORY:
        tracker.epoch(metrics)
    figure = plt.figure()
    given = dict(network=NETWORK, config=model_config(), evaluation=report, history=HISTORY, scores=scores)
    name = runs.save(project, **given, figures={"roc": figure}, tracker=tracker)
    rows_logged = project.session.table(project.training_log).count()
    assert runs.save(project, **given, tracker=tracker) == name, "a cell that is run again saves the same run"
    assert project.session.table(project.training_log).count() == rows_logged
    plt.close(figure)

    folder = runs.fetch(project, name, tmp_path / "run")
    assert {path.name for path in folder.iterdir()} == {
        "network.pt", "model.json", "evaluation.json", "history.json", "roc.png", "scores.csv",
    }  # fmt: skip
    assert torch.equal(torch.load(folder / "network.pt", weights_only=True)["weight"], STATE["weight"])
    assert json.loads((folder / "evaluation.json").read_text())["test"]["images"] == 10
    pd.testing.assert_frame_equal(runs.read_scores(folder), scores)
    assert runs.latest(project) == name

    log = project.session.table(project.training_log).to_pandas()
    assert set(log[log["EPOCH"] == 2]["METRIC"]) == {"training_loss", "validation_auroc"}
    figures = log[log["EPOCH"] == 0].set_index("METRIC")["VALUE"]
    assert figures["test_auroc"] == report["test"]["metrics"]["auroc"]["value"]

    experiment = project.qualified(project.settings.experiment_name)
    logged = project.session.sql(f"SHOW RUN METRICS IN EXPERIMENT {experiment}").collect()
    values = {row["name"]: float(row["value"]) for row in logged}
    assert values["validation_auroc"] == 0.9 and values["test_auroc"] == figures["test_auroc"]


def test_the_latest_run_is_the_one_that_ended_last(empty, rows):
    project = empty
    given = dict(network=NETWORK, evaluation={"test": report_of(rows, np.linspace(2, -2, 10))}, history=HISTORY)
    names = [runs.save(project, config=model_config(seed=seed), **given) for seed in (0, 1)]
    assert len(set(names)) == 2, "the same weights of another configuration are another run"
    assert runs.latest(project) == names[1]


def test_an_interrupted_run_does_not_block_the_next(empty):
    project = empty
    tracking.Tracker(project, {"seed": 0}).epoch(HISTORY[0])
    tracker = tracking.Tracker(project, {"seed": 0})
    tracker.finish("abc", {}, [])


def test_checkpoints_are_restored_from_the_stage_if_the_disk_is_lost(empty, rows, cache):
    project = empty
    first = tracking.Checkpoints(project, rows, RECIPE)
    first.fetch()  # there is nothing yet, and that is no error
    first.folder.mkdir(parents=True)
    for name in CHECKPOINTS:
        with write_atomically(first.folder / name) as file:
            torch.save(STATE, file)
        first.copy(first.folder / name)
        (first.folder / name).write_text("newer")
        first.copy(first.folder / name)  # too soon: not sent
        (first.folder / name).unlink()
    again = tracking.Checkpoints(project, rows, RECIPE)
    assert again.folder == first.folder
    again.fetch()
    assert torch.equal(torch.load(again.folder / "last.pt", weights_only=True)["weight"], STATE["weight"])


def test_each_recipe_network_and_split_has_checkpoints_of_its_own(empty, rows, cache):
    project = empty
    other = rows.assign(SPLIT=["train"] + ["test"] * 9)
    changed = [replace(project.settings, **what) for what in (dict(backbone="x"), dict(image_size=32))]
    places = [
        tracking.Checkpoints(Project(project.session, each), *what).folder
        for each, *what in (
            (project.settings, rows, RECIPE),
            (project.settings, rows, Recipe(epochs=3)),
            (project.settings, other, RECIPE),
            (project.settings, rows.head(9), RECIPE),
            *((each, rows, RECIPE) for each in changed),
        )
    ]
    assert len(set(places)) == 6

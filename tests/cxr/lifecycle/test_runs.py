"""The results of a run in the account: artifacts, log, experiment."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from tests.trained import model_config, probability, report_of, two

from cxr.lifecycle import runs, tracking
from cxr.settings import LABELS

HISTORY = [
    {"epoch": 1, "training_loss": 0.7, "validation_auroc": 0.5},
    {"epoch": 2, "training_loss": 0.4, "validation_auroc": 0.9},
]
NETWORK = torch.nn.Linear(3, 2)
STATE = NETWORK.state_dict()


@pytest.fixture
def rows():
    labels = ["PNEUMONIA", "NORMAL"] * 5
    ids = [f"{i:064x}" for i in range(10)]
    return pd.DataFrame({"IMAGE_ID": ids, "LABEL": labels, "PATIENT_ID": ids, "SPLIT": "test"})


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

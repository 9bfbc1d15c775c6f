"""Checkpoints on this machine and on the stage."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from cxr.account.project import Project
from cxr.settings import LABELS
from cxr.training import launch
from cxr.training.batches import Examples
from cxr.training.checkpoints import Checkpoints
from cxr.training.recipe import Recipe
from cxr.training.trainer import LAST

RECIPE = Recipe(epochs=2)


@pytest.fixture
def rows():
    ids = [f"{i:064x}" for i in range(10)]
    splits = ["test"] * 4 + ["validation"] * 4 + ["train"] * 2
    return pd.DataFrame({"IMAGE_ID": ids, "SPLIT": splits, "LABEL": ["NORMAL", "PNEUMONIA"] * 5})


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))


def checkpoints_of(project: Project, rows: pd.DataFrame, recipe=RECIPE, classes=LABELS, tuning=slice(4, 6), start=0.0):
    start = {"weight": torch.tensor([start])}
    return Checkpoints(project, rows, recipe, classes=classes, tuning=rows[tuning], start=start)


def write(checkpoints: Checkpoints, epochs: int) -> None:
    checkpoints.folder.mkdir(parents=True, exist_ok=True)
    torch.save({"history": [{"epoch": number + 1} for number in range(epochs)]}, checkpoints.folder / LAST)


def epochs_here(checkpoints: Checkpoints) -> int:
    return len(torch.load(checkpoints.folder / LAST, weights_only=True)["history"])


def test_the_one_that_goes_further_is_taken_and_a_lost_disk_is_made_good(empty, rows):
    first = checkpoints_of(empty, rows)
    first.fetch()  # there is nothing yet, and that is no error
    write(first, epochs=2)
    first.copy(first.folder / LAST)
    write(first, epochs=3)
    first.copy(first.folder / LAST)  # too soon: not sent
    first.fetch()
    assert epochs_here(first) == 3
    (first.folder / LAST).unlink()
    again = checkpoints_of(empty, rows)
    assert again.folder == first.folder
    again.fetch()
    assert epochs_here(again) == 2
    write(again, epochs=1)  # left by an attempt before
    again.fetch()
    assert epochs_here(again) == 2
    again.clear()
    again.fetch()
    assert not again.folder.exists()


def test_whatever_the_result_depends_on_has_a_folder_of_its_own(empty, rows):
    project = empty
    corrected = rows.assign(LABEL=["PNEUMONIA", *rows["LABEL"][1:]])
    moved = rows.assign(SPLIT=["train", *rows["SPLIT"][1:]])
    changed = [replace(project.settings, **what) for what in (dict(backbone="x"), dict(image_size=32))]
    places = [
        checkpoints_of(project, rows).folder,
        checkpoints_of(project, rows, Recipe(epochs=3)).folder,
        checkpoints_of(project, moved).folder,
        checkpoints_of(project, corrected).folder,
        checkpoints_of(project, rows, classes=LABELS[::-1]).folder,
        checkpoints_of(project, rows, classes=(*LABELS, "EDEMA")).folder,
        checkpoints_of(project, rows, tuning=slice(5, 7)).folder,
        checkpoints_of(project, rows, tuning=slice(4, 8)).folder,
        checkpoints_of(project, rows.head(9)).folder,
        checkpoints_of(project, rows, start=1.0).folder,  # the weights that `weights` stands for have changed
        *(checkpoints_of(Project(project.session, each), rows).folder for each in changed),
    ]
    assert len(set(places)) == 12


def test_a_resumption_without_a_checkpoint_says_that_training_starts_anew(empty, rows, monkeypatch, capsys):
    monkeypatch.setattr(launch, "Trainer", lambda *_: SimpleNamespace(fit=lambda *_: "trained"))
    checkpoints, examples = checkpoints_of(empty, rows), Examples(torch.zeros(0), torch.zeros(0))
    given = dict(train=examples, validation=examples, recipe=RECIPE, checkpoints=checkpoints)
    write(checkpoints, epochs=1)
    assert launch.fit(None, **given, resume=True) == "trained" and not capsys.readouterr().out
    checkpoints.clear()
    assert launch.fit(None, **given, resume=True) == "trained"
    assert "starts anew" in capsys.readouterr().out


def test_only_validation_images_may_choose(empty, rows):
    for tuning in (slice(3, 5), slice(7, 9)):
        with pytest.raises(ValueError, match="validation images of the catalog only"):
            checkpoints_of(empty, rows, tuning=tuning)
    with pytest.raises(ValueError, match="validation images of the catalog only"):
        Checkpoints(empty, rows.drop(index=4), RECIPE, classes=LABELS, tuning=rows[4:6], start={})

"""Checkpoints on this machine and on the stage."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from cxr.account.project import Project
from cxr.training.checkpoints import Checkpoints
from cxr.training.recipe import Recipe
from cxr.training.trainer import LAST

RECIPE = Recipe(epochs=2)


@pytest.fixture
def rows():
    ids = [f"{i:064x}" for i in range(10)]
    return pd.DataFrame({"IMAGE_ID": ids, "SPLIT": "test"})


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))


def write(checkpoints: Checkpoints, epochs: int) -> None:
    checkpoints.folder.mkdir(parents=True, exist_ok=True)
    torch.save({"history": [{"epoch": number + 1} for number in range(epochs)]}, checkpoints.folder / LAST)


def epochs_here(checkpoints: Checkpoints) -> int:
    return len(torch.load(checkpoints.folder / LAST, weights_only=True)["history"])


def test_the_one_that_goes_further_is_taken_and_a_lost_disk_is_made_good(empty, rows):
    first = Checkpoints(empty, rows, RECIPE)
    first.fetch()  # there is nothing yet, and that is no error
    write(first, epochs=2)
    first.copy(first.folder / LAST)
    write(first, epochs=3)
    first.copy(first.folder / LAST)  # too soon: not sent
    first.fetch()
    assert epochs_here(first) == 3
    (first.folder / LAST).unlink()
    again = Checkpoints(empty, rows, RECIPE)
    assert again.folder == first.folder
    again.fetch()
    assert epochs_here(again) == 2
    write(again, epochs=1)  # left by an attempt before
    again.fetch()
    assert epochs_here(again) == 2
    again.clear()
    again.fetch()
    assert not again.folder.exists()


def test_each_recipe_network_and_split_has_a_folder_of_its_own(empty, rows):
    project = empty
    other = rows.assign(SPLIT=["train"] + ["test"] * 9)
    changed = [replace(project.settings, **what) for what in (dict(backbone="x"), dict(image_size=32))]
    places = [
        Checkpoints(Project(project.session, each), *what).folder
        for each, *what in (
            (project.settings, rows, RECIPE),
            (project.settings, rows, Recipe(epochs=3)),
            (project.settings, other, RECIPE),
            (project.settings, rows.head(9), RECIPE),
            *((each, rows, RECIPE) for each in changed),
        )
    ]
    assert len(set(places)) == 6

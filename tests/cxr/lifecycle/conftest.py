"""Phantoms in the catalog, and runs of untrained networks with invented scores."""

import numpy as np
import pandas as pd
import pytest
import torch
from tests.registration import log_version
from tests.trained import fit_normalisation, model_config, probability, report_of, two

from cxr.account.session import start_local_account
from cxr.data import catalog, ingest
from cxr.data.pixels import fetch_files, provenance
from cxr.lifecycle import runs
from cxr.model import preprocessing
from cxr.model.network import XrayNetwork
from cxr.phantoms import dataset
from cxr.settings import LABELS


@pytest.fixture(scope="module")
def rows(account, tmp_path_factory):
    """30 phantoms of 30 patients, all of them test images."""
    project = account
    # Puts this account's token into the environment, where another test's account may have put its own.
    start_local_account(project.settings)
    for name in ("catalog_table", "rejected_table", "predictions_table", "training_log_table"):
        project.session.sql(f"DELETE FROM {project.qualified(getattr(project.settings, name))}").collect()
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    dataset.write_phantoms(folder, patients=30, images_per_patient=1, size=128, seed=7)
    ingest.ingest(project, folder)
    table = project.catalog
    project.session.sql(f"UPDATE {table} SET SPLIT = 'test'").collect()
    return catalog.read_catalog(project)


@pytest.fixture(scope="module")
def files(account, rows):
    return [path.read_bytes() for path in fetch_files(account, rows)]


def save_run_of(account, rows, files, seed: int, skill: float, **changes) -> str:
    """A run with random weights, and with scores that separate the classes by `skill`.

    On validation images they say the opposite, so that nothing can take the one split for the other unnoticed.
    """
    project = account
    torch.manual_seed(seed)
    network = XrayNetwork("mobilenet_v3_large")
    torch.nn.init.normal_(network.backbone.classifier[-1].weight, std=0.3)
    stack = np.stack([preprocessing.load(data, 64) for data in files])
    fit_normalisation(network, stack)
    truth = (rows["LABEL"] == "PNEUMONIA").to_numpy()
    logits = skill * (2 * truth - 1) + np.random.default_rng(seed).normal(size=len(rows))
    report = {split: report_of(rows, said) for split, said in (("validation", -logits), ("test", logits))}
    splits = {"test": logits, "validation": -logits}
    kept = [runs.scores_of(rows.assign(SPLIT=name), two(probability(x)), LABELS) for name, x in splits.items()]
    scores = pd.concat(kept)
    config = model_config(**provenance(stack, rows) | {"seed": seed} | changes)
    history = [{"epoch": 1, "loss": 0.7}]
    return runs.save(project, network=network, config=config, evaluation=report, history=history, scores=scores)


@pytest.fixture(scope="module")
def log(account, rows, files, tmp_path_factory):
    """Registers a run; returns (version, folder of artifacts)."""

    def made(**given):
        run = save_run_of(account, rows, files, **given)
        folder = runs.fetch(account, run, tmp_path_factory.mktemp("run"))
        return log_version(account, run, folder), folder

    return made


@pytest.fixture(scope="module")
def first(log):
    return log(seed=0, skill=3.0)


@pytest.fixture(scope="module")
def save_run(account, rows, files):
    """Saves a run of the given `seed` and `skill`; returns its id."""
    return lambda **given: save_run_of(account, rows, files, **given)

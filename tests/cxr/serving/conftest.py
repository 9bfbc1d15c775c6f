"""A registered version for the tests that need answers and no training."""

import numpy as np
import pandas as pd
import pytest
import torch
from tests.registration import log_version
from tests.trained import model_config, report_of

from cxr.lifecycle import runs
from cxr.model.network import XrayNetwork
from cxr.settings import LABELS


@pytest.fixture(scope="session")
def untrained(account, tmp_path_factory):
    """A registered network of random weights."""
    torch.manual_seed(0)
    network = XrayNetwork("mobilenet_v3_large")
    torch.nn.init.normal_(network.head.weight, std=0.3)
    rows = pd.DataFrame({"IMAGE_ID": list("abcd"), "PATIENT_ID": list("abcd"), "LABEL": LABELS * 2})
    report = report_of(rows, np.array([-1.0, 1.0, -2.0, 2.0]))
    evaluation = {"validation": report, "test": report}
    run = runs.save(
        account, network=network.eval(), config=model_config(), evaluation=evaluation, history=[{"epoch": 1, "loss": 1}]
    )
    return log_version(account, run, runs.fetch(account, run, tmp_path_factory.mktemp("run")))

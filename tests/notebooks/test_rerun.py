"""A cell that is run again gives the same output: people run cells again, and out of order.

Each notebook runs to its end; then every code cell again from the last to the first, quick ones twice, so that a cell
that changes something in place contradicts itself; and once more from the first to the last. What a cell prints, shows
and records must be what it was the first time.
"""

import copy
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from cxr.notebook_metrics import METRICS_TYPE

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["01_setup", "02_data_ingest", "03_train", "04_register", "05_deploy"]
# Cells whose answer must change, and why.
CHANGING = {
    ("01_setup", "make_objects"): "the second time the objects are there already",
    ("02_data_ingest", "ingest_images"): "the second time everything is there already",
    ("02_data_ingest", "record_metrics"): "it records the same counts",
    ("03_train", "train_network"): "it shows images per second",
    ("03_train", "record_metrics"): "it records images per second",
    ("04_register", "promote"): "the second time the version is in production already",
    ("05_deploy", "show_service"): "the service's log grows",
    ("05_deploy", "compare_paths"): "it shows seconds and images per second",
}
# Lines that Snowflake's clients print: links to runs, progress, places of logs, and that a service was dropped while
# they still followed its log.
CLIENTS = re.compile(
    r"View (run|experiment)|Logging model|Model logged|logs saved to|To see logs|Caught an exception when logging"
)
QUICK = 2.0  # seconds
# Cells that need what a later cell takes away, when cells run from the last to the first.
NEEDS_THE_SERVICE = {"show_service", "score_through_service", "score_over_rest", "time_one_image"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("rerun")
    yield place
    stop = [sys.executable, "-m", "local_account", "stop", "--root", str(place / "account")]
    subprocess.run(stop, env=environment(place), check=True)


def environment(place: Path) -> dict[str, str]:
    own = {"CXR_ACCOUNT_DIR": place / "account", "CXR_CACHE_DIR": place / "cache", "PYTHONPATH": ROOT / "lib"}
    knobs = {"CXR_WEIGHTS": "random", "CXR_PROFILE": "smoke", "CXR_PHANTOM_PATIENTS": "18"}
    knobs["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    return os.environ | knobs | {name: str(value) for name, value in own.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_that_is_run_again_gives_the_same_output(folder, name):
    """The notebooks run in order, because each needs the results of those before it."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    assert not differences(notebook, name, environment(folder))


def differences(notebook: nbformat.NotebookNode, name: str, variables: dict[str, str]) -> list[tuple]:
    """(order, cell, first output, second output) of each code cell whose outputs differ."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "notebooks")}})
    found = []
    with client.setup_kernel(env=variables):
        first, backwards = {}, []
        for cell in cells:
            start = time.monotonic()
            first[cell.metadata.name] = said(client, cell)
            if cell.metadata.name not in NEEDS_THE_SERVICE:
                backwards = [cell] * (2 if time.monotonic() - start < QUICK else 1) + backwards
        for order, again in (("backwards", backwards), ("forwards", cells)):
            for cell in again:
                answer = said(client, cell)
                if answer != first[cell.metadata.name] and (name, cell.metadata.name) not in CHANGING:
                    found.append((order, cell.metadata.name, first[cell.metadata.name], answer))
    return found


def said(client: NotebookClient, cell: nbformat.NotebookNode) -> list:
    """The printed text, shown text and metrics of a cell, without times and object addresses."""
    cell = copy.deepcopy(cell)
    try:
        client.execute_cell(cell, 0)
    except CellExecutionError as error:
        return [f"{error.ename}: {error.evalue}"]
    printed = "".join(out.text for out in cell.outputs if out.output_type == "stream" and out.name == "stdout")
    lines = [line for line in printed.replace("\r", "\n").split("\n") if line and not CLIENTS.search(line)]
    shown = [out.data for out in cell.outputs if out.output_type in ("execute_result", "display_data")]
    texts = [re.sub(r"0x[0-9a-f]+", "0x", data.get("text/plain", "")) for data in shown if METRICS_TYPE not in data]
    metrics = [data[METRICS_TYPE] for data in shown if METRICS_TYPE in data]
    untimed = [{key: value for key, value in each.items() if "per_second" not in key} for each in metrics]
    return [lines, texts, untimed]


def test_a_cell_that_uses_a_rebound_name_is_caught(folder):
    """An earlier notebook 03: run again after the test split, it chose the threshold on test images."""
    sources = {
        "imports": "import numpy as np",
        "load": "labels, scores = np.array([0, 1]), np.array([0.2, 0.8])",
        "choose_threshold": "print(scores[labels == 1].min())",
        "evaluate_test": "labels, scores = np.array([0, 1]), np.array([0.1, 0.5])",
        "shift": "scores += 0.1; print(scores.round(3).tolist())",
    }
    cells = [nbformat.v4.new_code_cell(source, metadata={"name": name}) for name, source in sources.items()]
    found = differences(nbformat.v4.new_notebook(cells=cells), "made_up", environment(folder))
    assert {"choose_threshold", "shift"} <= {name for _, name, *_ in found}

"""`python3 ci run`: five notebooks on tiny phantoms, then a fresh process that uses the registered model."""

import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from cxr.notebook_metrics import METRICS_TYPE

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data" / "quickstart_sample"
NAMES = ["01_setup", "02_data_ingest", "03_train", "04_register", "05_deploy"]

ASK_THE_MODEL = """
import base64, json, pandas, cxr
from cxr.phantoms.dataset import write_phantoms
from pathlib import Path
from snowflake.ml.registry import Registry
import sys
new = write_phantoms(Path(sys.argv[1]), patients=4, seed=99)
files = [path.read_bytes() for path in sorted(new.rglob("*.jpeg"))] + [b"not an image"]
session = cxr.connect()
registry = Registry(session, database_name="MEDICAL_IMAGES", schema_name="CHEST_XRAY")
model = registry.get_model("PNEUMONIA_CLASSIFIER")
answer = model.default.run(pandas.DataFrame({"IMAGE": [base64.b64encode(f).decode() for f in files]}),
                           function_name="predict")
print(answer.to_json(orient="records"))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for account, caches and results; the account's server is stopped at the end."""
    folder = tmp_path_factory.mktemp("run")
    yield folder
    stop = [sys.executable, "-m", "local_account", "stop", "--root", str(folder / "account")]
    subprocess.run(stop, env=environment(folder), check=True)


def environment(folder: Path) -> dict[str, str]:
    own = {"CXR_ACCOUNT_DIR": folder / "account", "CXR_CACHE_DIR": folder / "cache", "PYTHONPATH": ROOT / "lib"}
    # No weights are looked for outside: the tests need no network.
    return os.environ | {name: str(value) for name, value in own.items()} | {"CXR_WEIGHTS": "random"}


def run(folder: Path, *arguments: str, build: str = "build", **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "ci"), "run", "--build", str(folder / build), *arguments]
    return subprocess.run(command, env=environment(folder) | variables, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def finished(place):
    done = run(place, "--profile", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def report(place, finished):
    return json.loads((place / "build" / "report.json").read_text())


def test_all_five_notebooks_run_and_are_reported(finished, report):
    assert [(entry["name"], entry["status"]) for entry in report["notebooks"]] == [(name, "ok") for name in NAMES]
    assert all(name in finished.stdout for name in NAMES)
    assert report["data"] == "phantoms" and report["device"] in ("cpu", "cuda")


def test_the_executed_notebooks_have_outputs_and_figures(place, report):
    for name in NAMES:
        notebook = nbformat.read(place / "build" / "notebooks" / f"{name}.ipynb", as_version=4)
        assert any(cell.get("outputs") for cell in notebook.cells)
    pictures = [
        output
        for cell in nbformat.read(place / "build" / "notebooks" / "03_train.ipynb", as_version=4).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 4


def test_what_the_run_leaves_is_readable_by_its_owner_alone(place, report):
    """Executed notebooks and figures show X-rays, and the cache holds them."""
    left = [place / "build", *(place / "build").rglob("*"), place / "cache"]
    assert len(left) > 10
    assert not [path for path in left if path.stat().st_mode & 0o077]


def test_recorded_metrics_are_in_their_valid_ranges(report):
    metrics = {name: value for entry in report["notebooks"] for name, value in entry["metrics"].items()}
    for name in ("test_auroc", "test_sensitivity", "test_specificity", "validation_auroc", "accuracy"):
        assert 0 <= metrics[name] <= 1, name
    assert metrics["imagenet_weights"] == 0
    assert metrics["found"] == metrics["cataloged"] + metrics["rejected"] + metrics["already_there"]
    assert metrics["parity_largest_difference"] < 1e-6 and metrics["largest_difference"] < 1e-6
    assert metrics["rest_images_per_second"] > 0  # it is left out only where there is no endpoint or no token
    assert all(entry["seconds"] > 0 and entry["peak_rss_mb"] > 50 for entry in report["notebooks"])


def test_a_fresh_process_scores_unseen_images_with_the_registered_model(place, report):
    done = subprocess.run(
        [sys.executable, "-c", ASK_THE_MODEL, str(place / "new")],
        env=environment(place),
        cwd=place,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *good, bad = json.loads(done.stdout.splitlines()[-1])
    assert all(row["STATUS"] == "ok" and 0 <= row["P_POSITIVE"] <= 1 for row in good)
    assert bad["P_POSITIVE"] is None and bad["STATUS"].startswith("unreadable")


def test_the_scoring_job_scores_every_image_without_a_prediction_once(place, report):
    job = str(ROOT / "jobs" / "score_new_images.py")
    twice = f"import runpy\nfor _ in range(2):\n    runpy.run_path({job!r}, run_name='__main__')"
    command = [sys.executable, "-c", twice]
    done = subprocess.run(command, env=environment(place), cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    metrics = {name: value for entry in report["notebooks"] for name, value in entry["metrics"].items()}
    # Notebook 5 has asked about the test patients already.
    said = [line for line in done.stderr.splitlines() if line.startswith("done: ")]
    assert said == [f"done: {metrics['cataloged'] - metrics['scored']:.0f} images", "done: 0 images"]


def test_plain_nbconvert_executes_a_notebook_from_any_folder_and_adds_real_xrays_to_the_catalog(place, report):
    """Without shared/data it uses the phantoms, which are already cataloged."""
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(place / "plain")]
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    notebook = ROOT / "notebooks" / "02_data_ingest.ipynb"
    own = environment(place) | {"CXR_PROFILE": "smoke"} | ({"CXR_DATA": str(REAL)} if REAL.is_dir() else {})
    done = subprocess.run([*command, str(notebook)], env=own, cwd=elsewhere, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    metrics = {}
    for cell in nbformat.read(place / "plain" / "02_data_ingest.ipynb", as_version=4).cells:
        for output in cell.get("outputs", []):
            metrics |= output.get("data", {}).get(METRICS_TYPE, {})
    new = metrics["cataloged"] + metrics["rejected"]
    assert metrics["found"] == (69 if REAL.is_dir() else metrics["already_there"] + new) > 0
    assert new == (69 if REAL.is_dir() else 0)


def test_a_failing_cell_stops_the_run_by_name_and_keeps_the_copy(place, report):
    (place / "empty").mkdir()
    done = run(place, "--data", str(place / "empty"), "--only", "02", build="failed")
    assert done.returncode == 1
    assert "02_data_ingest failed in cell 'find_images'" in done.stdout and "empty holds no image" in done.stdout
    failed = json.loads((place / "failed" / "report.json").read_text())
    assert failed["data"] == str(place / "empty")
    assert [(entry["name"], entry["status"]) for entry in failed["notebooks"]] == [("02_data_ingest", "failed")]
    assert (place / "failed" / "notebooks" / "02_data_ingest.ipynb").exists()


def test_the_environments_profile_and_data_hold_unless_options_are_given(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    notebooks = importlib.import_module("notebooks")
    main = runpy.run_path(str(ROOT / "ci" / "__main__.py"), run_name="ci")["main"]
    entry = {"status": "ok", "seconds": 0, "peak_rss_mb": 0, "metrics": {}}
    monkeypatch.setattr(notebooks, "_execute", lambda source, target: entry | {"name": source.stem})
    monkeypatch.setattr(notebooks, "_make_private", lambda folder: folder.mkdir(exist_ok=True))
    for name, value in {"MPLBACKEND": "agg", "CXR_PROFILE": "full", "CXR_DATA": "@A.B.OLD/x"}.items():
        monkeypatch.setenv(name, value)

    def used(*options: str) -> tuple[str, str, str]:
        monkeypatch.setattr(sys, "argv", ["ci", "run", "--only", "01", "--build", str(tmp_path / "build"), *options])
        assert main() == 0
        report = json.loads((tmp_path / "build" / "report.json").read_text())
        return report["profile"], report["data"], os.environ["CXR_PROFILE"]

    assert used() == ("full", "@A.B.OLD/x", "full")
    assert used("--profile", "smoke", "--data", "@A.B.NEW/x") == ("smoke", "@A.B.NEW/x", "smoke")

"""A local account, filled once: 100 phantoms, and a registered network with random weights that was never trained."""

import functools
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit
import torch
from snowflake.snowpark import Session
from streamlit import config as streamlit_config
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.secrets import secrets_singleton
from streamlit.testing.v1 import AppTest
from tests.pictures import encoded
from tests.registration import log_version
from tests.trained import fit_normalisation, model_config

import cxr
from cxr.account.project import Project
from cxr.account.scripts import run_sql_file
from cxr.account.session import PROJECT, start_local_account, use_schema
from cxr.data import catalog, ingest
from cxr.evaluation.calibration import OperatingPoint
from cxr.evaluation.report import evaluate
from cxr.lifecycle import runs
from cxr.model import preprocessing
from cxr.model.network import XrayNetwork, predict_logits
from cxr.model.probabilities import Calibration
from cxr.phantoms import dataset
from cxr.serving import scoring
from cxr.settings import LABELS

THRESHOLD = 0.4
APP = PROJECT / "streamlit" / "streamlit_app.py"
sys.path.insert(0, str(APP.parent))  # as the app does, so that a test can look at its parts before it runs


@pytest.fixture(scope="session", autouse=True)
def one_look_for_components() -> Iterator[None]:
    """Every AppTest reads the metadata of all installed packages, in search of components that this app has none of."""
    with pytest.MonkeyPatch.context() as patch:
        found = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", found)
        streamlit_config.set_option("runner.magicEnabled", False)  # as the app's config.toml says
        yield


@pytest.fixture(scope="session")
def account(tmp_path_factory):
    """The settings of a filled account; its `secrets.toml` lets `st.connection("snowflake")` find it."""
    root = tmp_path_factory.mktemp("app-account")
    settings = cxr.load(argv=[], environ={}, account_dir=str(root), image_size=64)
    session = open_session(settings)
    project = Project(session, settings)
    run_sql_file(project, PROJECT / "sql" / "20_objects.sql")
    use_schema(session, settings)
    fill(project, tmp_path_factory.mktemp("app-phantoms"))
    yield settings
    session.close()
    forget()
    command = [sys.executable, "-m", "local_account", "stop", "--root", str(root)]
    subprocess.run(command, cwd=PROJECT / "lib", check=False, capture_output=True)


def open_session(settings) -> Session:
    """Not `cxr.connect()`: the active session of this process may be another test folder's."""
    opened = Session.builder.configs(start_local_account(settings)).create()
    use_schema(opened, settings)
    return opened


def fill(project, folder: Path, names: tuple[str, ...] = LABELS) -> None:
    dataset.write_phantoms(folder / "set", patients=100, images_per_patient=1, size=128, seed=3)
    rename_classes(folder / "set", names)
    (folder / "set" / names[0] / "IM-9999-0001.jpeg").write_text("no image")
    ingest.ingest(project, folder / "set")
    log_network(project, folder / "run", seed=0, names=names)


def rename_classes(folder: Path, names: tuple[str, ...]) -> None:
    """The two folders of phantoms under other names; what shows a finding is dealt out to all but the first."""
    if names == LABELS:
        return
    (folder / dataset.MANIFEST).unlink()
    normal, sick = ((folder / name).rename(folder / f"old-{name}") for name in LABELS)
    for number, file in enumerate([*sorted(normal.iterdir()), *sorted(sick.iterdir())]):
        name = names[0] if file.parent == normal else names[1 + number % (len(names) - 1)]
        (folder / name).mkdir(exist_ok=True)
        file.rename(folder / name / file.name)
    normal.rmdir()
    sick.rmdir()


def log_network(project, folder: Path, seed: int, names: tuple[str, ...] = LABELS) -> None:
    """Evaluate, save and register a network as the notebooks do."""
    rows = catalog.read_catalog(project)
    staged = folder / "files"
    project.session.file.get(f"{project.images_stage}/xrays/", staged.as_posix())
    files = [(staged / Path(place).name).read_bytes() for place in rows["RELATIVE_PATH"]]
    stack = np.stack([preprocessing.load(data, project.settings.image_size) for data in files])
    torch.manual_seed(seed)
    network = XrayNetwork("mobilenet_v3_large", classes=len(names))
    # The head starts at zero; with these weights images differ in their answers.
    torch.nn.init.normal_(network.backbone.classifier[-1].weight, std=0.5)
    fit_normalisation(network, stack)
    report, kept = {}, []
    for split in ("validation", "test"):
        part, logits = rows[rows["SPLIT"] == split], _logits(network, stack, rows, split)
        point = OperatingPoint(Calibration(bias=(0.0,) * logits.shape[1]), THRESHOLD)
        report[split] = evaluate(part, logits, point, names, keep_scores=split == "validation")
        kept.append(runs.scores_of(part, point.calibration.probabilities(logits), names))
    run = runs.save(
        project,
        network=network,
        config=model_config(
            threshold=THRESHOLD, seed=seed, data="100 phantoms", labels=names, bias=point.calibration.bias
        ),
        evaluation=report,
        history=[{"epoch": 1, "training_loss": 0.7}],
        scores=pd.concat(kept),
    )
    log_version(project, run, runs.fetch(project, run, folder / "artifacts"))


def _logits(network, stack, rows, split: str) -> np.ndarray:
    return predict_logits(network, torch.from_numpy(stack[(rows["SPLIT"] == split).to_numpy()])).numpy()


@pytest.fixture(scope="session")
def session(account):
    opened = open_session(account)
    yield opened
    opened.close()


@pytest.fixture
def second_version(session, account, fresh_caches, tmp_path) -> None:
    log_network(Project(session, account), tmp_path / "run", seed=1)
    yield
    model = scoring.open_registry(Project(session, account)).get_model(account.model_name)
    for name in model.show_versions()["name"]:
        if name != model.default.version_name:
            model.delete_version(name)


@pytest.fixture
def streamlit_secrets(account, tmp_path) -> Path:
    login = start_local_account(account)
    login.pop("session_parameters")
    lines = [f"{key} = {json.dumps(value)}" for key, value in login.items()]
    secrets = tmp_path / "secrets.toml"
    secrets.write_text("\n".join(["[connections.snowflake]", *lines]))
    return secrets


@pytest.fixture
def open_app(streamlit_secrets) -> Callable[..., AppTest]:
    """Opens a page of the app; keywords stand in the URL. Environment variables `CXR_*` may be set before."""
    before = streamlit_config.get_option("secrets.files")
    streamlit_config.set_option("secrets.files", [str(streamlit_secrets)])
    streamlit.cache_data.clear()

    def start(page: str = "", /, **url: str) -> AppTest:
        app = AppTest.from_file(str(APP), default_timeout=60)
        for name, value in url.items():
            app.query_params[name] = value
        if page:
            app.run()
            app.switch_page(f"views/{page}.py")
        return app.run()

    yield start
    streamlit_config.set_option("secrets.files", before)


@pytest.fixture
def fresh_caches() -> None:
    """For a test that looks at another schema, account or set of versions: Streamlit's caches are one process's."""
    forget()
    yield
    forget()


def forget() -> None:
    streamlit.cache_data.clear()
    streamlit.cache_resource.clear()
    secrets_singleton._reset()


@pytest.fixture
def empty_schema(session, account, fresh_caches, monkeypatch) -> None:
    """The app looks at a schema of the same account that holds the tables and stages, and nothing in them."""
    empty = replace(account, schema="EMPTY")
    run_sql_file(Project(session, empty), PROJECT / "sql" / "20_objects.sql")
    monkeypatch.setenv("CXR_SCHEMA", "EMPTY")


@pytest.fixture(scope="session")
def filled_schemas() -> dict[tuple[str, ...], str]:
    """The schemas that a test has asked for, by the classes of their images."""
    return {}


@pytest.fixture
def with_classes(session, account, fresh_caches, monkeypatch, filled_schemas, tmp_path_factory):
    """The app looks at a schema of the same account whose images and model have these classes. Gives its project."""

    def look_at(*names: str) -> Project:
        schema = filled_schemas.setdefault(names, f"CLASSES_{len(filled_schemas)}")
        found = Project(session, replace(account, schema=schema))
        if not session.sql(f"SHOW SCHEMAS LIKE '{schema}' IN DATABASE {account.database}").collect():
            run_sql_file(found, PROJECT / "sql" / "20_objects.sql")
            fill(found, tmp_path_factory.mktemp("classes"), names)
        monkeypatch.setenv("CXR_SCHEMA", schema)
        return found

    return look_at


@pytest.fixture
def empty_catalog(session, account, fresh_caches, monkeypatch) -> None:
    """There is a model, and no image is cataloged."""
    name = account.qualified("EMPTY_CATALOG")
    session.sql(f"CREATE TABLE IF NOT EXISTS {name} LIKE {account.qualified(account.catalog_table)}").collect()
    monkeypatch.setenv("CXR_CATALOG_TABLE", "EMPTY_CATALOG")


@pytest.fixture
def predictions(session, account) -> Callable[[], int]:
    """Counts the rows of the predictions table."""
    return lambda: session.table(account.qualified(account.predictions_table)).count()


@pytest.fixture
def xray() -> bytes:
    """An X-ray that the catalog does not know."""
    return encoded(dataset.phantom("PNEUMONIA", rng=np.random.default_rng(99), size=128))


@pytest.fixture
def written_over(session, account, xray, fresh_caches) -> str:
    """The id of a cataloged image whose file on the stage holds another X-ray; put right again after the test."""
    table = account.qualified(account.catalog_table)
    image, place = session.sql(f"SELECT MIN(IMAGE_ID), MIN_BY(RELATIVE_PATH, IMAGE_ID) FROM {table}").collect()[0]
    target = f"{account.images}/{place}"
    before = session.file.get_stream(target).read()
    session.file.put_stream(io.BytesIO(xray), target, auto_compress=False, overwrite=True)
    yield image
    session.file.put_stream(io.BytesIO(before), target, auto_compress=False, overwrite=True)


@pytest.fixture(scope="session")
def words() -> Callable[[AppTest], str]:
    """All that a page says in text."""
    kinds = ("title", "header", "markdown", "caption", "info", "warning", "error", "success")
    return lambda app: "\n".join(str(element.value) for kind in kinds for element in getattr(app, kind))

"""Registration, promotion, and scoring by every path, on a local account with untrained networks."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from tests.broken_files import write_broken_files
from tests.drift import read_baseline
from tests.registration import ensure_service, log_version, predict_in_sql

from cxr.account import tables
from cxr.account.session import SERVICE_TOKEN
from cxr.data.pixels import fetch_files, pixel_hash
from cxr.lifecycle import model_card, parity, registry, runs
from cxr.model import preprocessing
from cxr.serving import monitoring, scoring
from cxr.serving.predictions import write_predictions
from cxr.serving.service import connect_client, service_state


def test_every_path_gives_the_networks_probabilities(account, rows, files, first):
    project = account
    version, artifacts = first
    ids = list(rows["IMAGE_ID"])
    expected = parity.ask_network(artifacts, files).positive
    assert len(set(expected.round(5))) == len(files), "each image has an answer of its own"
    model = registry.prepare(project, "run", artifacts).model
    for asked in (version, model):  # where it runs, and in this process
        some = parity.ask_network(artifacts, files[:5])
        assert parity.check_parity(asked, files[:5], some).largest_difference <= parity.TOLERANCE
    service = ensure_service(project, version)
    client = connect_client(project.session, service)
    answers = {
        "RUN": scoring.score(version, files, rows_per_call=12),
        "WAREHOUSE": predict_in_sql(project, scoring.as_sql(version), ids),
        "SERVICE": predict_in_sql(project, service, ids),
        "REST": client.predict(files),
        "BATCH": score_in_batch(project, version, ids),
    }
    for path, answer in answers.items():
        assert np.abs(answer["P_POSITIVE"].to_numpy(dtype=float) - expected).max() <= parity.TOLERANCE, path
        assert (answer["LABEL"] == np.where(expected >= 0.5, "PNEUMONIA", "NORMAL")).all(), path
    assert client.predict(files[3:4]).loc[0, "P_POSITIVE"] == pytest.approx(expected[3], abs=parity.TOLERANCE)
    assert not project.session.sql(f"LIST {project.artifacts_stage}/batch/").collect(), (
        "a batch job leaves nothing behind"
    )


def score_in_batch(project, version, image_ids: list[str]) -> pd.DataFrame:
    """Score by an inference job over staged files; results in the order of the rows."""
    target, ids = f"{project.artifacts_stage}/batch/test/", ", ".join(f"'{image_id}'" for image_id in image_ids)
    project.session.sql(
        f"""EXECUTE INFERENCE JOB SERVICE IN COMPUTE POOL {project.settings.service_pool}
        WITH SPECIFICATION $${scoring.batch_specification(target)}$$
        FROM (SELECT IMAGE_ID, '{project.images_stage}/' || RELATIVE_PATH AS IMAGE FROM {project.catalog}
            WHERE IMAGE_ID IN ({ids}))
        MODEL = {version.fully_qualified_model_name} VERSION = {version.version_name} FUNCTION = 'predict'
        ASYNC = FALSE"""
    ).collect()
    return scoring.read_batch(project, target).loc[image_ids].reset_index()


def test_a_service_killed_under_load_loses_and_duplicates_no_prediction(account, rows, files, first):
    project = account
    version, artifacts = first
    service = ensure_service(project, version)
    client = connect_client(project.session, service)
    ids = [f"{image_id}-{turn}" for turn in range(8) for image_id in rows["IMAGE_ID"]]
    killed = []

    def kill():
        time.sleep(0.3)
        port = int(str(client._client.base_url).rstrip("/").rpartition(":")[2])
        server = json.loads((Path(project.settings.account_dir) / "server.json").read_text())
        for process in psutil.Process(server["pid"]).children(recursive=True):
            if listens(process, port):
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    answers = client.predict(files * 8)
    thread.join()
    assert len(killed) == 1, "the service was killed"
    assert (answers["STATUS"] == "ok").all()
    expected = parity.ask_network(artifacts, files).positive
    assert np.abs(answers["P_POSITIVE"].to_numpy(dtype=float) - np.tile(expected, 8)).max() <= parity.TOLERANCE
    for _ in range(2):  # the second as by a caller who does not know that the first succeeded
        write_predictions(project, ids, answers, version.version_name, "REST")
    table = project.session.table(project.predictions).to_pandas()
    assert sorted(table["IMAGE_ID"]) == sorted(ids)


def listens(process: psutil.Process, port: int) -> bool:
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("inet"))


def test_the_service_answers_any_request_valid_or_not(account, files, first, tmp_path, monkeypatch):
    project = account
    service = ensure_service(project, first[0])
    client = connect_client(project.session, service)
    broken = write_broken_files(tmp_path)
    paths = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    sent = [files[0], b"", *(path.read_bytes() for path in paths), bytes(100 * 2**20), files[1]]
    answers = client.predict(sent)
    assert len(answers) == len(sent) and (answers["STATUS"] == "ok").to_numpy()[[0, -1]].all()
    said = [status.split(":")[0] for status in answers["STATUS"]]
    assert said[1] == "empty" and said[-2] == "too_large"
    assert {"unreadable", "truncated", "not_greyscale", "multiframe", "too_large"} <= set(said)
    assert broken and answers["P_POSITIVE"].notna().equals(answers["STATUS"] == "ok")
    refused = client.predict(files[:1], threshold=1.5)
    assert refused.loc[0, "STATUS"].startswith("bad_threshold")
    token, url = os.environ[SERVICE_TOKEN], str(client._client.base_url)
    # The token may stand in a file, as a mounted secret does.
    (tmp_path / "secret_string").write_text(token + "\n")
    monkeypatch.delenv(SERVICE_TOKEN)
    with pytest.raises(LookupError, match="service_token_file"):
        connect_client(project.session, service)
    from_file = connect_client(project.session, service, str(tmp_path / "secret_string"))
    assert (from_file.predict(files[:1])["STATUS"] == "ok").all()
    for body, code in (
        (b"no json", 400),
        (json.dumps({"data": [[0, None]]}).encode(), 200),
        (json.dumps({"data": [[0, "no base64!"]]}).encode(), 200),
        (json.dumps({"dataframe_records": [{"PICTURE": "x"}]}).encode(), 400),
        (json.dumps({"data": [[0, "", "high"]]}).encode(), 400),
        (b" " * (129 * 2**20), 413),
    ):
        reply = client._client.post("/predict", content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code == code, (body, reply.text)
    assert (client.predict(files[:1])["STATUS"] == "ok").all(), "the process is alive"
    _, log = service_state(project.session, service, lines=1000)
    assert token not in log and url and not any(word in log for word in ("base64!", "iVBOR", "/9j/"))


def test_a_service_of_another_version_is_replaced_and_explain_uses_its_own_version(account, files, first, log):
    project = account
    ensure_service(project, first[0])
    other, artifacts = log(seed=1, skill=0.2)
    service = ensure_service(project, other)
    of_first, of_other = (parity.ask_network(each, files[:1]).positive[0] for each in (first[1], artifacts))
    assert abs(of_first - of_other) > 1e-3
    asked = {path: scoring.explain(project.session, first[0], files[0], path)["P_POSITIVE"] for path in (None, service)}
    assert asked == pytest.approx({None: of_first, service: of_other}, abs=parity.TOLERANCE)
    project.session.sql(f"DROP SERVICE {service}").collect()


def test_the_card_has_every_section(first):
    version, artifacts = first
    for word in ("Not a medical device", "Limits", "Licence", "bootstrap over patients", "content sha256", "auroc"):
        assert word in version.comment, word
    assert "threshold 0.500, temperature 1.000" in version.comment
    metrics = version.show_metrics()
    assert metrics["test_auroc_low"] <= metrics["test_auroc"] <= metrics["test_auroc_high"]
    report = json.loads((artifacts / "evaluation.json").read_text())
    assert metrics["test_auroc"] == pytest.approx(report["test"]["metrics"]["auroc"]["value"])


def test_the_drift_baseline_uses_validation_images_only(account, first):
    version, artifacts = first
    scores = runs.read_scores(artifacts).set_index("SPLIT").loc["validation", "P_POSITIVE"]
    assert (read_baseline(account, version.version_name) == monitoring.histogram(scores)).all()


def test_the_card_travels_with_the_version(first, tmp_path):
    version, _ = first
    version.export(str(tmp_path))
    (card,) = tmp_path.rglob("card.json")
    assert model_card.to_markdown(json.loads(card.read_text())) == version.comment


def test_a_run_with_changed_preprocessing_is_rejected(account, save_run, monkeypatch, tmp_path):
    project = account
    run = save_run(seed=5, skill=1.0, preprocessing_version=0)
    with pytest.raises(registry.ChangedPreprocessing, match="preprocessing version 0"):
        log_version(project, run, runs.fetch(project, run, tmp_path / "a"))
    run = save_run(seed=5, skill=1.0)
    original = preprocessing.load
    monkeypatch.setattr(preprocessing, "load", lambda data, size: original(data, size)[::-1])
    with pytest.raises(registry.ChangedPreprocessing, match="other pixels than in training"):
        log_version(project, run, runs.fetch(project, run, tmp_path / "b"))
    name = registry.version_name(run)
    assert scoring.find_version(scoring.open_registry(project), project.settings.model_name, name) is None


def test_a_run_without_a_preprocessing_version_is_checked_by_its_pixel_hashes(account, save_run, tmp_path):
    """An earlier model.json has a hash of the preprocessing's source file, and no bias."""
    run = save_run(seed=6, skill=1.0)
    folder = runs.fetch(account, run, tmp_path / "run")
    found = json.loads((folder / "model.json").read_text())
    del found["preprocessing_version"], found["bias"], found["cuda_version"]
    (folder / "model.json").write_text(json.dumps(found | {"preprocessing": "a hash of another file"}))
    assert registry.prepare(account, run, folder).config.bias == (0.0,)
    found["pixels"] = dict.fromkeys(found["pixels"], "of other pixels")
    (folder / "model.json").write_text(json.dumps(found))
    with pytest.raises(registry.ChangedPreprocessing, match="other pixels than in training"):
        registry.prepare(account, run, folder)


@pytest.mark.parametrize("levels", [1, 2])
def test_pixels_of_the_warehouses_decoder_may_differ_by_one_level(account, save_run, rows, tmp_path, levels):
    run = save_run(seed=8, skill=1.0)
    folder = runs.fetch(account, run, tmp_path / "run")
    found = json.loads((folder / "model.json").read_text())
    image_id = min(found["pixels"])
    file = fetch_files(account, rows[rows["IMAGE_ID"] == image_id])[0]
    trained_on = preprocessing.load(file.read_bytes(), found["image_size"]).astype(int)
    trained_on[3, 5:9] += np.where(trained_on[3, 5:9] > 100, -levels, levels)
    trained_on = trained_on.astype(np.uint8)
    stored = pd.DataFrame(
        [(image_id, found["image_size"], preprocessing.PREPROCESSING_VERSION, "Pillow 1", trained_on.tobytes())],
        columns=["IMAGE_ID", "SIDE", "PREPROCESSING_VERSION", "DECODERS", "PIXELS"],
    )
    account.session.sql(f"DELETE FROM {account.pixels}").collect()
    found["pixels"][image_id] = pixel_hash(trained_on)
    (folder / "model.json").write_text(json.dumps(found))
    with pytest.raises(registry.ChangedPreprocessing, match=f"image {image_id[:12]} decodes to other pixels"):
        registry.prepare(account, run, folder)  # nothing says that a warehouse decoded it
    tables.append(account.session, account.pixels, stored)
    if levels == 1:
        assert registry.prepare(account, run, folder).config.pixels == found["pixels"]
    else:
        with pytest.raises(registry.ChangedPreprocessing, match="other pixels than in training"):
            registry.prepare(account, run, folder)
    account.session.sql(f"DELETE FROM {account.pixels}").collect()


def test_a_version_pins_no_exact_package_and_limits_its_batches(account, save_run, tmp_path):
    run = save_run(seed=7, skill=1.0, cuda_version="12.8")
    platform = registry.prepare(account, run, runs.fetch(account, run, tmp_path / "run")).platform
    assert not [package for package in platform["conda_dependencies"] if "==" in package or "httpx" in package]
    assert platform["options"]["cuda_version"] == "12.8"
    assert all(option["max_batch_size"] <= 32 for option in platform["options"]["method_options"].values())

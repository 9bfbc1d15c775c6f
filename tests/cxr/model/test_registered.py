"""The registered model itself: every row gets an answer, and it is the network's."""

import base64
import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from snowflake.ml.model.custom_model import ModelContext
from tests.broken_files import write_broken_files
from tests.pictures import encoded
from tests.trained import fit_normalisation, model_config, probability

from cxr.model import preprocessing
from cxr.model.gate import Gate
from cxr.model.gate_features import predict_with_features
from cxr.model.network import XrayNetwork, predict_logits
from cxr.model.registered import XrayClassifier
from cxr.phantoms.dataset import phantom
from cxr.training.gate_fitting import fit_gate

CONFIG = model_config(backbone="resnet18", temperature=1.7)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    built = XrayNetwork()
    torch.nn.init.normal_(built.backbone.fc.weight, std=0.3)
    return built.eval()


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.save(network.state_dict(), folder / "network.pt")
    CONFIG.write(folder / "model.json")
    artifacts = {"weights": str(folder / "network.pt"), "config": str(folder / "model.json")}
    return XrayClassifier(ModelContext(artifacts=artifacts))


def png(seed: int) -> bytes:
    return encoded(phantom("NORMAL", rng=np.random.default_rng(seed), size=128))


FILES = [png(seed) for seed in range(40)]


def rows(*files: bytes | str | None) -> pd.DataFrame:
    return pd.DataFrame({"IMAGE": [base64.b64encode(f).decode() if isinstance(f, bytes) else f for f in files]})


def test_requests_at_once_share_one_thread_for_the_network_and_leave_none_behind(model):
    """Each thread that computes keeps memory of its own: a service with many would grow."""
    seen = set()
    hook = model.network.register_forward_hook(lambda *_: seen.add(threading.get_ident()))
    model.predict(rows(*FILES))  # the threads that stay
    before = threading.active_count()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: model.predict(rows(data)), FILES))
    hook.remove()
    assert len(seen) == 1 and threading.get_ident() not in seen
    assert threading.active_count() == before


def test_the_answers_are_the_networks(model, network):
    pixels = torch.from_numpy(np.stack([preprocessing.load(data, 64) for data in FILES]))
    expected = probability(predict_logits(network, pixels), CONFIG.temperature)
    answer = model.predict(rows(*FILES))
    assert np.abs(answer["P_POSITIVE"] - expected).max() < 1e-6
    assert (answer["LABEL"] == np.where(expected >= 0.5, "PNEUMONIA", "NORMAL")).all()
    assert (answer["STATUS"] == "ok").all()


def test_bad_rows_say_why_and_good_rows_are_answered_all_the_same(model):
    answer = model.predict(rows(FILES[0], b"text", "no base64!", "", None, FILES[1][:300], FILES[1]))
    assert [status.split(":")[0] for status in answer["STATUS"]] == [
        "ok", "unreadable", "not_base64", "empty", "empty", "truncated", "ok",
    ]  # fmt: skip
    bad = answer["STATUS"] != "ok"
    assert answer["P_POSITIVE"].isna().equals(bad) and answer["LABEL"].isna().equals(bad)
    alone = model.predict(rows(FILES[1]))
    assert answer["P_POSITIVE"].iloc[6] == pytest.approx(alone["P_POSITIVE"].iloc[0], abs=1e-6)


def test_a_batch_of_bad_rows_alone_is_answered(model):
    assert model.predict(rows(b"text")).loc[0, "STATUS"].startswith("unreadable")
    assert model.explain(rows(b"text")).loc[0, "HEATMAP"] is None or np.isnan(
        model.explain(rows(b"text")).loc[0, "HEATMAP"]
    )


def test_the_threshold_moves_the_label_and_nothing_else(model):
    low, high = (model.predict(rows(*FILES[:4]), threshold=value) for value in (0.0, 1.0))
    assert (low["LABEL"] == "PNEUMONIA").all() and (high["LABEL"] == "NORMAL").all()
    assert low["P_POSITIVE"].equals(high["P_POSITIVE"])


@pytest.mark.parametrize("threshold", [-0.1, 1.5])
def test_a_threshold_that_is_no_probability_is_refused_in_every_row(model, threshold):
    answer = model.predict(rows(*FILES[:2]), threshold=threshold)
    assert answer["STATUS"].str.startswith("bad_threshold").all() and answer["P_POSITIVE"].isna().all()


def test_explain_adds_a_heat_map_to_the_same_answer(model):
    answer, plain = model.explain(rows(*FILES[:3])), model.predict(rows(*FILES[:3]))
    assert answer["P_POSITIVE"].to_numpy() == pytest.approx(plain["P_POSITIVE"].to_numpy(), abs=1e-6)
    heatmap = Image.open(io.BytesIO(base64.b64decode(answer.loc[0, "HEATMAP"])))
    assert heatmap.size == (64, 64) and heatmap.mode == "L"


def test_every_broken_file_gets_the_reason_that_is_its_own(model, tmp_path):
    """A bomb, a coloured photograph, a DICOM of two frames, 100 MB, ...: a row each, the good ones answered."""
    reasons = write_broken_files(tmp_path)
    sent = [(tmp_path / name).read_bytes() for name in reasons]
    answer = model.predict(rows(FILES[0], *sent, bytes(100 * 2**20), FILES[1]))
    said = [status.split(":")[0] for status in answer["STATUS"]]
    expected = ["ok" if reason == "duplicate" else reason for reason in reasons.values()]
    assert said == ["ok", *expected, "too_large", "ok"]
    assert {"not_greyscale", "multiframe", "too_large", "truncated"} <= set(expected)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A network of phantoms with a gate and both thresholds of triage, and the gate itself."""
    torch.manual_seed(1)
    network, folder = XrayNetwork(), tmp_path_factory.mktemp("gated")
    pixels = torch.from_numpy(np.stack([preprocessing.load(png(seed), 64) for seed in range(100, 300)]))
    fit_normalisation(network, pixels[:50].numpy())
    torch.nn.init.normal_(network.backbone.fc.weight, std=0.3)
    fitted = fit_gate(network, pixels[:100], pixels[100:], validation_images=200)
    middle = np.median(probability(predict_logits(network.eval(), pixels)))
    sides = {"rule_out": {"at": float(middle) - 0.01}, "rule_in": {"at": float(middle) + 0.01}}
    config = model_config(backbone="resnet18", gate=fitted.facts, triage=sides, threshold=float(middle))
    torch.save(network.state_dict(), folder / "network.pt")
    config.write(folder / "model.json")
    fitted.gate.write(folder / "gate.npz")
    names = {"weights": "network.pt", "config": "model.json", "gate": "gate.npz"}
    model = XrayClassifier(ModelContext(artifacts={key: str(folder / name) for key, name in names.items()}))
    return model, network, Gate.read(folder / "gate.npz"), config


def inverted(data: bytes) -> bytes:
    return encoded(255 - np.asarray(Image.open(io.BytesIO(data))))


def test_an_image_unlike_training_keeps_its_probability_and_has_neither_label_nor_triage(gated):
    model, network, gate, config = gated
    files = [*FILES, *(inverted(data) for data in FILES[:5]), b"no image"]
    answer = model.predict(rows(*files))
    assert list(answer) == ["P_POSITIVE", "LABEL", "STATUS", "PROBABILITIES", "TRIAGE"]
    pixels = torch.from_numpy(np.stack([preprocessing.load(data, 64) for data in files[:-1]]))
    logits, features = predict_with_features(network, pixels)
    # Random weights give logits of up to 10, so folded batch norms round by more than in a trained network.
    assert np.abs(answer["P_POSITIVE"].iloc[:-1] - probability(logits)).max() < 2e-5
    unlike = answer["STATUS"].str.startswith("unlike_training: ").to_numpy()
    assert (unlike[:-1] == (gate.distances(features) > 1)).all()
    assert unlike[40:45].all() and unlike[:40].mean() < 0.2
    assert answer["LABEL"].isna().tolist() == answer["TRIAGE"].isna().tolist() == [*unlike[:-1], True]
    assert answer["PROBABILITIES"].notna().tolist() == [*[True] * 45, False]
    known, p = answer[answer["STATUS"] == "ok"], answer.loc[answer["STATUS"] == "ok", "P_POSITIVE"]
    assert (known["TRIAGE"] == np.select([p <= config.rule_out_at, p >= config.rule_in_at], ["rule_out", "rule_in"],
                                         "uncertain")).all()  # fmt: skip
    assert {"rule_out", "rule_in"} <= set(known["TRIAGE"])


def test_an_image_is_unlike_whoever_stands_beside_it(gated):
    model, *_ = gated
    files = [inverted(FILES[0]), *FILES[:34]]
    together = model.predict(rows(*files))["STATUS"]
    alone = [model.predict(rows(data)).loc[0, "STATUS"] for data in (files[0], files[1], files[33])]
    assert alone == together.iloc[[0, 1, 33]].tolist()
    assert model.explain(rows(files[0])).iloc[0].drop("HEATMAP").isna()[["LABEL", "TRIAGE"]].all()
    assert list(model.explain(rows(files[0])))[-2:] == ["TRIAGE", "HEATMAP"]


def test_no_zone_contradicts_the_label_at_a_threshold_of_the_caller(gated):
    model, *_ = gated
    own = model.predict(rows(*FILES)).query("STATUS == 'ok'")
    for threshold, label, opposite, kept in (
        (0.0, "PNEUMONIA", "rule_out", "rule_in"),
        (1.0, "NORMAL", "rule_in", "rule_out"),
    ):
        answer = model.predict(rows(*FILES), threshold=threshold).loc[own.index]
        assert set(answer["LABEL"]) == {label}
        assert (answer["TRIAGE"] == own["TRIAGE"].replace(opposite, "uncertain")).all()
        assert {kept, "uncertain"} == set(answer["TRIAGE"])
        assert (answer["P_POSITIVE"] - own["P_POSITIVE"]).abs().max() < 1e-9


def test_a_run_of_before_triage_leaves_everything_to_a_reader(model):
    assert set(model.predict(rows(*FILES[:4]))["TRIAGE"]) == {"uncertain"}

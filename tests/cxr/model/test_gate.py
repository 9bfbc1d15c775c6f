"""The gate: what it reads from a network, its file, and what it says."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from cxr.model import gate, gate_features
from cxr.model.network import BACKBONES, XrayNetwork, predict_logits


def images(count: int, side: int = 64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_pass_gives_the_logits_and_features_of_every_backbone(backbone):
    network, pixels, passes = XrayNetwork(backbone, 3), images(5), []
    network.eval().backbone.register_forward_hook(lambda module, *_: passes.append(module))
    logits, features = gate_features.predict_with_features(network, pixels)
    assert len(passes) == 1, "the network runs once"
    assert torch.equal(logits, predict_logits(network, pixels))
    assert {name: len(values) for name, values in features.items()} == {
        "middle": 5,
        "last": 5,
        "layout": 5,
        "texture": 5,
    }
    assert features["last"].shape[1] >= 512 and features["layout"].shape[1] == gate_features.FIELDS**2
    assert not network.backbone.features._forward_hooks if hasattr(network.backbone, "features") else True


def test_the_features_of_an_image_do_not_depend_on_those_beside_it():
    network, pixels = XrayNetwork().eval(), images(67)
    together = gate_features.predict_with_features(network, pixels)[1]
    alone = gate_features.predict_with_features(network, pixels[65:66])[1]
    for name, values in together.items():
        assert values.shape[0] == 67
        assert np.allclose(values[65], alone[name][0], atol=1e-4), name


def test_requests_at_the_same_time_get_features_of_their_own():
    """A service answers from several threads with one network."""
    network, requests = XrayNetwork().eval(), [images(9)[: 1 + number % 4] for number in range(24)]
    alone = [gate_features.predict_with_features(network, request)[1] for request in requests]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda request: gate_features.predict_with_features(network, request)[1], requests))
    for one, other in zip(alone, together, strict=True):
        for name, values in one.items():
            assert values.shape == other[name].shape and np.allclose(values, other[name], atol=1e-4), name


def layout(*brightest: int) -> np.ndarray:
    """Layouts in which one field is bright."""
    return np.eye(gate_features.FIELDS**2, dtype=np.float32)[list(brightest)]


def made(level: float = 2.0) -> gate.Gate:
    """`last` has variances 1/4 around 1; the usual layout has its fourth field bright, in the first row."""
    eye, fields = np.eye(3, dtype=np.float32), np.eye(gate_features.FIELDS**2, dtype=np.float32)
    groups = {"last": gate.Group(np.ones(3, np.float32), eye * 2, level), "layout": gate.Group(fields[3], fields, 10.0)}
    return gate.Gate(groups, turned_level=4.0)


def test_the_distance_is_mahalanobis_relative_to_the_level_and_the_worst_group_counts():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(3, 3)).astype(np.float32)
    group = gate.Group(rng.normal(size=3).astype(np.float32), np.linalg.inv(factor).T, 1.0)
    x = rng.normal(size=(4, 3))
    expected = [np.sqrt((row - group.mean) @ np.linalg.inv(factor @ factor.T) @ (row - group.mean)) for row in x]
    assert group.distances(x) == pytest.approx(expected, rel=1e-4)
    features = {"last": np.array([[1, 1, 1.5], [1, 1, 4], [np.nan, 0, 0]]), "layout": layout(44, 44, 44)}
    assert made().distances(features) == pytest.approx([0.5, 3.0, np.inf])


def test_a_layout_that_fits_better_when_turned_is_told():
    group, side = made().groups["layout"], gate_features.FIELDS
    upright, mirrored, last_row = 3, side - 4, side * (side - 1)
    turned = (last_row + side - 4, last_row + 3, 3 * side)  # by 180 degrees, upside down, about the diagonal
    ratios = gate.turned_ratios(group, layout(upright, mirrored, 44, *turned) + 1e-3)
    assert ratios[0] < 0.1 and (ratios[3:] > 10).all()
    assert ratios[1:3] == pytest.approx(1, abs=0.01), "its mirror image, and what fits nowhere"
    inverted = gate.turned_ratios(group, -layout(upright) + 1e-3)
    assert inverted[0] > 10


def test_the_file_holds_arrays_alone_and_nothing_in_it_is_executed(tmp_path):
    path = tmp_path / "gate.npz"
    made().write(path)
    again = gate.Gate.read(path)
    features = {"last": np.ones((1, 3)) * 5, "layout": layout(3)}
    assert again.distances(features) == made().distances(features)
    with np.load(path) as found:
        np.savez(path, **(dict(found) | {"layout.mean": np.array([print], dtype=object)}))
    with pytest.raises(ValueError, match="pickle"):
        gate.Gate.read(path)
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(ValueError, match="not the file of a gate"):
        gate.Gate.read(path)


def test_what_goes_towards_phantoms_is_stopped_and_what_goes_away_from_them_is_not(tmp_path):
    features = {name: np.zeros((3, 2), np.float32) for name in ("last", "texture")} | {"layout": layout(3, 3, 3)}
    features["texture"][:, 1] = [0, 6, -60]
    weights = np.zeros(gate_features.FIELDS**2 + 2, np.float32)
    weights[-1] = 1
    group = gate.Group(np.zeros(2, np.float32), np.zeros((2, 2), np.float32), 1.0)
    whole = gate.Gate(made().groups | {"last": group}, 4.0, gate.Direction(np.zeros_like(weights), weights, 4.0))
    assert whole.distances(features) == pytest.approx([0, 1.5, 0], abs=0.1)
    whole.write(tmp_path / "gate.npz")
    assert (gate.Gate.read(tmp_path / "gate.npz").distances(features) == whole.distances(features)).all()
    with np.load(tmp_path / "gate.npz") as found:
        torn = {key: value for key, value in found.items() if key != "phantoms.level"}
    np.savez(tmp_path / "torn.npz", **torn)
    with pytest.raises(ValueError, match="not the file of a gate"):
        gate.Gate.read(tmp_path / "torn.npz")


@pytest.mark.parametrize("side", [7, 64])  # of few pixels, neighbours in order differ
def test_quantiles_by_counting_are_those_by_sorting(side):
    drawn = images(4, side).numpy()
    pixels = np.concatenate([drawn[:3], np.zeros((1, side, side), np.uint8), drawn[3:] // 100])
    expected = np.quantile(pixels.reshape(5, -1), np.linspace(0.01, 0.99, 15), axis=1).T
    assert gate_features._grey_quantiles(pixels) == pytest.approx(expected)


def test_the_status_says_how_far():
    assert gate.status_of(1.0) == "ok"
    assert gate.status_of(1.26) == "unlike_training: 1.3 times the allowed distance from the training images"
    assert "more than 100 times" in gate.status_of(np.inf)

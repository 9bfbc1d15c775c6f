"""The gate is fitted to training images, loses about 1% of new ones, and stops what is no upright X-ray."""

import dataclasses

import numpy as np
import pytest
import torch
from tests.trained import fit_normalisation

from cxr import settings
from cxr.model import preprocessing
from cxr.model.gate_features import predict_with_features
from cxr.model.network import XrayNetwork
from cxr.phantoms.dataset import phantom
from cxr.training import gate_fitting, gate_images

SIDE = 64


@pytest.fixture(scope="module")
def stack():
    """360 phantoms, uint8."""
    drawn = [phantom(("NORMAL", "PNEUMONIA")[i % 2], rng=np.random.default_rng(i), size=128) for i in range(360)]
    return torch.from_numpy(np.stack([preprocessing.to_square(each, SIDE) for each in drawn]))


@pytest.fixture(scope="module")
def network(stack):
    """Random weights: what the gate sees is enough to tell pictures of another kind."""
    torch.manual_seed(0)
    built = XrayNetwork()
    fit_normalisation(built, stack[:60].numpy())
    return built


@pytest.fixture(scope="module")
def fitted(network, stack):
    return gate_fitting.fit_gate(network, stack[:150], stack[150:260], validation_images=220)


def test_few_new_images_are_lost(fitted, network, stack):
    assert fitted.facts["on"] and "farther" in str(fitted)
    assert (~fitted.passes(network, stack[150:260])).mean() <= 0.01, "of those that set the level"
    assert (~fitted.passes(network, stack[260:])).mean() <= 0.08


def test_pictures_of_another_kind_are_stopped(fitted, network, stack):
    rng = np.random.default_rng(0)
    held_out = stack[260:]
    ramp = np.add.outer(np.linspace(0, 200, SIDE), np.linspace(0, 55, SIDE)).astype(np.uint8)
    foreign = {
        "inverted": 255 - held_out,
        "turned by 90 degrees": held_out.rot90(1, (1, 2)),
        "turned by 180 degrees": held_out.rot90(2, (1, 2)),
        "upside down": held_out.flip(1),
        "noise": torch.from_numpy(rng.integers(0, 256, (20, SIDE, SIDE), dtype=np.uint8)),
        "a ramp": torch.from_numpy(ramp[None]),
    }
    for name, pixels in foreign.items():
        assert fitted.passes(network, pixels).mean() <= 0.1, name


def test_a_model_of_other_images_stops_phantoms(network, stack, monkeypatch):
    """Here the letter of a side makes other images of them: distances alone pass most phantoms."""
    patients = stack.clone()
    patients[:, 4:16, 3:15] = 230
    monkeypatch.setattr(gate_images, "COUNT", 120)
    drawn = gate_images.foreign_phantoms(SIDE)
    alone, warned = (
        gate_fitting.fit_gate(network, patients[:150], patients[150:260], validation_images=220, foreign=foreign)
        for foreign in (None, drawn[:80])
    )
    assert alone.passes(network, drawn[80:]).mean() > 0.5
    assert warned.passes(network, drawn[80:]).mean() <= 0.1
    assert warned.passes(network, patients[260:]).mean() > 0.9


def test_more_phantoms_are_like_those_of_the_settings_and_others_of_another_seed(monkeypatch):
    monkeypatch.setattr(gate_images, "COUNT", 8)
    chosen = settings.load([], {}, phantom_difficulty=0.0)
    first, again = (gate_images.more_phantoms(SIDE, chosen) for _ in range(2))
    assert first.shape == (gate_images.COUNT, SIDE, SIDE) and torch.equal(first, again)
    assert not torch.equal(first, gate_images.more_phantoms(SIDE, dataclasses.replace(chosen, seed=1)))


def test_below_200_validation_images_the_gate_is_off_and_says_so(network, stack):
    off = gate_fitting.fit_gate(network, stack[:50], stack[50:150], validation_images=199)
    assert off.gate is None and not off.facts["on"]
    assert "it needs 200 validation images and has 199" in str(off)
    assert off.passes(network, 255 - stack[:3]).all()
    assert "older than the gate" in gate_fitting.in_words({})


def test_one_percent_is_beyond_the_level():
    assert gate_fitting._level(np.arange(1.0, 1000.0)) == 990.5
    assert gate_fitting._level(np.arange(1.0, 51.0)) > 50, "of too few, none"


def test_no_image_can_be_told_from_what_is_kept(fitted, network, stack):
    """Means and covariances: nothing in the file has a row for each image."""
    learned = predict_with_features(network, stack[:150])[1]
    for name, group in fitted.gate.groups.items():
        size = learned[name].shape[1]
        assert (group.mean.shape, group.whitening.shape) == ((size,), (size, size))

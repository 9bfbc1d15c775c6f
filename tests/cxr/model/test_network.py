"""The network: every backbone, its input, its first answers, and where its weights come from."""

import hashlib

import pytest
import torch

from cxr.model import network
from cxr.model.network import PneumoniaNetwork


@pytest.mark.parametrize("backbone", network.BACKBONES)
def test_every_backbone_takes_grey_images_and_begins_at_the_prior(backbone):
    torch.manual_seed(0)
    built = PneumoniaNetwork(backbone, prior=0.8).eval()
    with torch.inference_mode():
        logits = built(torch.rand(2, 1, 64, 64))
    assert logits.shape == (2,)
    assert torch.sigmoid(logits).mean() == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("backbone", network.BACKBONES)
def test_rates_fall_from_the_head_to_the_first_layer(backbone):
    with torch.device("meta"):  # shapes without weights
        built = PneumoniaNetwork(backbone)
    groups = built.parameter_groups(1e-3, early_share=0.01)
    assert [group["lr"] for group in groups] == pytest.approx([1e-5, 1e-3 * 10**-1.5, 1e-4, 1e-3 * 10**-0.5, 1e-3])
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in built.parameters()} and len(grouped) == len({*map(id, grouped)})
    assert groups[-1]["params"][0].shape[0] == 1 and groups[0]["params"][0].shape[1] == 1


def test_an_unknown_backbone_is_refused_by_name():
    with pytest.raises(ValueError, match="resnet19"):
        PneumoniaNetwork("resnet19")


def test_exposure_does_not_change_the_answer():
    torch.manual_seed(0)
    built = PneumoniaNetwork().eval()
    images = torch.rand(4, 1, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(built(images), built(images * 0.5 + 0.2), atol=1e-2)


def test_the_grey_stem_answers_as_the_colour_stem_did():
    import torchvision

    torch.manual_seed(0)
    colour = torchvision.models.resnet18(weights=None)
    stem = colour.conv1
    grey_images = torch.rand(2, 1, 32, 32)
    expected = stem(grey_images.expand(-1, 3, -1, -1))
    network._use_one_channel(colour)
    assert torch.allclose(colour.conv1(grey_images), expected, atol=1e-5)


@pytest.fixture
def weight_file(monkeypatch, tmp_path):
    """A weight file whose name tells its hash, as torchvision's do, and an empty cache of torch."""
    content = b"weights"
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"

    class Weights:
        DEFAULT = type("Entry", (), {"url": f"https://weights.invalid/{name}"})

    monkeypatch.setattr(network.torchvision.models, "get_model_weights", lambda backbone: Weights)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    return name, content


def test_weights_are_taken_from_the_stage_first(weight_file):
    name, content = weight_file
    said = []

    def from_stage(wanted, folder):
        (folder / wanted).write_bytes(content)
        return folder / wanted

    assert network.find_imagenet_weights("resnet18", from_stage, said.append).name == name
    assert "from the stage" in said[0]


def test_weights_in_the_cache_are_found(weight_file, tmp_path):
    name, content = weight_file
    (tmp_path / "cache" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cache" / "checkpoints" / name).write_bytes(content)
    said = []
    assert network.find_imagenet_weights("resnet18", lambda *_: None, said.append)
    assert "from the cache" in said[0]


def test_without_weights_the_network_says_so_and_starts_at_random(weight_file):
    said = []
    _, start = network.build("resnet18", "imagenet", log=said.append)
    assert start == "random"
    assert len(said) == 1 and "starts from random weights" in said[0]


def test_a_damaged_weight_file_is_not_used(weight_file, tmp_path):
    name, _ = weight_file
    (tmp_path / "cache" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cache" / "checkpoints" / name).write_bytes(b"half a file")
    said = []
    assert network.find_imagenet_weights("resnet18", lambda *_: None, said.append) is None
    assert "damaged" in said[0]

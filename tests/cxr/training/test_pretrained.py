"""ImageNet weights: their sources, and damaged files."""

import hashlib
import re

import pytest
import torch
import torchvision

from cxr.model.network import XrayNetwork
from cxr.training import pretrained


@pytest.fixture
def weight_file(monkeypatch, tmp_path):
    """A weight file with its hash in its name, as torchvision's, and an empty torch cache."""
    content = b"weights"
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"

    class Weights:
        DEFAULT = type("Entry", (), {"url": f"https://weights.invalid/{name}"})

    monkeypatch.setattr(pretrained.torchvision.models, "get_model_weights", lambda backbone: Weights)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    return name, content


def test_weights_on_the_stage_are_preferred(weight_file):
    name, content = weight_file
    said = []

    def from_stage(wanted, folder):
        (folder / wanted).write_bytes(content)
        return folder / wanted

    assert pretrained.find_imagenet_weights("resnet18", from_stage, said.append).name == name
    assert "from the stage" in said[0]


def test_weights_in_the_cache_are_found(weight_file, tmp_path):
    name, content = weight_file
    (tmp_path / "cache" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cache" / "checkpoints" / name).write_bytes(content)
    said = []
    assert pretrained.find_imagenet_weights("resnet18", lambda *_: None, said.append)
    assert "from the cache" in said[0]


def test_without_weights_the_network_says_so_and_starts_at_random(weight_file):
    said = []
    _, start = pretrained.build_network("resnet18", "imagenet", log=said.append)
    assert start == "random"
    assert len(said) == 1 and "starts from random weights" in said[0]


def test_a_damaged_weight_file_is_not_used(weight_file, tmp_path):
    name, _ = weight_file
    (tmp_path / "cache" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cache" / "checkpoints" / name).write_bytes(b"half a file")
    said = []
    assert pretrained.find_imagenet_weights("resnet18", lambda *_: None, said.append) is None
    assert "damaged" in said[0]


def test_where_the_whole_hash_is_known_its_beginning_is_not_enough(weight_file, monkeypatch, tmp_path):
    name, content = weight_file
    (tmp_path / "cache" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cache" / "checkpoints" / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(pretrained, "SHA256", {name: digest[:8] + "0" * 56})
    monkeypatch.setattr(pretrained, "_download", lambda url, path: None)
    assert pretrained.find_imagenet_weights("resnet18", lambda *_: None, lambda text: None) is None


class Harmful:
    """A pickle that runs code when it is read."""

    def __reduce__(self):
        return (print, ("this must not run",))


def test_a_weight_file_runs_no_code(tmp_path, capsys):
    torch.save({"weight": Harmful()}, tmp_path / "weights.pth")
    with pytest.raises(Exception, match="[Ww]eights only"):
        XrayNetwork("resnet18", imagenet_weights=tmp_path / "weights.pth")
    assert "this must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("backbone", ["resnet18", "densenet121"])
def test_imagenet_weights_go_into_the_backbone_and_its_grey_stem(backbone, tmp_path):
    torch.manual_seed(0)
    colour = torchvision.models.get_model(backbone, weights=None)
    state = colour.state_dict()
    if backbone == "densenet121":  # its published file has the names of long ago
        state = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key): value for key, value in state.items()}
    torch.save(state, tmp_path / "weights.pth")
    grey = XrayNetwork(backbone, imagenet_weights=tmp_path / "weights.pth")
    stem = next(m for m in grey.modules() if isinstance(m, torch.nn.Conv2d))
    expected = next(m for m in colour.modules() if isinstance(m, torch.nn.Conv2d)).weight.sum(dim=1, keepdim=True)
    assert torch.equal(stem.weight, expected)
    last = [value for key, value in colour.state_dict().items() if value.ndim == 4][-1]
    assert torch.equal([value for value in grey.state_dict().values() if value.ndim == 4][-1], last)

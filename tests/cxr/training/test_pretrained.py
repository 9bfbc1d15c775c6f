"""ImageNet weights: their sources, and damaged files."""

import hashlib

import pytest
import torch

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

"""Training that starts from a file: an earlier run's, or anybody's of the same backbone."""

import pickle
import zipfile

import pytest
import torch
import torchvision

from cxr.model.network import XrayNetwork
from cxr.training.pretrained import build_network
from cxr.training.starting_weights import load_starting_weights


def trained(classes: int = 2) -> XrayNetwork:
    torch.manual_seed(1)
    network = XrayNetwork("resnet18", classes)
    torch.nn.init.normal_(network.head.weight)
    return network


@pytest.fixture
def saved(tmp_path):
    """A function that saves an object with torch.save and returns its path."""

    def save(content):
        torch.save(content, tmp_path / "weights.pt")
        return tmp_path / "weights.pt"

    return save


def test_a_run_is_fine_tuned_from_where_it_ended(saved):
    path = saved(trained().state_dict())
    network, start = build_network("resnet18", "0123456789ab", from_stage=lambda name, folder: path)
    assert start == "0123456789ab"
    before = network.head.bias.clone()
    network.start_from_frequencies([0.2, 0.8])
    assert torch.equal(network.head.bias, before), "a trained head keeps its bias"
    torch.testing.assert_close(network.cpu().state_dict(), trained().state_dict())


def test_a_colour_network_of_torchvision_fits_and_its_head_is_left_out(saved):
    colour = torchvision.models.resnet18(weights=None)
    network = XrayNetwork()
    said = load_starting_weights(network, saved(colour.state_dict()), "@S/resnet.pth")
    assert "head of @S/resnet.pth is for other classes" in said
    torch.testing.assert_close(network.backbone.conv1.weight, colour.conv1.weight.sum(1, keepdim=True))
    assert not network.head.weight.any()


def test_other_classes_keep_the_body_and_get_a_new_head(saved):
    network = XrayNetwork(classes=4)
    assert load_starting_weights(network, saved(trained().state_dict()), "run")
    torch.testing.assert_close(network.backbone.layer4.state_dict(), trained().backbone.layer4.state_dict())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: XrayNetwork("mobilenet_v3_large").state_dict(), "does not fit a resnet18: it lacks backbone.conv1"),
        (lambda: {"model": {}, "epoch": 3}, "holds a dict of model, epoch, not a state dict"),
        (lambda: [1, 2], "holds list, not a state dict"),
        (lambda: trained().state_dict() | {"backbone.conv1.weight": torch.zeros(64, 1, 3, 3)}, "of shape"),
    ],
    ids=["another backbone", "a checkpoint", "a list", "another kernel"],
)
def test_what_does_not_fit_is_refused_by_name(saved, content, message):
    with pytest.raises(ValueError, match=message):
        load_starting_weights(XrayNetwork(), saved(content()), "@S/file")


def test_a_file_that_is_none_or_could_run_code_is_refused(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"half a file")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_starting_weights(XrayNetwork(), path, "@S/file")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", pickle.dumps(zipfile.ZipFile))
        archive.writestr("weights/version", "3")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_starting_weights(XrayNetwork(), path, "@S/file")


def test_a_name_that_nobody_has_is_an_error():
    with pytest.raises(LookupError, match="no weights 0123456789ab"):
        build_network("resnet18", "0123456789ab")

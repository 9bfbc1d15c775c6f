"""The network: every backbone, its input and its first answers."""

import pytest
import torch

from cxr.model import network
from cxr.model.network import XrayNetwork


@pytest.mark.parametrize("backbone", network.BACKBONES)
def test_every_backbone_takes_grey_images_and_begins_at_the_prior(backbone):
    torch.manual_seed(0)
    built = XrayNetwork(backbone).eval()
    built.start_from_frequencies([0.2, 0.8])
    with torch.inference_mode():
        logits = built(torch.rand(2, 1, 64, 64))
    assert logits.shape == (2, 1)
    assert torch.sigmoid(logits).mean() == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("backbone", network.BACKBONES)
def test_rates_fall_from_the_head_to_the_first_layer(backbone):
    with torch.device("meta"):  # shapes without weights
        built = XrayNetwork(backbone)
    groups = built.parameter_groups(1e-3, early_factor=0.01)
    assert [group["lr"] for group in groups] == pytest.approx([1e-5, 1e-3 * 10**-1.5, 1e-4, 1e-3 * 10**-0.5, 1e-3])
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in built.parameters()} and len(grouped) == len({*map(id, grouped)})
    assert groups[-1]["params"][0].shape[0] == 1 and groups[0]["params"][0].shape[1] == 1


def test_an_unknown_backbone_is_refused_by_name():
    with pytest.raises(ValueError, match="resnet19"):
        XrayNetwork("resnet19")


def test_exposure_does_not_change_the_answer():
    torch.manual_seed(0)
    built = XrayNetwork().eval()
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
    network.use_one_channel(colour)
    assert torch.allclose(colour.conv1(grey_images), expected, atol=1e-5)


def test_with_more_classes_the_first_answers_are_their_frequencies():
    built = XrayNetwork("mobilenet_v3_large", classes=3).eval()
    built.start_from_frequencies([0.5, 0.3, 0.2])
    logits = network.predict_logits(built, torch.zeros(2, 64, 64, dtype=torch.uint8))
    assert logits.shape == (2, 3)
    assert logits.softmax(1)[0].tolist() == pytest.approx([0.5, 0.3, 0.2])
    with pytest.raises(ValueError, match="1 classes"):
        XrayNetwork(classes=1)


@pytest.mark.parametrize("prepare", [lambda built: built, network.make_fast], ids=["as trained", "fast"])
def test_an_image_has_one_answer_whatever_is_asked_beside_it(prepare):
    torch.manual_seed(0)
    built = XrayNetwork()
    torch.nn.init.normal_(built.backbone.fc.weight, std=1.0)
    built = prepare(built)
    stack = torch.randint(0, 256, (37, 64, 64), dtype=torch.uint8)
    together = network.predict_logits(built, stack)
    for size in (1, 3, 5, 8):
        apart = torch.cat([network.predict_logits(built, part) for part in stack[:8].split(size)])
        assert (together[:8] - apart).abs().max() <= 1e-6, size

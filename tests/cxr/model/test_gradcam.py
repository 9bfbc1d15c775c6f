"""Heat maps follow the weights: the sanity check of Adebayo et al. (2018)."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from cxr.model.gradcam import grad_cam, output_of_interest, to_png
from cxr.model.network import BACKBONES, XrayNetwork

IMAGES = torch.randint(60, 220, (2, 64, 64), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_heat_maps_of_every_backbone_follow_its_weights(backbone):
    """A map that randomised weights leave as it is shows the image alone."""
    images, maps = IMAGES, []
    torch.manual_seed(0)
    network = XrayNetwork(backbone)
    torch.nn.init.normal_(network.head.weight, std=0.5)  # a new head is zero, and so would be its maps
    for _ in range(2):
        speaks_for = grad_cam(network, images)
        with torch.no_grad():
            network.head.weight.neg_()
        maps.append(speaks_for - grad_cam(network, images))  # a random network may find nothing that speaks for it
        with torch.no_grad():
            for weights in network.parameters():  # in reverse, which is as random and quicker than drawn anew
                weights.copy_(weights.flatten().flip(0).view_as(weights))
    assert maps[0].shape == (2, 64, 64) and np.isfinite(maps).all() and np.abs(maps).max() <= 1
    assert (np.abs(maps[0]).max(axis=(1, 2)) > 0).all()
    assert np.abs(maps[0] - maps[1]).mean() > 0.05


def test_a_map_is_drawn_for_the_output_that_is_asked_for():
    torch.manual_seed(0)
    network = XrayNetwork("mobilenet_v3_large", classes=3)
    torch.nn.init.normal_(network.head.weight, std=0.5)
    one, other = (grad_cam(network, IMAGES, [output] * 2) for output in (1, 2))
    assert np.abs(one - other).mean() > 0.01
    assert np.allclose(grad_cam(network, IMAGES, [1, 2]), [one[0], other[1]], atol=1e-4)
    assert to_png(one[0]).startswith(b"\x89PNG")


def test_the_likeliest_class_that_is_not_negative_is_explained():
    assert output_of_interest(np.array([[0.9, 0.1]])).tolist() == [0], "two classes have one output"
    assert output_of_interest(np.array([[0.9, 0.02, 0.08], [0.1, 0.6, 0.3]])).tolist() == [2, 1]


def test_requests_at_the_same_time_get_maps_of_their_own():
    """A service answers from several threads with one network."""
    torch.manual_seed(0)
    network = XrayNetwork("mobilenet_v3_large")
    torch.nn.init.normal_(network.head.weight, std=0.5)
    requests = [IMAGES[: 1 + number % 2] for number in range(24)]
    alone = [grad_cam(network, request) for request in requests]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda request: grad_cam(network, request), requests))
    for one, other in zip(alone, together, strict=True):
        assert one.shape == other.shape and np.allclose(one, other, atol=1e-4)

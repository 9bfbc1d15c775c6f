"""A network with folded batch norms answers as the trained one."""

import copy

import pytest
import torch
from torch import nn

from cxr.model.network import XrayNetwork, make_fast, predict_logits


def norms_of(network: XrayNetwork) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("backbone", "left"),
    # DenseNet has most of its norms before a convolution, and ConvNeXt has none.
    [("resnet18", 0), ("vgg16_bn", 0), ("densenet121", 62), ("efficientnet_b0", 0), ("convnext_tiny", 0)],
)
def test_folding_changes_rounding_alone(backbone, left):
    torch.manual_seed(0)
    trained = XrayNetwork(backbone)
    nn.init.normal_(trained.head.weight, std=0.1)
    with torch.no_grad():
        trained.train()(torch.rand(4, 1, 64, 64))  # batch statistics that are not those of a new network
    fast = make_fast(copy.deepcopy(trained).eval())
    images = torch.randint(0, 256, (5, 64, 64), dtype=torch.uint8)
    assert norms_of(fast) == left
    assert fast.head is not trained.head
    torch.testing.assert_close(predict_logits(fast, images), predict_logits(trained, images), rtol=0, atol=1e-5)

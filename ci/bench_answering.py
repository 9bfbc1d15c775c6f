"""How fast the registered model answers on a CPU, compared with the trained network in PyTorch's default layout."""

import copy

import torch

from bench_results import Results
from cxr.model.network import BATCH, XrayNetwork, make_fast, predict_logits


def run(results: Results, side: int = 128, count: int = 4 * BATCH) -> None:
    torch.manual_seed(0)
    plain = XrayNetwork().eval()
    torch.nn.init.normal_(plain.head.weight, std=0.1)
    fast = make_fast(copy.deepcopy(plain))
    images = torch.randint(0, 256, (count, side, side), dtype=torch.uint8)
    difference = (predict_logits(fast, images) - predict_logits(plain, images)).abs().max().item()

    def answers_of(network: XrayNetwork):
        return lambda: len(predict_logits(network, images))

    title = (
        f"the registered ResNet-18 at {side} px, compared with plain eager PyTorch (logits differ by {difference:.1e})"
    )
    results.compare(title, answers_of(fast), answers_of(plain))

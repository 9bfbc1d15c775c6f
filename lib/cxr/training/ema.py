"""The exponential moving average (EMA) of a network's weights."""

import copy

import torch
from torch import nn


class ExponentialMovingAverage:
    """The EMA of a network's weights and batch statistics, in a copy of the network (`network`).

    The decay is small at first, so that the random initial weights lose their influence within a few steps. Updates do
    not wait for the device; torch.optim.swa_utils.AveragedModel does at every step.
    """

    def __init__(self, source: nn.Module, decay: float):
        self.network = copy.deepcopy(source).requires_grad_(False)
        self.steps, self._decay = 0, decay
        pairs = zip(self.network.state_dict().values(), source.state_dict().values(), strict=True)
        self._pairs = [pair for pair in pairs if pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Call after every optimizer step."""
        self.steps += 1
        weight = 1 - min(self._decay, self.steps / (10 + self.steps))
        averaged, current = zip(*self._pairs, strict=True)
        torch._foreach_lerp_(averaged, current, weight)

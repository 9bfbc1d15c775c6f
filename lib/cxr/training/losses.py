"""The training loss: cross-entropy with class weights and label smoothing."""

import torch
from torch import nn
from torch.nn import functional as F


def class_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Weights float [classes] that give every class the same total weight; their mean over the images is 1."""
    others = [(labels == number).float().mean() for number in range(1, classes)]
    return 1 / (classes * torch.stack([1 - sum(others), *others]))


class WeightedCrossEntropy(nn.Module):
    """Summed cross-entropy of logits [N, outputs] and labels int64 [N]; binary if the network has one output."""

    def __init__(self, weights: torch.Tensor, label_smoothing: float):
        super().__init__()
        self.register_buffer("weights", weights)
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        weights, smoothing = self.weights[labels], self.label_smoothing
        if logits.shape[1] == 1:
            target = labels.float() * (1 - smoothing) + smoothing / 2
            logits = logits.squeeze(1).float()
            return F.binary_cross_entropy_with_logits(logits, target, weight=weights, reduction="sum")
        losses = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing, reduction="none")
        return (losses * weights).sum()

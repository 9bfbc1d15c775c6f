"""Networks, configurations and runs for tests that need answers and no training."""

import numpy as np
import pandas as pd
import torch

from cxr.evaluation.calibration import OperatingPoint
from cxr.evaluation.report import evaluate
from cxr.model.config import ModelConfig
from cxr.model.network import XrayNetwork, to_float
from cxr.model.probabilities import Calibration
from cxr.settings import LABELS

POINT = OperatingPoint(Calibration(), 0.5)


def fit_normalisation(network: XrayNetwork, stack: np.ndarray) -> None:
    """Fit the normalisation to these images: a network that was never trained would otherwise say 0.5 of each."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
            layer.reset_running_stats()
    with torch.no_grad():
        network.train()(to_float(torch.from_numpy(stack)))
    network.eval()


def model_config(**changes) -> ModelConfig:
    """A configuration of a small network at 64 px; `changes` replace what stands here."""
    given = dict(backbone="mobilenet_v3_large", image_size=64, labels=LABELS, temperature=1.0, bias=(0.0,))
    given |= dict(threshold=0.5, weights="random", seed=0, best_epoch=1, data="phantoms")
    return ModelConfig(**given | changes)


def report_of(rows: pd.DataFrame, logits: np.ndarray, point: OperatingPoint = POINT, **options) -> dict:
    """:func:`cxr.evaluation.report.evaluate` of one logit an image, [N]."""
    return evaluate(rows, np.asarray(logits, dtype=float).reshape(len(rows), -1), point, LABELS, **options)


def probability(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """[N] -> [N]: the logistic function."""
    return Calibration(temperature).positive(np.asarray(logits, dtype=float).reshape(-1, 1))


def two(positive: np.ndarray) -> np.ndarray:
    """Probabilities of the positive class, [N] -> of both, [N, 2]."""
    return np.stack([1 - positive, positive], axis=1)

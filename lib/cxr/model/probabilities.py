"""From logits to calibrated class probabilities and to a label; the same everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Calibration:
    """Temperature (Guo et al. 2017) and a bias for each output of the network (Platt 1999), fitted on validation."""

    temperature: float = 1.0
    bias: tuple[float, ...] = (0.0,)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, outputs] -> float64 [N, classes], rows sum to 1; class 0 is the negative one."""
        scaled = (np.asarray(logits, dtype=np.float64) + np.asarray(self.bias)) / self.temperature
        if scaled.shape[1] == 1:
            # The logistic function in a form that never overflows.
            return np.exp(-np.logaddexp(0.0, np.hstack([scaled, -scaled])))
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def positive(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, outputs] -> float64 [N], the probability of anything but the negative class."""
        return p_positive(self.probabilities(logits))


def p_positive(probabilities: np.ndarray) -> np.ndarray:
    """[N, classes] -> [N], 1 minus the probability of the negative class; summed, so that small ones stay exact."""
    return probabilities[:, 1:].sum(axis=1)


def choose_classes(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """[N, classes] -> int [N]: the negative class below the threshold, else the likeliest of the others."""
    likeliest = 1 + probabilities[:, 1:].argmax(axis=1)
    return np.where(p_positive(probabilities) >= threshold, likeliest, 0)


def to_names(classes: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """int [N] -> the names of the classes, [N]."""
    return np.asarray(labels, dtype=object)[classes]

"""Fit the gate of :mod:`cxr.model.gate` to training images, and set its level on validation images."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cxr.model.gate import Direction, Gate, Group, turned_ratios
from cxr.model.gate_features import predict_with_features, side_by_side
from cxr.model.network import XrayNetwork
from cxr.training.augmentation import shifted
from cxr.training.batches import Pixels

LOST = 0.01  # fraction of validation images that the gate may stop
FEWEST = 200  # validation images; fewer are not enough to estimate a level that 1% exceed
_TURNED, _PHANTOMS = "turned", "phantoms"
MOST = 1000  # training images that are looked at
_AT_ONCE = 1024  # images whose features are computed together: their floats take 64 KB each at 128 px


@dataclass(frozen=True)
class FittedGate:
    """`gate` is None where it is off; `facts` say so, and go into model.json."""

    gate: Gate | None
    facts: dict

    def passes(self, network: XrayNetwork, images: Pixels) -> np.ndarray:
        """Whether each image, uint8 [N, H, W], is like those of training: bool [N]; all are where the gate is off."""
        if self.gate is None or not len(images):
            return np.ones(len(images), dtype=bool)
        return self.gate.distances(_features(network, images)) <= 1

    def __str__(self) -> str:
        return in_words(self.facts)


def fit_gate(
    network: XrayNetwork,
    train: Pixels,
    tuning: Pixels,
    validation_images: int,
    seed: int = 0,
    strength: float = 1.0,
    foreign: torch.Tensor | None = None,
) -> FittedGate:
    """Means and shrunk covariances (Ledoit and Wolf 2004) of training images as they are and changed as
    :func:`cxr.training.augmentation.shifted` changes them; the level on the validation images of the tuning half.

    Args:
        train, tuning: uint8 [N, H, W].
        validation_images: in both halves; below 200 the gate is off.
        strength: of the changes, as training used it.
        foreign: uint8 [N, H, W], images of another kind (:mod:`cxr.training.gate_images`), which are learned too.
    """
    if validation_images < FEWEST:
        return FittedGate(None, {"on": False, "validation_images": validation_images, "needed": FEWEST})
    seen = train[torch.linspace(0, len(train) - 1, min(MOST, len(train))).round().long()]
    learned = _features(network, torch.cat([seen, shifted(seen, seed, strength)]))
    fits = {name: _fit(features) for name, features in learned.items()}
    held_out = _features(network, tuning)
    distances = {name: group.distances(held_out[name]) for name, group in fits.items()}
    distances[_TURNED] = turned_ratios(fits["layout"], held_out["layout"])
    way = None
    if foreign is not None:
        way = _fit_direction(learned, _features(network, torch.cat([foreign, shifted(foreign, seed, strength)])))
        distances[_PHANTOMS] = np.exp(way.scores(held_out))  # a score may be negative, and levels are set on logs
    levels = _levels(distances)
    groups = {name: Group(group.mean, group.whitening, levels[name]) for name, group in fits.items()}
    if way:
        way = Direction(way.mean, way.weights, float(np.log(levels[_PHANTOMS])))
    facts = {"on": True, "validation_images": validation_images, "level_from": len(tuning), "lost": LOST}
    return FittedGate(Gate(groups, levels[_TURNED], way), facts)


def _features(network: XrayNetwork, images: Pixels) -> dict[str, np.ndarray]:
    parts = [predict_with_features(network, some)[1] for some in images.split(_AT_ONCE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _fit(features: np.ndarray) -> Group:
    found = LedoitWolf().fit(features.astype(np.float64))
    values, vectors = np.linalg.eigh(found.covariance_)
    whitening = vectors / np.sqrt(np.maximum(values, values.max() * 1e-9))
    return Group(found.location_.astype(np.float32), whitening.astype(np.float32), 1.0)


def _fit_direction(learned: dict[str, np.ndarray], drawn: dict[str, np.ndarray]) -> Direction:
    """Fisher's linear discriminant with shrunk covariances; training images have scores of mean 0 and deviation 1."""
    inside, outside = side_by_side(learned), side_by_side(drawn)
    known = np.repeat([0, 1], [len(inside), len(outside)])
    found = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(np.vstack([inside, outside]), known)
    mean, weights = inside.mean(axis=0), found.coef_[0]
    deviation = ((inside - mean) @ weights).std()
    return Direction(mean.astype(np.float32), (weights / deviation).astype(np.float32), 1.0)


def _levels(distances: dict[str, np.ndarray]) -> dict[str, float]:
    """A level for each kind of distance, so that 1% of the images are beyond any of them.

    All levels are equally many standard deviations of the log-distance above its mean.
    """
    logs = {name: np.log(np.maximum(values, 1e-9)) for name, values in distances.items()}
    centres = {name: (float(values.mean()), float(values.std()) + 1e-9) for name, values in logs.items()}
    beyond = _level(np.max([(values - centres[name][0]) / centres[name][1] for name, values in logs.items()], axis=0))
    return {name: float(np.exp(mean + beyond * deviation)) for name, (mean, deviation) in centres.items()}


def _level(distances: np.ndarray) -> float:
    """A distance that at most 1% of these images exceed, midway between two of them; above all, if they are few."""
    ordered = np.sort(distances)
    place = int(np.ceil((1 - LOST) * (len(ordered) - 1)))
    return float(np.mean(ordered[place : place + 2])) if place + 1 < len(ordered) else float(ordered[-1]) + 1e-3


def in_words(facts: dict) -> str:
    """:attr:`FittedGate.facts` as a sentence."""
    if not facts:
        return "the gate is off: this run is older than the gate"
    if not facts["on"]:
        return (
            f"the gate is off: it needs {facts['needed']:,} validation images and has {facts['validation_images']:,}; "
            "every image gets a label, even if it is no chest X-ray"
        )
    return (
        f"the gate is on: images farther from those of training than {1 - facts['lost']:.0%} of validation images get "
        "no label"
    )

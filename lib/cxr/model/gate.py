"""A gate against images unlike those of training: Mahalanobis distances of features (Lee et al. 2018).

Four groups of features, none of which costs a second pass through the network: the channels of a middle and of the last
stage, each averaged over the image; the image itself in 10 x 10 fields; and its texture, the energy by spatial
frequency and the distribution of its grey levels. A photograph or a hand differs in all of them, a drawing in the
texture. An X-ray that is turned, upside down or inverted differs less, but it comes closer to those of training when it
is turned back: the fields are compared with themselves turned, upside down and inverted. And one kind of foreign images
is known beforehand, the phantoms that this project draws: a model of patients' images has the direction in which they
differ (Fisher's linear discriminant). An image is unlike those of training if one distance, the ratio, or the way it
goes in that direction is above its level. The file holds means and covariances of training, and no image's features.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cxr.model.network import XrayNetwork, predict_logits, to_float

FIELDS = 10  # a side, of the layout
UNLIKE = "unlike_training"  # what a STATUS begins with
_ARRAYS, _TURNED = ("mean", "whitening", "level"), "turned.level"
_DIRECTION = tuple(f"phantoms.{part}" for part in ("mean", "weights", "level"))


@dataclass(frozen=True)
class Group:
    """Features of training: float32 `mean` [D] and `whitening` [D, D], and the largest distance that passes."""

    mean: np.ndarray
    whitening: np.ndarray
    level: float

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distances of features [N, D]: float64 [N]."""
        return np.linalg.norm(_product(features - self.mean, self.whitening), axis=1).astype(float)


@dataclass(frozen=True)
class Direction:
    """From the images of training towards phantoms: float32 `mean` [D] of training and `weights` [D], of layout and
    texture side by side, and the largest score that passes."""

    mean: np.ndarray
    weights: np.ndarray
    level: float

    def scores(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """How far images go in that direction: float64 [N]."""
        return _product(side_by_side(features) - self.mean, self.weights).astype(float)


@dataclass(frozen=True)
class Gate:
    """The groups by name, as :func:`predict_with_features` names them, and the level of :func:`turned_ratios`.

    `towards_phantoms` is None in a model of phantoms, and in versions logged before there was one.
    """

    groups: dict[str, Group]
    turned_level: float
    towards_phantoms: Direction | None = None

    def distances(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """The largest distance of each image over the groups, relative to the level: [N]; above 1 is unlike training.

        Infinite where a feature is no number.
        """
        each = [group.distances(features[name]) / group.level for name, group in self.groups.items()]
        each.append(turned_ratios(self.groups["layout"], features["layout"]) / self.turned_level)
        if self.towards_phantoms:
            each.append(self.towards_phantoms.scores(features) / self.towards_phantoms.level)
        return np.nan_to_num(np.max(each, axis=0), nan=np.inf)

    def write(self, path: Path) -> None:
        """As .npz without pickles."""
        arrays = {
            f"{name}.{part}": np.asarray(getattr(group, part), np.float32)
            for name, group in self.groups.items()
            for part in _ARRAYS
        }
        arrays[_TURNED] = np.float32(self.turned_level)
        if way := self.towards_phantoms:
            arrays |= zip(_DIRECTION, (way.mean, way.weights, np.float32(way.level)), strict=True)
        with path.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> "Gate":
        """Raises ValueError if the file is no gate; nothing in it is executed."""
        with np.load(path, allow_pickle=False) as found:
            way = [found[key] for key in _DIRECTION if key in found]
            keys = set(found) - {_TURNED, *_DIRECTION}
            names = {key.rpartition(".")[0] for key in keys}
            whole = keys == {f"{name}.{part}" for name in names for part in _ARRAYS} and len(way) in (0, 3)
            if "layout" not in names or _TURNED not in found or not whole:
                raise ValueError(f"{path.name} is not the file of a gate: train again")
            turned_level = float(found[_TURNED])
            groups = {name: [found[f"{name}.{part}"] for part in _ARRAYS] for name in sorted(names)}
        made = {name: Group(mean, whitening, float(level)) for name, (mean, whitening, level) in groups.items()}
        return cls(made, turned_level, Direction(way[0], way[1], float(way[2])) if way else None)


def side_by_side(features: dict[str, np.ndarray]) -> np.ndarray:
    """Layout and texture, which need no network: [N, D]."""
    return np.hstack([features["layout"], features["texture"]])


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The matrix product by PyTorch: NumPy's has threads of its own, which take the network's cores while they wait."""
    left = torch.from_numpy(np.ascontiguousarray(left))
    return (left @ torch.from_numpy(right).to(left.dtype)).numpy()


def turned_ratios(group: Group, layout: np.ndarray) -> np.ndarray:
    """The distance of each layout [N, D] relative to that of the nearest of its turned, upside-down and inverted forms.

    [N]; below 1 for what stands upright as in training. Its mirror image, left for right, is not among them.
    """
    grid = layout.reshape(len(layout), FIELDS, FIELDS)
    turns = [np.rot90(grid, number, axes=(1, 2)) for number in (1, 2, 3)]
    mirrored = grid[:, :, ::-1]
    turns += [np.rot90(mirrored, number, axes=(1, 2)) for number in (1, 2, 3)]
    nearest = np.min([group.distances(turn.reshape(layout.shape)) for turn in (*turns, -grid)], axis=0)
    return group.distances(layout) / nearest


def status_of(distance: float) -> str:
    """The STATUS of an image at this relative distance: `ok`, or why it has no label."""
    if distance <= 1:
        return "ok"
    far = f"{distance:.2g} times" if distance < 100 else "more than 100 times"
    return f"{UNLIKE}: {far} as far from the training images as is usual at most"


def predict_with_features(network: XrayNetwork, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, np.ndarray]]:
    """Logits of uint8 [N, H, W] as :func:`predict_logits` gives them, and features float32 [N, D] of the same pass."""
    with _pooled_stages(network) as kept:
        logits = predict_logits(network, images)
    # Only the last batch is filled up, so what was filled in stands at the end.
    features = {name: np.concatenate(parts)[: len(images)] for name, parts in kept.items() if parts}
    return logits, features | {"layout": _layout(images), "texture": _texture(images)}


@contextmanager
def _pooled_stages(network: XrayNetwork) -> Iterator[dict[str, list[np.ndarray]]]:
    """Collects the channel means of a middle and of the last stage while the network runs in this thread.

    A service answers several requests with one network, each in a thread of its own.
    """
    kept: dict[str, list[np.ndarray]] = {"middle": [], "last": []}
    thread = threading.get_ident()

    def keep(name: str):
        def hook(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
            if threading.get_ident() == thread:
                kept[name].append(output.detach().mean(dim=(2, 3)).float().cpu().numpy())

        return hook

    hooks = [stage.register_forward_hook(keep(name)) for name, stage in zip(kept, _stages(network), strict=True)]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def _stages(network: XrayNetwork) -> tuple[nn.Module, nn.Module]:
    backbone = network.backbone
    if hasattr(backbone, "layer4"):
        return backbone.layer2, backbone.layer4
    return backbone.features[len(backbone.features) // 2], backbone.features


def _layout(images: torch.Tensor) -> np.ndarray:
    """The mean of each of 10 x 10 fields, after the image was standardised as in the network: [N, 100]."""
    fields = nn.functional.adaptive_avg_pool2d(to_float(images), FIELDS).flatten(1)
    deviation = fields.std(dim=1, keepdim=True)
    return ((fields - fields.mean(dim=1, keepdim=True)) / (deviation + 1e-3)).numpy()


def _texture(images: torch.Tensor) -> np.ndarray:
    """Log-energy in bands of spatial frequency, and quantiles of the grey levels, of standardised images: [N, D]."""
    pixels = images.numpy().astype(np.float32)
    mean, scale = pixels.mean(axis=(1, 2), keepdims=True), pixels.std(axis=(1, 2), keepdims=True) + 1
    greys = (_grey_quantiles(images.numpy()) - mean[:, 0]) / scale[:, 0]
    side = pixels.shape[1]
    window = np.hanning(side).astype(np.float32)  # the borders would look like high frequencies
    waves = torch.fft.rfft2(torch.from_numpy((pixels - mean) / scale * (window * window[:, None])))
    energy = (waves.real**2 + waves.imag**2).flatten(1).numpy()
    spectrum = np.log(_product(energy, _bands(side)) + 1e-6)
    return np.hstack([spectrum, greys]).astype(np.float32)


@lru_cache
def _bands(side: int) -> np.ndarray:
    """What averages over rings of spatial frequency: float32 [frequencies of rfft2, bands]."""
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)).ravel() * side
    edges = np.geomspace(1, side / 2, 17)
    rings = [ring for low, high in pairwise(edges) if (ring := (radius >= low) & (radius < high)).any()]
    return np.stack([ring / ring.sum() for ring in rings], axis=1).astype(np.float32)


def _grey_quantiles(images: np.ndarray) -> np.ndarray:
    """As `np.quantile` of uint8 [N, H, W] from 1% to 99%, by counting instead of sorting: float64 [N, 15]."""
    flat = images.reshape(len(images), -1)
    ends = np.stack([np.bincount(each, minlength=256) for each in flat]).cumsum(axis=1)
    places = np.linspace(0.01, 0.99, 15) * (flat.shape[1] - 1)
    below, above = (
        np.stack([np.searchsorted(each, ranks, side="right") for each in ends])
        for ranks in (np.floor(places), np.ceil(places))
    )
    return below + (above - below) * (places - np.floor(places))

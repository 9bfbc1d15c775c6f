"""A gate against images unlike those of training: Mahalanobis distances of features (Lee et al. 2018).

Four groups of features, none of which costs a second pass through the network: the channels of a middle and of the last
stage, each averaged over the image; the image itself in 10 x 10 fields; and its texture, the energy by spatial
frequency and the distribution of its grey levels. A photograph or a hand differs in all of them, a drawing in the
texture. An X-ray that is turned, upside down or inverted differs less, but it comes closer to those of training when it
is turned back: the fields are compared with themselves turned, upside down and inverted. One kind of foreign images is
known beforehand, the phantoms that this project draws: a model of patients' images has the direction in which they
differ (Fisher's linear discriminant). An image is unlike those of training if one distance, the ratio, or the score in
that direction is above its level. The file contains means and covariances of training, and no image's features.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxr.model.gate_features import FIELDS, product, side_by_side

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
        return np.linalg.norm(product(features - self.mean, self.whitening), axis=1).astype(float)


@dataclass(frozen=True)
class Direction:
    """From the images of training towards phantoms: float32 `mean` [D] of training and `weights` [D], of layout and
    texture side by side, and the largest score that passes."""

    mean: np.ndarray
    weights: np.ndarray
    level: float

    def scores(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """The scores of images in that direction: float64 [N]."""
        return product(side_by_side(features) - self.mean, self.weights).astype(float)


@dataclass(frozen=True)
class Gate:
    """The groups by name, as :mod:`cxr.model.gate_features` names them, and the level of :func:`turned_ratios`.

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
    return f"{UNLIKE}: {far} the allowed distance from the training images"

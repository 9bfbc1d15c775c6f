"""A gate against images unlike those of training: Mahalanobis distances of features (Lee et al. 2018).

Three groups of features, none of which costs a second pass through the network: the channels of a middle and of the
last stage, each averaged over the image, and the image itself in 10 x 10 fields. A photograph or a hand differs in the
stages; an X-ray that is turned or upside down, in the layout. An image is unlike those of training if its distance in
any group is above that group's level. The file holds means and covariances of training, and no image's features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cxr.model.network import XrayNetwork, predict_logits, to_float

FIELDS = 10  # a side, of the layout
UNLIKE = "unlike_training"  # what a STATUS begins with
_ARRAYS = ("mean", "whitening", "level")


@dataclass(frozen=True)
class Group:
    """Features of training: float32 `mean` [D] and `whitening` [D, D], and the largest distance that passes."""

    mean: np.ndarray
    whitening: np.ndarray
    level: float

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distances of features [N, D]: float64 [N]."""
        return np.linalg.norm((features - self.mean) @ self.whitening, axis=1).astype(float)


@dataclass(frozen=True)
class Gate:
    """The groups by name, as :func:`predict_with_features` names them."""

    groups: dict[str, Group]

    def distances(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """The largest distance of each image over the groups, relative to the level: [N]; above 1 is unlike training.

        Infinite where a feature is no number.
        """
        each = [group.distances(features[name]) / group.level for name, group in self.groups.items()]
        return np.nan_to_num(np.max(each, axis=0), nan=np.inf)

    def write(self, path: Path) -> None:
        """As .npz without pickles."""
        arrays = {
            f"{name}.{part}": np.asarray(getattr(group, part), np.float32)
            for name, group in self.groups.items()
            for part in _ARRAYS
        }
        with path.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> "Gate":
        """Raises ValueError if the file is no gate; nothing in it is executed."""
        with np.load(path, allow_pickle=False) as found:
            names = {key.rpartition(".")[0] for key in found}
            if not names or set(found) != {f"{name}.{part}" for name in names for part in _ARRAYS}:
                raise ValueError(f"{path.name} is not the file of a gate: train again")
            groups = {name: [found[f"{name}.{part}"] for part in _ARRAYS] for name in sorted(names)}
        return cls({name: Group(mean, whitening, float(level)) for name, (mean, whitening, level) in groups.items()})


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
    return logits, features | {"layout": _layout(images)}


@contextmanager
def _pooled_stages(network: XrayNetwork) -> Iterator[dict[str, list[np.ndarray]]]:
    """Collects the channel means of a middle and of the last stage while the network runs."""
    kept: dict[str, list[np.ndarray]] = {"middle": [], "last": []}

    def keep(name: str):
        def hook(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
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

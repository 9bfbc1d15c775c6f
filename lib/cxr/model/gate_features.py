"""Features of an image for the gate: from the network's own pass, from the layout and from the texture."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from cxr.model.network import XrayNetwork, predict_logits, to_float

FIELDS = 10  # a side, of the layout


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
    spectrum = np.log(product(energy, _bands(side)) + 1e-6)
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


def side_by_side(features: dict[str, np.ndarray]) -> np.ndarray:
    """Layout and texture, which need no network: [N, D]."""
    return np.hstack([features["layout"], features["texture"]])


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The matrix product by PyTorch: NumPy's has threads of its own, which take the network's cores while they wait."""
    left = torch.from_numpy(np.ascontiguousarray(left))
    return (left @ torch.from_numpy(right).to(left.dtype)).numpy()

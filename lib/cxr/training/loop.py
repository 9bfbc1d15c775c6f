"""The training loop. Knows arrays and devices; nothing of Snowflake."""

import copy
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from cxr.model.network import PneumoniaNetwork, best_device, has_bfloat16, predict_logits, to_float
from cxr.training.augmentation import augment
from cxr.training.distributed import World

CHECKPOINTS = ("best.pt", "last.pt")


@dataclass(frozen=True)
class Recipe:
    """How to train. The averaged weights (`average_decay`) are those that are evaluated and kept."""

    epochs: int = 12
    batch_size: int = 32  # over all processes
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    average_decay: float = 0.995
    small_epochs: float = 0.67  # share of the epochs that run on images of `small_size` times the side, for speed
    small_size: float = 0.75
    head_epochs: int = 0  # first epochs in which only the head learns
    early_rate: float = 1.0  # the first layers' share of the learning rate
    patience: int = 0  # end after so many epochs without a better validation AUROC; 0: never
    bfloat16: bool = True  # where the device has it
    compile: bool = False  # torch.compile, on a GPU
    seed: int = 0


def recipe_for(
    count: int, epochs: int, batch_size: int, learning_rate: float, seed: int, pretrained: bool = False
) -> Recipe:
    """The recipe for `count` training images.

    `epochs` 0 chooses as many as see 50,000 images, between 5 and 12. On a device without bfloat16 an epoch takes three
    times as long: there it is 20,000 images, at most 8 epochs, and the first see them at half the side.

    Small data get smaller batches, because what a network learns grows with the number of steps; the learning rate,
    which is given for a batch of 32, follows the batch. `pretrained` weights are changed with care: the new head
    learns alone for an epoch, and then the rates fall from the head to the first layer.
    """
    images, most, small_size = (50_000, 12, 0.75) if has_bfloat16(best_device()) else (20_000, 8, 0.5)
    chosen = epochs or min(most, max(5, round(images / count)))
    size = max(4, min(batch_size, count // 16))
    recipe = Recipe(chosen, size, learning_rate * size / 32, small_size=small_size, seed=seed)
    return replace(recipe, head_epochs=1, early_rate=0.01) if pretrained else recipe


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
        self.steps, self._decay = 0, decay
        pairs = zip(self.network.state_dict().values(), source.state_dict().values(), strict=True)
        self._pairs = [pair for pair in pairs if pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        self.steps += 1
        weight = 1 - min(self._decay, self.steps / (10 + self.steps))
        averaged, current = zip(*self._pairs, strict=True)
        torch._foreach_lerp_(averaged, current, weight)


def train(
    network: PneumoniaNetwork,
    images: torch.Tensor,
    labels: torch.Tensor,
    validation_images: torch.Tensor,
    validation_labels: torch.Tensor,
    recipe: Recipe,
    *,
    folder: Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[dict[str, float]], None] = lambda metrics: None,
    on_checkpoint: Callable[[Path], None] = lambda path: None,
    world: World = World(),  # noqa: B008  it is frozen
) -> Trained:
    """Train `network` in place on its device and return the best epoch by validation AUROC.

    Every random number follows from the recipe's seed, the epoch and the process, so a run that is taken up again
    draws what the unbroken one would have drawn. The global generator is left as it was.

    Args:
        images, validation_images: uint8 [N, H, W].
        labels, validation_labels: float [N], 1 for pneumonia.
        folder: for `best.pt` (the state dict to use) and `last.pt` (all that taking up the run needs).
        resume: go on after the epoch that `last.pt` holds, if it is there.
        on_epoch: called with each epoch's metrics, those before the resumption too.
        on_checkpoint: called with the path of each checkpoint once it is whole.
        world: this process among those that train together; all are given the same images.

    Raises:
        ValueError: a class is missing in training or validation; `last.pt` is damaged or of another recipe.
        FloatingPointError: the loss is not a number; names the step. The checkpoints of the epoch before stay.
    """
    _check_labels(labels, "training")
    _check_labels(validation_labels, "validation")
    run = _Run(network, len(images), recipe, world)
    if resume and folder and (folder / "last.pt").exists():
        run.load(folder / "last.pt")
    device = next(network.parameters()).device
    images, labels = _on_device_if_it_fits(images, device), labels.to(device)
    with (
        torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else []),
        tqdm(
            total=recipe.epochs * len(images),
            initial=len(run.trained.history) * len(images),
            unit="image",
            unit_scale=True,
            mininterval=5,
            disable=world.rank > 0,
        ) as progress,
    ):
        for metrics in run.trained.history if world.rank == 0 else ():
            on_epoch(metrics)
        while not run.is_over():
            start, epoch = time.perf_counter(), len(run.trained.history)
            loss = run.one_epoch(images, labels, _side(epoch, images.shape[1], recipe), progress)
            rate = len(images) / (time.perf_counter() - start)
            metrics = {"epoch": epoch + 1, "side": _side(epoch, images.shape[1], recipe), "training_loss": loss}
            metrics |= _validate(run.average.network, validation_images, validation_labels, world)
            is_best = run.add(metrics | {"images_per_second": rate})
            if world.rank == 0:
                if folder:
                    _save(run, folder, is_best, on_checkpoint)
                on_epoch(run.trained.history[-1])
    return run.trained


class _Run:
    """All that changes while a network trains, and how one epoch changes it."""

    def __init__(self, network: PneumoniaNetwork, count: int, recipe: Recipe, world: World):
        world.prepare(network)
        self.network = network.to(memory_format=torch.channels_last)
        self.recipe, self.world = recipe, world
        self.steps = math.ceil(count / recipe.batch_size)
        groups = network.parameter_groups(recipe.learning_rate, recipe.early_rate)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            [group["lr"] for group in groups],
            total_steps=self.steps * recipe.epochs,
            pct_start=0.2,
        )
        self.average = MovingAverage(network, recipe.average_decay)
        self.trained = Trained({}, 0)
        self._model, self._head_only = None, None

    def is_over(self) -> bool:
        epochs, patience = len(self.trained.history), self.recipe.patience
        return epochs >= self.recipe.epochs or bool(patience and epochs - self.trained.best_epoch >= patience)

    def add(self, metrics: dict[str, float]) -> bool:
        """Take in an epoch's metrics; whether it is the best so far. Of equals the later is better."""
        before = [past["validation_auroc"] for past in self.trained.history]
        self.trained.history.append(metrics)
        is_best = metrics["validation_auroc"] >= max(before, default=0)
        if is_best:
            self.trained.best_epoch = metrics["epoch"]
            self.trained.state = _to_cpu(self.average.network.state_dict())
        return is_best

    def one_epoch(self, images: torch.Tensor, labels: torch.Tensor, side: int, progress: tqdm) -> float:
        """One pass over the images; the mean loss. No step waits for the device.

        All batches are of one size, so up to one image a step sits out an epoch, each time others.
        """
        recipe, world, device, epoch = self.recipe, self.world, labels.device, len(self.trained.history)
        model = self._model_for(epoch)
        model.train()
        # The order is the same in all processes; what is drawn for an image is not.
        order = torch.randperm(len(images), generator=_generator("cpu", recipe.seed, epoch, 0))
        order = order[: len(images) // self.steps * self.steps].view(self.steps, -1)
        generator = _generator(device, recipe.seed, epoch, 1 + world.rank)
        torch.manual_seed(generator.initial_seed())  # dropout draws from the global one
        weights = class_weights(labels)
        losses = torch.zeros(self.steps, device=device)
        chosen = [world.share(batch) for batch in order]
        for step, (batch, which) in enumerate(_batches(images, chosen, device)):
            batch = _resize(to_float(batch), side)
            batch = augment(batch, generator).contiguous(memory_format=torch.channels_last)
            loss = batch_loss(model, batch, labels[which], weights[which], order.shape[1], recipe, world)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
            self.average.update()
            losses[step] = loss.detach()
            progress.update(order.shape[1])
        losses = world.sum(losses).cpu() / world.size
        if not losses.isfinite().all():
            first = int((~losses.isfinite()).nonzero()[0])
            raise FloatingPointError(
                f"the training loss is {float(losses[first])} at step {first + 1} of {self.steps} in epoch "
                f"{epoch + 1}; lower learning_rate (it is {recipe.learning_rate}) and start again. The checkpoints "
                "of the epochs before are kept."
            )
        return float(losses.mean())

    def _model_for(self, epoch: int) -> nn.Module:
        """The network as this epoch trains it; wrapped anew when the layers that learn change."""
        head_only = epoch < self.recipe.head_epochs
        if self._head_only != head_only:
            self._head_only = head_only
            self.network.requires_grad_(not head_only)
            self.network.head.requires_grad_(True)
            self._model = self.world.wrap(self.network)
            if self.recipe.compile and next(self.network.parameters()).is_cuda:
                self._model = torch.compile(self._model)
        return self._model

    def state(self) -> dict:
        return {
            "recipe": asdict(self.recipe) | {"steps": self.steps},
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "average_steps": self.average.steps,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "trained": vars(self.trained),
        }

    def load(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise ValueError(f"{path} is no whole checkpoint: remove it, or train without resume") from error
        own = asdict(self.recipe) | {"steps": self.steps}
        if different := [name for name in own if own[name] != state["recipe"].get(name)]:
            raise ValueError(
                f"{path} belongs to another run, which differs in {', '.join(different)}: train without resume"
            )
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.trained = Trained(**state["trained"])


def batch_loss(
    model: nn.Module,
    batch: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor,
    total: int,
    recipe: Recipe,
    world: World,
) -> torch.Tensor:
    """The loss of this process's part of a batch of `total` images.

    Its mean over the processes is the loss of the batch, however the parts differ in size.
    """
    target = labels * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
    kind = batch.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=recipe.bfloat16 and has_bfloat16(batch.device)):
        logits = model(batch)
    loss = F.binary_cross_entropy_with_logits(logits.float(), target, weight=weights, reduction="sum")
    return loss * world.size / total


def class_weights(labels: torch.Tensor) -> torch.Tensor:
    """A weight an image, with which both classes count the same in sum, however many images each has."""
    positives = labels.mean()
    return torch.where(labels > 0.5, 0.5 / positives, 0.5 / (1 - positives))


def write_atomically(content: dict, path: Path) -> None:
    """torch.save, so that whoever looks finds the old file or the new one and never a part, whatever happens."""
    aside = path.with_suffix(".part")
    with aside.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _save(run: _Run, folder: Path, is_best: bool, on_checkpoint: Callable[[Path], None]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    contents = ({"best.pt": run.trained.state} if is_best else {}) | {"last.pt": run.state()}
    for name, content in contents.items():
        write_atomically(content, folder / name)
        on_checkpoint(folder / name)


def _generator(device: torch.device | str, seed: int, epoch: int, stream: int) -> torch.Generator:
    return torch.Generator(device).manual_seed((seed * 10_000 + epoch) * 10_000 + stream)


def _on_device_if_it_fits(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The images on the device where they leave it half of its free memory, else in pinned memory, batch by batch."""
    if device.type == "cuda" and images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return images.to(device)


def _batches(
    images: torch.Tensor, chosen: list[torch.Tensor], device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(uint8 [n, H, W], their indices), on the device. Off it, the next batch is gathered while this one is used."""
    if images.device.type == device.type:
        for which in torch.stack(chosen).to(device):
            yield images[which], which
        return

    def gather(which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pair = images[which], which
        return tuple(tensor.pin_memory() for tensor in pair) if device.type == "cuda" else pair

    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(gather, which) for which in chosen[:1]]
        for following in [*chosen[1:], None]:
            batch, which = ahead.pop().result()
            if following is not None:
                ahead.append(pool.submit(gather, following))
            yield batch.to(device, non_blocking=True), which.to(device, non_blocking=True)


def _resize(batch: torch.Tensor, side: int) -> torch.Tensor:
    if side == batch.shape[-1]:
        return batch
    return F.interpolate(batch, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def _side(epoch: int, full: int, recipe: Recipe) -> int:
    """The image side in this epoch, a multiple of 16 so that strides divide it."""
    if epoch >= int(recipe.epochs * recipe.small_epochs):
        return full
    return max(32, round(full * recipe.small_size / 16) * 16)


def _validate(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, world: World) -> dict[str, float]:
    device = next(network.parameters()).device
    logits = torch.zeros(len(images), device=device)
    # To tell epochs apart it is exact enough, and twice as fast.
    with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
        logits[world.rank :: world.size] = predict_logits(network, world.share(images)).to(device)
    logits, labels = world.sum(logits).cpu(), labels.cpu()
    if not logits.isfinite().all():
        raise FloatingPointError("the network answers validation images with no numbers; lower learning_rate")
    loss = F.binary_cross_entropy_with_logits(logits, labels)
    return {"validation_auroc": float(roc_auc_score(labels, logits)), "validation_loss": float(loss)}


def _check_labels(labels: torch.Tensor, name: str) -> None:
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        raise ValueError(
            f"{name} holds {positives} images of PNEUMONIA and {len(labels) - positives} of NORMAL; both are needed"
        )


def _to_cpu(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: copy.deepcopy(value.detach()).cpu().contiguous() for key, value in state.items()}

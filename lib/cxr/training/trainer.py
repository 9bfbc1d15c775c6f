"""The training loop on one device. Uses arrays and devices only, nothing of Snowflake.

:class:`Trainer` reads from top to bottom: `fit` runs epochs; an epoch trains, validates and writes checkpoints. For
several processes, :class:`cxr.training.distributed.DistributedTrainer` overrides the methods in which they communicate.
"""

import copy
import hashlib
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F

from cxr.atomic_files import write_atomically
from cxr.model.network import XrayNetwork, has_bfloat16, predict_logits, to_float
from cxr.model.probabilities import Calibration
from cxr.progress import tqdm
from cxr.training.augmentation import augment
from cxr.training.batches import Examples, batches, on_device_if_it_fits
from cxr.training.ema import ExponentialMovingAverage
from cxr.training.losses import WeightedCrossEntropy, class_weights
from cxr.training.recipe import Recipe
from cxr.training.starting_weights import digest

BEST, LAST = "best.pt", "last.pt"  # the weights to use; all that resuming needs
WARM_UP = 0.2  # fraction of the steps in which the learning rate rises


@dataclass(frozen=True)
class TrainingResult:
    """`network` has the averaged weights of the best epoch (from 1); `history` has a dict of metrics per epoch."""

    network: XrayNetwork
    best_epoch: int
    history: list[dict[str, float]]


class Trainer:
    """Trains a copy of a network and keeps the epoch with the best validation AUROC. The given network is not changed.

    Every random number depends only on the recipe's seed, the epoch and the process, so a resumed run draws the same
    numbers as an uninterrupted one. The global generator is not changed.
    """

    def __init__(self, network: XrayNetwork, train: Examples, validation: Examples, recipe: Recipe):
        """Raises ValueError if a class has no image in training or validation."""
        _check_classes(train.labels, network.classes, "training")
        _check_classes(validation.labels, network.classes, "validation")
        self.recipe, self.validation = recipe, validation
        self._start = digest(network.state_dict())
        self.network = self.prepare_network(copy.deepcopy(network)).to(memory_format=torch.channels_last)
        self.device = next(self.network.parameters()).device
        self.pixels = on_device_if_it_fits(train.pixels, self.device)
        self.labels = train.labels.to(self.device)
        self.steps = math.ceil(len(train) / recipe.batch_size)
        weights = class_weights(train.labels, network.classes)
        self.criterion = WeightedCrossEntropy(weights, recipe.label_smoothing).to(self.device)
        groups = self.network.parameter_groups(recipe.learning_rate, recipe.early_factor)
        self.optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            [group["lr"] for group in groups],
            total_steps=_schedule_steps(self.steps * recipe.epochs),
            pct_start=WARM_UP,
        )
        self.ema = ExponentialMovingAverage(self.network, recipe.ema_decay)
        self.best_state, self.best_epoch, self.history = {}, 0, []
        self._model, self._head_only = None, None

    # ------------------------------------------------------------ the loop

    def fit(
        self,
        folder: Path | None = None,
        resume: bool = False,
        on_epoch: Callable[[dict[str, float]], None] = lambda metrics: None,
        on_checkpoint: Callable[[Path], None] = lambda path: None,
    ) -> TrainingResult:
        """Train to the end of the recipe.

        Args:
            folder: for `best.pt` (the state dict to use) and `last.pt` (all that resuming needs).
            resume: continue after the last epoch of `last.pt`, if the file exists.
            on_epoch: called with the metrics of each epoch, including those before a resumption.
            on_checkpoint: called with the path of each checkpoint after it was written.

        Raises:
            ValueError: `last.pt` is damaged or belongs to another recipe.
            FloatingPointError: the loss is NaN or infinite; the message names the step. The checkpoints of the epoch
                before are kept.
        """
        if resume and folder and (folder / LAST).exists():
            self.load_checkpoint(folder / LAST)
        for metrics in self.history if self.is_main_process else ():
            on_epoch(metrics)
        with self._keep_global_generator(), self._progress_bar() as progress:
            while not self.is_over():
                metrics = self.train_and_validate(progress)
                is_best = self.keep_if_best(metrics)
                if self.is_main_process:
                    if folder:
                        self.save_checkpoints(folder, is_best, on_checkpoint)
                    on_epoch(metrics)
        best = copy.deepcopy(self.ema.network).requires_grad_(True)
        best.load_state_dict(self.best_state)
        return TrainingResult(best, self.best_epoch, self.history)

    def train_and_validate(self, progress: tqdm) -> dict[str, float]:
        """Run one epoch and return its metrics."""
        epoch, start = len(self.history), time.perf_counter()
        loss = self.train_one_epoch(epoch, progress)
        rate = len(self.pixels) / (time.perf_counter() - start)
        metrics = {"epoch": epoch + 1, "training_loss": loss}
        return metrics | self.validate() | {"images_per_second": rate}

    def train_one_epoch(self, epoch: int, progress: tqdm) -> float:
        """One pass over the images. Returns the mean loss. No step waits for the device.

        All batches have the same size, so up to one image per step is left out of an epoch, at random.
        """
        model = self._model_for(epoch)
        model.train()
        # All processes use the same order, but draw different augmentations.
        order = torch.randperm(len(self.pixels), generator=self._generator("cpu", epoch, 0))
        order = order[: len(self.pixels) // self.steps * self.steps].view(self.steps, -1)
        generator = self._generator(self.device, epoch, 1 + self.rank)
        torch.manual_seed(generator.initial_seed())  # dropout uses the global generator
        losses = torch.zeros(self.steps, device=self.device)
        chosen = [self.local_part(batch) for batch in order]
        for step, (batch, indices) in enumerate(batches(self.pixels, chosen, self.device)):
            images = augment(to_float(batch), generator, self.recipe.augmentation)
            loss = self.batch_loss(model, images, self.labels[indices], order.shape[1])
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.scheduler.step()
            self.ema.update()
            losses[step] = loss.detach()
            progress.update(order.shape[1])
        return self._mean_loss(losses, epoch)

    def batch_loss(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, total: int) -> torch.Tensor:
        """The loss of this process's part, float [part, 1, H, W], of a batch of `total` images."""
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=self.recipe.bfloat16 and has_bfloat16(images.device)
        ):
            logits = model(images)
        return self.criterion(logits, labels) / total

    def validate(self) -> dict[str, float]:
        """Validation AUROC (positive against negative class) and loss of the averaged weights.

        Raises:
            FloatingPointError: a logit is NaN or infinite.
        """
        # bfloat16 is precise enough to compare epochs, and twice as fast.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=has_bfloat16(self.device)):
            logits = self.all_logits(self.validation.pixels)
        if not logits.isfinite().all():
            raise FloatingPointError("the logits of validation images are NaN or infinite; lower learning_rate")
        labels = self.validation.labels.cpu()
        if logits.shape[1] == 1:
            loss, scores = F.binary_cross_entropy_with_logits(logits.squeeze(1), labels.float()), logits.squeeze(1)
        else:
            loss = F.cross_entropy(logits, labels)
            scores = Calibration().positive(logits.numpy())
        return {"validation_auroc": float(roc_auc_score(labels > 0, scores)), "validation_loss": float(loss)}

    def is_over(self) -> bool:
        """Whether all epochs are done, or the patience is exhausted."""
        epochs, patience = len(self.history), self.recipe.patience
        return epochs >= self.recipe.epochs or bool(patience and epochs - self.best_epoch >= patience)

    def keep_if_best(self, metrics: dict[str, float]) -> bool:
        """Append an epoch's metrics to the history. Returns whether it is the best so far; the later of equals wins."""
        before = [past["validation_auroc"] for past in self.history]
        self.history.append(metrics)
        is_best = metrics["validation_auroc"] >= max(before, default=0)
        if is_best:
            self.best_epoch, self.best_state = metrics["epoch"], _to_cpu(self.ema.network.state_dict())
        return is_best

    # ------------------------------------------------------------ checkpoints

    def save_checkpoints(self, folder: Path, is_best: bool, on_checkpoint: Callable[[Path], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        contents = ({BEST: self.best_state} if is_best else {}) | {LAST: self.state()}
        for name, content in contents.items():
            with write_atomically(folder / name) as file:
                torch.save(content, file)
            on_checkpoint(folder / name)

    def state(self) -> dict:
        """Everything that resuming needs."""
        return {
            "recipe": self._identity(),
            "network": self.network.state_dict(),
            "ema": self.ema.network.state_dict(),
            "ema_steps": self.ema.steps,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "best_state": self.best_state,
            "best_epoch": self.best_epoch,
            "history": self.history,
        }

    def load_checkpoint(self, path: Path) -> None:
        """Continue from `last.pt`. Raises ValueError if the file is damaged or belongs to another recipe."""
        state = read_checkpoint(path)
        own = self._identity()
        if different := [name for name in own if own[name] != state["recipe"].get(name)]:
            raise ValueError(
                f"{path} belongs to another run, which differs in {', '.join(different)}: train without resume"
            )
        self.network.load_state_dict(state["network"])
        self.ema.network.load_state_dict(state["ema"])
        self.ema.steps = state["ema_steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.best_state, self.best_epoch, self.history = state["best_state"], state["best_epoch"], state["history"]

    # ------------------------------------------------------------ overridden for several processes

    rank = 0
    is_main_process = True

    def prepare_network(self, network: XrayNetwork) -> XrayNetwork:
        return network

    def wrap_network(self, network: XrayNetwork) -> nn.Module:
        return network

    def local_part(self, batch: torch.Tensor) -> torch.Tensor:
        """The part of a batch (tensor of indices) that this process trains on."""
        return batch

    def sum_over_processes(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def all_logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits of the averaged network for uint8 [N, H, W]: float32 [N, outputs] on the CPU."""
        return predict_logits(self.ema.network, pixels)

    # ------------------------------------------------------------ details

    def _model_for(self, epoch: int) -> nn.Module:
        """The network to train in this epoch. It is wrapped again when the set of trained layers changes."""
        head_only = epoch < self.recipe.head_epochs
        if self._head_only != head_only:
            self._head_only = head_only
            self.network.requires_grad_(not head_only)
            self.network.head.requires_grad_(True)
            self._model = self.wrap_network(self.network)
            if self.recipe.compile and self.device.type == "cuda":
                self._model = torch.compile(self._model)
        return self._model

    def _mean_loss(self, losses: torch.Tensor, epoch: int) -> float:
        losses = self.sum_over_processes(losses).cpu()
        if not losses.isfinite().all():
            first = int((~losses.isfinite()).nonzero()[0])
            raise FloatingPointError(
                f"the training loss is {float(losses[first])} at step {first + 1} of {self.steps} in epoch "
                f"{epoch + 1}; lower learning_rate (now {self.recipe.learning_rate}) and start again. The checkpoints "
                "of the epochs before are kept."
            )
        return float(losses.mean())

    def _identity(self) -> dict:
        """What must be equal for a run to continue from a checkpoint."""
        labels = hashlib.sha256()
        for part in (self.labels, self.validation.labels):
            labels.update(part.cpu().numpy().tobytes() + b"|")
        known = {"steps": self.steps, "classes": self.network.classes, "labels": labels.hexdigest()}
        known |= {"start": self._start}
        return asdict(self.recipe) | known

    def _generator(self, device: torch.device | str, epoch: int, stream: int) -> torch.Generator:
        return torch.Generator(device).manual_seed((self.recipe.seed * 10_000 + epoch) * 10_000 + stream)

    def _keep_global_generator(self):
        return torch.random.fork_rng([torch.cuda.current_device()] if self.device.type == "cuda" else [])

    def _progress_bar(self) -> tqdm:
        return tqdm(
            total=self.recipe.epochs * len(self.pixels),
            initial=len(self.history) * len(self.pixels),
            unit="image",
            unit_scale=True,
            desc="training",
            mininterval=5,
            disable=not self.is_main_process,
        )


def read_checkpoint(path: Path) -> dict:
    """What :meth:`Trainer.state` gave, with tensors on the CPU. Raises ValueError if the file is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is a damaged checkpoint: remove it, or train without resume") from error


def _check_classes(labels: torch.Tensor, classes: int, name: str) -> None:
    counts = torch.bincount(labels, minlength=classes).tolist()
    if len(counts) > classes or 0 in counts:
        raise ValueError(
            f"{name} has {counts} images of the classes 0 to {classes - 1}; every class needs at least one"
        )


def _schedule_steps(steps: int) -> int:
    """One more step where the rise would be a single one: OneCycleLR divides by the length of the rise less one."""
    return steps + 1 if WARM_UP * steps == 1 else steps


def _to_cpu(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: copy.deepcopy(value.detach()).cpu().contiguous() for key, value in state.items()}

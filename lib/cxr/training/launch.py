"""Start a training run on one device, or on several devices of one machine.

For several devices, torchrun starts the processes, or PyTorchDistributor in Container Runtime (never tried).
"""

import copy
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from cxr.model.network import XrayNetwork
from cxr.training.batches import Examples
from cxr.training.recipe import Recipe
from cxr.training.trainer import CHECKPOINTS, Trainer, TrainingResult

LIBRARY = Path(__file__).resolve().parents[2]


def fit(
    network: XrayNetwork,
    *,
    train: Examples,
    validation: Examples,
    recipe: Recipe,
    workers: int,
    folder: Path,
    resume: bool = False,
    on_epoch: Callable[[dict[str, float]], None] = lambda metrics: None,
    on_checkpoint: Callable[[Path], None] = lambda path: None,
) -> TrainingResult:
    """Train a copy of the network on `workers` devices of this machine. One worker trains in this process.

    Args:
        folder: for the checkpoints and, with several workers, for the job's files.
        resume, on_epoch, on_checkpoint: see :meth:`cxr.training.trainer.Trainer.fit`.

    Raises:
        RuntimeError: a worker failed; the message has its error.
        ValueError, FloatingPointError: see :class:`cxr.training.trainer.Trainer`.
    """
    if workers <= 1:
        return Trainer(network, train, validation, recipe).fit(folder, resume, on_epoch, on_checkpoint)
    job = folder / "job"
    _write_job(job, network, {"train": train, "validation": validation}, recipe, folder, resume)
    with ThreadPoolExecutor(1) as pool:
        running, reported, ended = pool.submit(_run_workers, job, workers), 0, False
        while not ended:
            ended = running.done()  # checked before reading, so that the last epoch is reported too
            new = (job / "history.jsonl").read_text().splitlines()[reported:]
            for line in new:
                on_epoch(json.loads(line))
            for name in CHECKPOINTS if new else ():
                on_checkpoint(folder / name)
            reported += len(new)
            time.sleep(0 if ended else 0.5)
        running.result()
    state, best_epoch, history = torch.load(job / "result.pt", weights_only=True)
    shutil.rmtree(job)  # it has patients' images
    best = copy.deepcopy(network)
    best.load_state_dict(state)
    return TrainingResult(best, best_epoch, history)


def _write_job(
    job: Path, network: XrayNetwork, splits: dict[str, Examples], recipe: Recipe, checkpoints: Path, resume: bool
) -> None:
    shutil.rmtree(job, ignore_errors=True)
    job.mkdir(parents=True, mode=0o700)
    for split, examples in splits.items():
        np.save(job / f"{split}_pixels.npy", examples.pixels.numpy())
        np.save(job / f"{split}_labels.npy", examples.labels.numpy())
    content = dict(backbone=network.name, classes=network.classes, state=network.state_dict())
    content |= dict(recipe=dataclasses.asdict(recipe), checkpoints=str(checkpoints.resolve()), resume=resume)
    torch.save(content, job / "job.pt")
    (job / "history.jsonl").touch()


def _run_workers(job: Path, workers: int) -> None:
    """Run :func:`cxr.training.worker.train_job` in `workers` processes and wait for them."""
    try:
        from snowflake.ml.modeling.distributors.pytorch import (
            PyTorchDistributor,
            PyTorchScalingConfig,
            WorkerResourceConfig,
        )
    except ImportError:
        run_with_torchrun(job, workers)
        return
    library, folder = str(LIBRARY), str(job.resolve())

    def work() -> None:  # pickled by value, because a worker cannot import this library yet
        import sys

        sys.path.insert(0, library)
        from cxr.training.worker import train_job  # late: a worker knows the library only after the line above

        train_job(folder)

    resources = WorkerResourceConfig(num_cpus=0, num_gpus=1 if torch.cuda.is_available() else 0)
    scaling = PyTorchScalingConfig(
        num_nodes=1, num_workers_per_node=workers, resource_requirements_per_worker=resources
    )
    PyTorchDistributor(train_func=work, scaling_config=scaling).run()


def run_with_torchrun(job: Path, workers: int) -> None:
    """Run the workers with torchrun. Raises RuntimeError with the worker's error if one fails."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(workers)]
    path = os.pathsep.join(filter(None, (str(LIBRARY), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [*command, "-m", "cxr.training.worker", str(job.resolve())],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if "Error: " in line]
        raise RuntimeError(f"a training worker failed: {errors[0] if errors else done.stdout[-2000:]}")

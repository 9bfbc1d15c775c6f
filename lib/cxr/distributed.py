"""One training run on several devices: what the processes share, and how they are started.

Outside Snowflake torchrun starts them: `torchrun --nproc-per-node 2 -m cxr.distributed FOLDER`. In Container Runtime
PyTorchDistributor does; that path, like NCCL and CUDA here, was never tried.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

LIBRARY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class World:
    """This process among those that train together. Only the one of rank 0 writes and reports."""

    rank: int = 0
    size: int = 1

    def share(self, items: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch; the parts of all processes are the batch."""
        return items[self.rank :: self.size]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def prepare(self, network: nn.Module) -> None:
        """Let batch normalisation see the whole batch and not this process's part of it."""
        if self.size == 1:
            return
        if next(network.parameters()).is_cuda:
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        for module in network.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = WholeBatchNorm

    def wrap(self, network: nn.Module) -> nn.Module:
        """Gradients become the mean over the processes. Buffers are equal already."""
        return DistributedDataParallel(network, broadcast_buffers=False) if self.size > 1 else network


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the parts of all processes, for CPUs, where nn.SyncBatchNorm refuses to run."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(images)
        wide = images.to(torch.promote_types(images.dtype, torch.float32))
        sums = torch.cat([wide.sum(dim=(0, 2, 3)), wide.new_tensor([wide.numel() / wide.shape[1]])])
        sums = all_reduce(sums)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = wide - mean.view(1, -1, 1, 1)
        variance = all_reduce(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(images.dtype)


def join() -> World:
    """Take this process's place among those that torchrun or PyTorchDistributor started."""
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    world = World(dist.get_rank(), dist.get_world_size())
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", world.rank)) % torch.cuda.device_count())
    return world


def train_func(folder: str) -> None:
    """The work of one of several processes, on the job that :func:`fit` wrote into the folder."""
    from cxr.network import PneumoniaNetwork, best_device
    from cxr.training import Recipe, train, write_atomically

    world, place = join(), Path(folder)
    job = torch.load(place / "job.pt", weights_only=True)
    network = PneumoniaNetwork(job["backbone"])
    network.load_state_dict(job["state"])
    arrays = {path.stem: torch.from_numpy(np.load(path)) for path in place.glob("*.npy")}

    def on_epoch(metrics: dict[str, float]) -> None:
        with (place / "history.jsonl").open("a") as file:
            file.write(json.dumps(metrics) + "\n")

    trained = train(
        network.to(best_device()),
        *(arrays[name] for name in _ARRAYS),
        Recipe(**job["recipe"]),
        folder=Path(job["checkpoints"]),
        resume=job["resume"],
        on_epoch=on_epoch,
        world=world,
    )
    if world.rank == 0:
        write_atomically(dataclasses.asdict(trained), place / "trained.pt")
    dist.barrier()
    dist.destroy_process_group()


_ARRAYS = ("images", "labels", "validation_images", "validation_labels")


def fit(
    network: nn.Module,
    *arrays: torch.Tensor,
    recipe,
    workers: int,
    folder: Path,
    resume: bool,
    on_epoch: Callable[[dict[str, float]], None],
    on_checkpoint: Callable[[Path], None],
):
    """:func:`cxr.training.train` on `workers` devices of this machine; one worker is this process.

    Args:
        arrays: images and labels of training and validation, as `train` takes them.
        folder: for the checkpoints and, with several workers, for the job.

    Raises:
        RuntimeError: a worker failed; carries the end of what the workers said.
    """
    from cxr.training import CHECKPOINTS, Trained, train

    if workers <= 1:
        callbacks = dict(on_epoch=on_epoch, on_checkpoint=on_checkpoint)
        return train(network, *arrays, recipe, folder=folder, resume=resume, **callbacks)
    place = folder / "job"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, mode=0o700)
    for name, array in zip(_ARRAYS, arrays, strict=True):
        np.save(place / f"{name}.npy", array.numpy())
    job = dict(backbone=network.name, state=network.state_dict(), recipe=dataclasses.asdict(recipe))
    torch.save(job | dict(checkpoints=str(folder), resume=resume), place / "job.pt")
    log = place / "history.jsonl"
    log.touch()
    with ThreadPoolExecutor(1) as pool:
        running, told, ended = pool.submit(_start, place, workers), 0, False
        while not ended:
            ended = running.done()  # asked first, so that the last epoch is told too
            new = log.read_text().splitlines()[told:]
            for line in new:
                on_epoch(json.loads(line))
            for name in CHECKPOINTS if new else ():
                on_checkpoint(folder / name)
            told += len(new)
            time.sleep(0 if ended else 0.5)
        running.result()
    trained = Trained(**torch.load(place / "trained.pt", weights_only=True))
    shutil.rmtree(place)  # it holds patients' images
    return trained


def _start(place: Path, workers: int) -> None:
    """Run :func:`train_func` in so many processes and wait for them."""
    try:
        from snowflake.ml.modeling.distributors.pytorch import (
            PyTorchDistributor,
            PyTorchScalingConfig,
            WorkerResourceConfig,
        )
    except ImportError:
        _start_with_torchrun(place, workers)
        return
    library, folder = str(LIBRARY), str(place)

    def work() -> None:  # travels by value: a worker does not know yet where this library lies
        import sys

        sys.path.insert(0, library)
        from cxr.distributed import train_func

        train_func(folder)

    resources = WorkerResourceConfig(num_cpus=0, num_gpus=1 if torch.cuda.is_available() else 0)
    scaling = PyTorchScalingConfig(
        num_nodes=1, num_workers_per_node=workers, resource_requirements_per_worker=resources
    )
    PyTorchDistributor(train_func=work, scaling_config=scaling).run()


def _start_with_torchrun(place: Path, workers: int) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(workers)]
    path = os.pathsep.join(filter(None, (str(LIBRARY), os.environ.get("PYTHONPATH"))))
    said = subprocess.run(
        [*command, "-m", "cxr.distributed", str(place)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if said.returncode:
        errors = [line for line in said.stdout.splitlines() if "Error: " in line]
        raise RuntimeError(f"a training worker failed: {errors[0] if errors else said.stdout[-2000:]}")


if __name__ == "__main__":
    train_func(sys.argv[1])

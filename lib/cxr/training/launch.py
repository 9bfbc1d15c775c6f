"""One training run on one device or on several of a machine.

Outside Snowflake torchrun starts the processes: `torchrun --nproc-per-node 2 -m cxr.launch FOLDER`. In Container
Runtime PyTorchDistributor does, which was never tried.
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
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from cxr.model.network import PneumoniaNetwork, best_device
from cxr.training.distributed import end_process, join
from cxr.training.loop import CHECKPOINTS, Recipe, Trained, train, write_atomically

LIBRARY = Path(__file__).resolve().parents[2]
_ARRAYS = ("images", "labels", "validation_images", "validation_labels")


def train_func(folder: str) -> None:
    """The work of one of several processes, on the job that :func:`fit` wrote into the folder."""
    world, place = join(), Path(folder)
    job = torch.load(place / "job.pt", map_location="cpu", weights_only=True)
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


def fit(
    network: PneumoniaNetwork,
    *arrays: torch.Tensor,
    recipe: Recipe,
    workers: int,
    folder: Path,
    resume: bool,
    on_epoch: Callable[[dict[str, float]], None],
    on_checkpoint: Callable[[Path], None],
) -> Trained:
    """:func:`cxr.training.loop.train` on `workers` devices of this machine; one worker is this process.

    Args:
        arrays: images and labels of training and validation, as `train` takes them.
        folder: for the checkpoints and, with several workers, for the job.

    Raises:
        RuntimeError: a worker failed; carries the end of what the workers said.
    """
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
        from cxr.training.launch import train_func

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
        [*command, "-m", "cxr.training.launch", str(place)],
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
    end_process()

"""Start a training run on one device, on several devices of a machine, or on several machines.

With several processes, a folder on the stage is what they share, a new one for each run: the job that each reads, and
what rank 0 leaves there. torchrun starts the processes, or PyTorchDistributor in Container Runtime (never tried).
"""

import copy
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from importlib.util import find_spec
from pathlib import Path

import torch

from cxr.account.session import account_directory
from cxr.model.network import XrayNetwork
from cxr.training.batches import Examples
from cxr.training.checkpoints import Checkpoints, StageFolder
from cxr.training.job import FILE, HISTORY, Job
from cxr.training.recipe import Recipe
from cxr.training.trainer import LAST, Trainer, TrainingResult, read_checkpoint

LIBRARY = Path(__file__).resolve().parents[2]
LOOK_SECONDS = 5  # between two looks at the metrics of other processes
DISTRIBUTOR = "snowflake.ml.modeling.distributors"  # only in Container Runtime


def fit(
    network: XrayNetwork,
    *,
    train: Examples,
    validation: Examples,
    recipe: Recipe,
    checkpoints: Checkpoints,
    shift_seed: int | None = None,
    workers: int = 1,
    nodes: int = 1,
    rendezvous: str = "",
    resume: bool = False,
    on_epoch: Callable[[dict[str, float]], None] = lambda metrics: None,
) -> TrainingResult:
    """Train a copy of the network on `workers` devices of each of `nodes` machines. One worker trains in this process.

    Args:
        shift_seed: validation also looks at changed copies of its images, see :meth:`Examples.with_shifted`.
        rendezvous: HOST:PORT of this machine, where the others find it; by default its name and 29400. Outside
            Container Runtime only.
        resume: go on from the checkpoints, which :meth:`Checkpoints.fetch` has looked for; else they are removed.
        on_epoch: is given the metrics of each epoch; from other processes, some seconds late.

    Raises:
        RuntimeError: a process failed; the message has its error.
        TypeError: several processes, and examples that are not images of the catalog.
        ValueError, FloatingPointError: see :class:`cxr.training.trainer.Trainer`.
    """
    if not resume:
        checkpoints.clear()
    elif not (checkpoints.folder / LAST).exists():
        print("No checkpoint of this training is left, because it was saved or something changed: it starts anew.")
    if workers * nodes <= 1:
        trainer = Trainer(network, train, validation.with_shifted(shift_seed, recipe.augmentation), recipe)
        return trainer.fit(checkpoints.folder, resume, on_epoch, checkpoints.copy)
    job = Job.of(checkpoints.project.settings, network, recipe, train, validation, shift_seed)
    exchange = checkpoints.new_exchange()
    try:
        _put_job(job, exchange, checkpoints.folder / LAST)
        environment = {"CXR_ACCOUNT_DIR": str(account_directory(checkpoints.project.settings))}
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(_run_processes, exchange.stage, workers, nodes, rendezvous, environment)
            reported, ended = 0, False
            while not ended:
                ended = bool(wait([running], LOOK_SECONDS).done)  # before the look, so that the last epoch is seen too
                history = _read_history(exchange)
                for metrics in history[reported:]:
                    on_epoch(metrics)
                reported = len(history)
            running.result()
        return _result(network, exchange)
    finally:
        exchange.remove()


def _put_job(job: Job, exchange: StageFolder, last: Path) -> None:
    """Leave on the stage what the processes start from: the job and, if there is one, the last checkpoint."""
    if last.exists():
        exchange.copy(last, seconds=0)
    with tempfile.TemporaryDirectory(prefix="cxr-job-") as scratch:
        job.write(Path(scratch, FILE))
        exchange.copy(Path(scratch, FILE), seconds=0)


def _read_history(exchange: StageFolder) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="cxr-history-") as scratch:
        exchange.download(Path(scratch), HISTORY)
        file = Path(scratch, HISTORY)
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _result(network: XrayNetwork, exchange: StageFolder) -> TrainingResult:
    with tempfile.TemporaryDirectory(prefix="cxr-result-") as scratch:
        exchange.download(Path(scratch), LAST)
        state = read_checkpoint(Path(scratch, LAST))
    best = copy.deepcopy(network)
    best.load_state_dict(state["best_state"])
    return TrainingResult(best, state["best_epoch"], state["history"])


# ---------------------------------------------------------------- starting the processes


def _run_processes(place: str, workers: int, nodes: int, rendezvous: str, environment: dict[str, str]) -> None:
    """Run :func:`cxr.training.worker.train_job` in `workers` processes of each node, and wait for them."""
    if find_spec(DISTRIBUTOR):
        run_with_distributor(place, workers, nodes)
        return
    arguments = torchrun(place, workers, nodes, rendezvous)
    if nodes > 1:
        print(f"Waiting for {nodes - 1} other machines. Run on each, in a copy of this repository:")
        print(f"CXR_CONNECTION=... PYTHONPATH=lib torchrun {shlex.join(arguments)}", flush=True)
    run_with_torchrun(arguments, environment)


def run_with_distributor(place: str, workers: int, nodes: int) -> None:
    """Run the processes on the nodes of this ML Job or notebook."""
    from snowflake.ml.modeling.distributors.pytorch import (
        PyTorchDistributor,
        PyTorchScalingConfig,
        WorkerResourceConfig,
    )

    library = str(LIBRARY)

    def work() -> None:  # pickled by value, because a worker cannot import this library yet
        import os
        import sys

        from snowflake.ml.modeling.distributors.pytorch import get_context

        os.environ.setdefault("LOCAL_RANK", str(get_context().get_local_rank()))
        sys.path.insert(0, library)
        from cxr.training.worker import train_job  # late: a worker knows the library only after the line above

        train_job(place)

    resources = WorkerResourceConfig(num_cpus=0, num_gpus=1 if torch.cuda.is_available() else 0)
    scaling = PyTorchScalingConfig(
        num_nodes=nodes, num_workers_per_node=workers, resource_requirements_per_worker=resources
    )
    PyTorchDistributor(train_func=work, scaling_config=scaling).run()


def torchrun(place: str, workers: int, nodes: int, rendezvous: str) -> list[str]:
    """The arguments of torchrun: the same on every machine."""
    program = ["-m", "cxr.training.worker", place]
    if nodes == 1:
        return ["--standalone", f"--nproc-per-node={workers}", *program]
    endpoint = rendezvous or f"{socket.gethostname()}:29400"
    meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}", f"--rdzv-id={place.rpartition('/')[2]}"]
    return [f"--nnodes={nodes}", f"--nproc-per-node={workers}", *meeting, *program]


def run_with_torchrun(arguments: list[str], environment: dict[str, str]) -> None:
    """Run torchrun with the library on its path. Raises RuntimeError with a process's error if one fails."""
    path = os.pathsep.join(filter(None, (str(LIBRARY), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *arguments],
        env=os.environ | environment | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if "Error: " in line]
        raise RuntimeError(f"a training process failed: {errors[0] if errors else done.stdout[-2000:]}")

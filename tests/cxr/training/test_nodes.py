"""Two machines, each with a home, a cache and a session of its own, train as one process does, and survive a kill."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch

from cxr.account.project import Project
from cxr.data import catalog, pixels, splits
from cxr.data.ingest import ingest
from cxr.model.network import XrayNetwork
from cxr.phantoms.dataset import write_phantoms
from cxr.training import launch, worker
from cxr.training.batches import Examples
from cxr.training.checkpoints import Checkpoints
from cxr.training.job import FILE, Job
from cxr.training.recipe import Recipe
from cxr.training.trainer import BEST, LAST, Trainer

LIBRARY = Path(__file__).resolve().parents[3] / "lib"
# Unchanged images: each process draws changes of its own for its part of a batch. Few and small steps: AdamW moves a
# weight whose gradient is mere rounding as far as any other.
RECIPE = Recipe(epochs=3, batch_size=10, learning_rate=1e-4, augmentation=0, bfloat16=False)


@dataclass(frozen=True)
class Run:
    """A run of a few phantoms, and how it is started."""

    project: Project
    rows: pd.DataFrame
    classes: tuple[str, ...]
    network: XrayNetwork
    train: Examples
    validation: Examples
    recipe: Recipe

    @cached_property
    def checkpoints(self) -> Checkpoints:
        tuning = self.rows[self.rows["SPLIT"] == "validation"]
        start = self.network.state_dict()
        return Checkpoints(self.project, self.rows, self.recipe, classes=self.classes, tuning=tuning, start=start)

    def fit(self, **given):
        same = dict(train=self.train, validation=self.validation, recipe=self.recipe, checkpoints=self.checkpoints)
        return launch.fit(self.network, **same, shift_seed=0, **given)


@pytest.fixture(scope="module")
def run(account, tmp_path_factory) -> Run:
    for table in (account.catalog, account.rejected):
        account.session.sql(f"DELETE FROM {table}").collect()
    project = Project(account.session, replace(account.settings, weights="random", image_size=64))
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    ingest(project, write_phantoms(folder, patients=28, images_per_patient=1, size=64, seed=3))
    rows, classes = catalog.read_catalog(project), catalog.label_set(project).names
    stack = pixels.decoded(project, rows)
    train, validation = (splits.take_split(stack, rows, name, classes) for name in ("train", "validation"))
    torch.manual_seed(0)
    examples = (Examples(split.pixels, split.labels) for split in (train, validation))
    return Run(project, rows, classes, XrayNetwork("resnet18"), *examples, RECIPE)


def other_machine(run: Run, home: Path, arguments: list[str]) -> subprocess.Popen:
    """The command that the first machine prints, where nothing of the first machine is."""
    home.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CXR_", "SNOWFLAKE_"))}
    environment |= {"HOME": str(home), "CXR_CACHE_DIR": str(home / "cache"), "PYTHONPATH": str(LIBRARY)}
    environment |= {"CXR_ACCOUNT_DIR": run.project.settings.account_dir, "TMPDIR": str(home)}
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill(machine: subprocess.Popen) -> None:
    """As when a node is lost: agent and training process, with SIGKILL."""
    if machine.poll() is None:
        agent = psutil.Process(machine.pid)
        for process in (agent, *agent.children(recursive=True)):
            process.send_signal(signal.SIGKILL)
        machine.wait()


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_two_machines_give_the_weights_of_one_and_a_killed_one_costs_an_epoch(run, tmp_path, monkeypatch):
    """The first epoch is trained by two machines; one is killed; from the stage, one machine alone goes on."""
    monkeypatch.setattr(launch, "LOOK_SECONDS", 0.1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # both would take the same GPU
    before, told, second, torchrun = [], [], [], launch.run_with_torchrun

    def on_both(arguments: list[str], environment: dict[str, str]) -> None:
        second.append(other_machine(run, tmp_path / "second", arguments))
        torchrun(arguments, environment)

    def note_and_kill(metrics: dict[str, float]) -> None:
        before.append(metrics)
        kill(second[0])

    monkeypatch.setattr(launch, "run_with_torchrun", on_both)
    with pytest.raises(RuntimeError, match="a training process failed") as failed:
        run.fit(nodes=2, rendezvous=free_address(), on_epoch=note_and_kill)
    assert before, failed.value
    assert before[0]["epoch"] == 1 and len(before) < RECIPE.epochs
    assert list((tmp_path / "second" / "cache").glob("decoded-64-*.npy")), "it decoded the images itself"
    (left,) = (tmp_path / "second").glob("cxr-images-*")
    assert (left / FILE).exists() and not list(left.glob("validation_*")), "killed, it leaves no pixels"

    run.checkpoints.fetch()
    trained = run.fit(resume=True, on_epoch=told.append)
    assert [metrics["epoch"] for metrics in told] == [1, 2, 3]
    assert told[0] == before[0], "the first epoch was not trained again"
    alone = Trainer(run.network, run.train, run.validation.with_shifted(0, 0), RECIPE).fit()
    for ours, theirs in zip(trained.history, alone.history, strict=True):
        assert ours["training_loss"] == pytest.approx(theirs["training_loss"], rel=1e-3)
        assert ours["validation_loss"] == pytest.approx(theirs["validation_loss"], rel=1e-3)
    assert trained.best_epoch == alone.best_epoch
    assert difference(trained.network, alone.network) < 0.01 * difference(alone.network, run.network)


def test_a_run_in_processes_gives_its_own_result_and_leaves_its_checkpoints(run, tmp_path, monkeypatch):
    """With one process, which is this one, and with images that are changed. Meanwhile the same run starts again."""
    recipe = replace(RECIPE, augmentation=1.0, epochs=1)
    run = replace(run, recipe=recipe)
    group = dict(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=free_address()[10:])

    def in_this_process(arguments: list[str], environment: dict[str, str]) -> None:
        for name, value in (group | environment).items():
            monkeypatch.setenv(name, value)
        places.append(arguments[-1])
        run.checkpoints.clear()  # as the other run does first
        worker.train_job(arguments[-1])
        (tmp_path / LAST).write_bytes(b"of the other run")
        run.checkpoints.copy(tmp_path / LAST, seconds=0)

    monkeypatch.setattr(launch, "run_with_torchrun", in_this_process)
    told, places = [], []
    trained = run.fit(workers=2, on_epoch=told.append)
    assert told == trained.history and len(told) == 1
    shifted = run.validation.with_shifted(0, recipe.augmentation)
    again = Trainer(trained.network, run.train, shifted, recipe).validate()
    best = told[trained.best_epoch - 1]
    assert {name: best[name] for name in again} == pytest.approx(again, rel=1e-4)
    left = run.project.session.sql(f"LIST {run.checkpoints.stage}/").collect()
    assert {row["name"].rpartition("/")[2] for row in left} == {BEST, LAST}
    assert not run.project.session.sql(f"LIST {places[0]}/").collect(), "job, metrics and result are gone"
    assert run.checkpoints.new_exchange().stage != places[0], "each run has a folder of its own"


def difference(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """The length of the difference of their weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return float(torch.stack([(a - b).detach().square().sum() for a, b in pairs]).sum().sqrt())


def test_a_job_has_no_pixels_and_no_secret(run, tmp_path):
    settings = replace(run.project.settings, patient_key="secret", service_token_file="secret", data="secret")
    job = Job.of(settings, run.network, RECIPE, run.train, run.validation, 0)
    job.write(tmp_path / FILE)
    again = Job.read(tmp_path / FILE)
    assert "secret" not in again.settings.values()
    tensors = (*again.train, *again.validation)
    assert all(tensor.ndim == 1 for tensor in tensors)
    stack = run.train.pixels.stack
    train, validation = again.train_examples(stack), again.validation_examples(stack)
    assert torch.equal(train.pixels[:], run.train.pixels[:]) and torch.equal(train.labels, run.train.labels)
    assert len(validation) == len(validation.pixels) == 2 * len(run.validation)
    in_memory = replace(run, train=Examples(run.train.pixels[:], run.train.labels))
    with pytest.raises(TypeError, match="images of the catalog"):
        in_memory.fit(workers=2)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {} SET LABEL = IFF(LABEL = 'NORMAL', 'PNEUMONIA', 'NORMAL') WHERE IMAGE_ID = ?",
        "DELETE FROM {} WHERE IMAGE_ID >= ?",
    ],
)
def test_a_catalog_that_has_changed_meanwhile_is_refused(run, tmp_path, monkeypatch, change):
    Job.of(run.project.settings, run.network, RECIPE, run.train, run.validation, 0).write(tmp_path / FILE)
    exchange = run.checkpoints.new_exchange()
    exchange.copy(tmp_path / FILE, seconds=0)
    some = run.rows["IMAGE_ID"].iloc[1]
    run.project.session.sql(change.format(run.project.catalog), params=[some]).collect()
    monkeypatch.setenv("CXR_ACCOUNT_DIR", run.project.settings.account_dir)
    with pytest.raises(ValueError, match="the catalog has changed"):
        worker._prepare_node(exchange.stage, tmp_path)

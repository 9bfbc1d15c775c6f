"""One of several training processes, on one machine or on many: `torchrun ... -m cxr.training.worker PLACE`.

PLACE is the folder on the stage where :func:`cxr.training.launch.fit` wrote its job. The first process of each
node opens a session, reads the catalog and decodes the images into a memory map; the others of the node map the same
file. Rank 0 copies checkpoints and metrics to the stage.
"""

import json
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist

from cxr.account.project import Project, open_project
from cxr.account.scratch import private_folder
from cxr.data import catalog, pixels
from cxr.data.splits import Indexed
from cxr.model.network import best_device
from cxr.training.batches import Examples
from cxr.training.checkpoints import Checkpoints, StageFolder
from cxr.training.distributed import (
    DistributedTrainer,
    end_process,
    from_first_of_node,
    is_first_of_node,
    join_group,
    patient_group,
)
from cxr.training.job import FILE, HISTORY, Job
from cxr.training.recipe import Recipe
from cxr.training.trainer import LAST

HISTORY_SECONDS = 5  # between two copies of the metrics, which the process that started the run reads


def train_job(place: str) -> None:
    """Train the job of a run's folder, `@DATABASE.SCHEMA.STAGE/checkpoints/RUN-KEY`, from its last checkpoint there.

    Raises:
        ValueError: the catalog is not the one that the job was written for.
    """
    join_group()
    group = patient_group()
    with private_folder() as scratch:
        node = _prepare_node(place, Path(scratch)) if is_first_of_node() else None
        files = from_first_of_node(node and node.files, group)
        job = Job.read(files.folder / FILE)
        train = job.train_examples(np.load(files.pixels, mmap_mode="r"))
        validation = files.read_validation()
        dist.barrier(group)  # all have mapped the files: a process that is killed from here on leaves no pixels
        if node:
            files.remove_validation()
        trainer = DistributedTrainer(job.start_network().to(best_device()), train, validation, Recipe(**job.recipe))
        if trainer.is_main_process:
            _fit_and_report(trainer, files.folder, node)
        else:
            trainer.fit(files.folder, resume=True)
        dist.barrier(group)  # the files are still needed until all are done
    dist.destroy_process_group()


@dataclass(frozen=True)
class NodeFiles:
    """What the first process of a node has fetched, for all processes of the node to read."""

    folder: Path  # the run's folder, as on the stage: the job, and the checkpoint to go on from
    pixels: Path  # uint8 [M, H, W], all images of the catalog

    def write_validation(self, examples: Examples) -> None:
        """Images and changed copies in files, which all processes of the node map: one copy of them in memory."""
        for name in ("pixels", "labels"):
            np.save(self.folder / f"validation_{name}.npy", getattr(examples, name)[:].numpy())

    def remove_validation(self) -> None:
        """Remove the files; processes that have mapped them go on reading them."""
        for path in self.folder.glob("validation_*.npy"):
            path.unlink()

    def read_validation(self) -> Examples:
        pixels, labels = (
            np.load(self.folder / f"validation_{name}.npy", mmap_mode="r") for name in ("pixels", "labels")
        )
        return Examples(Indexed(pixels, np.arange(len(pixels))), torch.from_numpy(labels.copy()))


@dataclass(frozen=True)
class Node:
    """What only the first process of a node has."""

    checkpoints: Checkpoints
    exchange: StageFolder
    files: NodeFiles


def _prepare_node(place: str, folder: Path) -> Node:
    database, schema, stage = place.removeprefix("@").split("/")[0].split(".")
    project = open_project(argv=[], database=database, schema=schema, artifacts_stage=stage)
    exchange = StageFolder(project.session, place)
    exchange.download(folder)
    job = Job.read(folder / FILE)
    project = Project(project.session, replace(project.settings, **job.settings))
    rows = catalog.read_catalog(project)
    checkpoints = _checkpoints(project, rows, job, place)
    stack = pixels.decoded(project, rows)
    files = NodeFiles(folder, Path(stack.filename))
    files.write_validation(job.validation_examples(stack))
    return Node(checkpoints, exchange, files)


def _checkpoints(project: Project, rows: pd.DataFrame, job: Job, place: str) -> Checkpoints:
    with suppress(IndexError, ValueError):  # no such place in the catalog, or not among the validation images
        classes, tuning = catalog.label_set(project).names, rows.iloc[job.validation[0].numpy()]
        start = job.network["state"]
        found = Checkpoints(project, rows, Recipe(**job.recipe), classes=classes, tuning=tuning, start=start)
        if found.holds_exchange(place):
            return found
    raise ValueError(f"the catalog has changed since {place} was written: start the training again")


def _fit_and_report(trainer: DistributedTrainer, folder: Path, node: Node) -> None:
    """Train, as rank 0; checkpoints, metrics and result are on the stage when this returns."""
    history, lines = folder / HISTORY, []

    def on_epoch(metrics: dict[str, float]) -> None:
        lines.append(json.dumps(metrics) + "\n")
        history.write_text("".join(lines))
        node.exchange.copy(history, HISTORY_SECONDS)

    trainer.fit(folder, resume=True, on_epoch=on_epoch, on_checkpoint=node.checkpoints.copy)
    node.checkpoints.copy(folder / LAST, seconds=0)
    for path in (history, folder / LAST):
        node.exchange.copy(path, seconds=0)


if __name__ == "__main__":
    train_job(sys.argv[1])
    end_process()

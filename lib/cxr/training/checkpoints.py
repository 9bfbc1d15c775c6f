"""The checkpoints of a run: a local folder, and copies on the stage, because a node's disk is lost with the node."""

import hashlib
import json
import math
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from snowflake.snowpark import Session

from cxr.account.project import Project
from cxr.data.pixels import cache_directory, cache_key, image_size
from cxr.data.splits import class_indices
from cxr.training.recipe import Recipe
from cxr.training.starting_weights import digest
from cxr.training.trainer import LAST, read_checkpoint

SECONDS = 60  # between two copies of one file: on a GPU, copying can take longer than an epoch


class StageFolder:
    """A folder on the stage, such as `@DATABASE.SCHEMA.STAGE/checkpoints/KEY`."""

    def __init__(self, session: Session, stage: str):
        self.session, self.stage = session, stage
        self._copied: dict[str, float] = {}

    def download(self, folder: Path, name: str = "") -> None:
        """Copy one file of the stage's folder into `folder`, or all; what is not there is left out."""
        place = f"{self.stage}/{name}"
        if self.session.sql(f"LIST {place}").collect():
            self.session.file.get(place, folder.as_posix())

    def copy(self, path: Path, seconds: float = SECONDS) -> None:
        """Copy a file to the stage, unless its last copy is younger than so many seconds."""
        if time.monotonic() - self._copied.get(path.name, -math.inf) >= seconds:
            self.session.file.put(path.as_posix(), self.stage, auto_compress=False, overwrite=True)
            self._copied[path.name] = time.monotonic()

    def remove(self) -> None:
        """Remove the stage's folder."""
        self.session.sql(f"REMOVE {self.stage}/").collect()


class Checkpoints(StageFolder):
    """Where a run keeps its checkpoints.

    The folder's name, here and on the stage, is a hash of all that the result depends on, so that a run finds only its
    own: starting weights, images, labels, splits, which images choose the epoch, settings and recipe.

    Args:
        catalog: the rows of all images, for training and for measuring.
        classes: the label set, in the order of the network's outputs.
        tuning: the catalog's rows of the validation images that choose the epoch; the others are held back.
        start: the state dict that training starts from. The setting `weights` does not tell: "imagenet" stands for
            random weights where there are no others, and a file on a stage can be replaced.

    Raises:
        ValueError: an image of `tuning` is not in the validation split, or a label is not among the classes.
    """

    def __init__(
        self,
        project: Project,
        catalog: pd.DataFrame,
        recipe: Recipe,
        *,
        classes: Sequence[str],
        tuning: pd.DataFrame,
        start: Mapping[str, torch.Tensor],
    ):
        settings = project.settings
        size = image_size(project, catalog)
        chooses = catalog["IMAGE_ID"].isin(set(tuning["IMAGE_ID"]))
        if chooses.sum() != len(tuning) or (catalog.loc[chooses, "SPLIT"] != "validation").any():
            raise ValueError("the epoch is chosen on validation images of the catalog only")
        labels = class_indices(catalog["LABEL"], classes).tolist()
        images = list(zip(catalog["SPLIT"], labels, chooses.tolist(), strict=True))
        what = [settings.backbone, digest(start), size, asdict(recipe), list(classes), images]
        content = cache_key(catalog["IMAGE_ID"], size)
        key = hashlib.sha256((json.dumps(what) + content).encode()).hexdigest()[:12]
        super().__init__(project.session, f"{project.artifacts_stage}/checkpoints/{key}")
        self.project, self.key = project, key
        self.folder = cache_directory() / "checkpoints" / key

    def new_exchange(self) -> StageFolder:
        """A folder for one call of :func:`cxr.training.launch.fit`: two runs of one KEY at a time share no file."""
        # The KEY stands last: REMOVE takes a path for a prefix, so `clear` would remove KEY-RUN together with KEY.
        parent, _, key = self.stage.rpartition("/")
        return StageFolder(self.session, f"{parent}/{uuid.uuid4().hex[:8]}-{key}")

    def holds_exchange(self, place: str) -> bool:
        """Whether a folder is one that `new_exchange` of the same KEY gave."""
        parent, _, name = place.rpartition("/")
        return f"{parent}/{name.partition('-')[2]}" == self.stage

    def fetch(self) -> None:
        """Download the stage's checkpoints, unless the local ones are as recent.

        Raises:
            ValueError: a checkpoint is damaged.
        """
        places = self.folder.parent
        places.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=f".{self.key}-", dir=places) as scratch:
            found = Path(scratch)
            self.download(found)
            if not (found / LAST).exists():
                return
            if (self.folder / LAST).exists() and _epochs(found / LAST) <= _epochs(self.folder / LAST):
                return
            self.folder.mkdir(exist_ok=True, mode=0o700)
            for path in found.glob("*.pt"):
                path.replace(self.folder / path.name)

    def clear(self) -> None:
        """Remove all checkpoints of the run, here and on the stage."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.remove()


def _epochs(path: Path) -> int:
    return len(read_checkpoint(path)["history"])

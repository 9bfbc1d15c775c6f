"""The images of a training run, as ids: those of training, validation and test."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxr.account.project import Project
from cxr.lifecycle import runs
from cxr.lifecycle.registry import version_name
from cxr.serving.scoring import find_version, open_registry


@dataclass(frozen=True)
class RunImages:
    """`rows`: IMAGE_ID and SPLIT. `kept`: the run kept the list; else it is made of the catalog's splits of today."""

    rows: pd.DataFrame
    kept: bool

    def of(self, *splits: str) -> list[str]:
        """The ids of the images in these splits."""
        return self.rows.loc[self.rows["SPLIT"].isin(splits), "IMAGE_ID"].tolist()


def images_of_run(project: Project, run_id: str) -> RunImages:
    """The images of a run. Those of earlier versions of this project kept no list (`cxr.lifecycle.runs.IMAGES`)."""
    if runs.IMAGES in runs.list_files(project).get(run_id, ()):
        return RunImages(read_staged(project, run_id, runs.IMAGES), kept=True)
    rows = project.session.sql(f"SELECT IMAGE_ID, SPLIT FROM {project.catalog} WHERE SPLIT IS NOT NULL").to_pandas()
    return RunImages(rows, kept=False)


def read_staged(project: Project, run_id: str, name: str) -> pd.DataFrame:
    """A table among the files of a run."""
    with tempfile.TemporaryDirectory(prefix="cxr-run-") as folder:
        project.session.file.get(f"{project.artifacts_stage}/runs/{run_id}/{name}", folder)
        return pd.read_csv(Path(folder, name), dtype={"IMAGE_ID": str, "SPLIT": str})


@dataclass(frozen=True)
class Use:
    """How a run used some images: how many of them are in which split. `version` is None if it was not registered.

    `certain` is False for a run that kept no list of its images: then the splits are the catalog's of today.
    """

    run_id: str
    version: str | None
    splits: dict[str, int]
    certain: bool

    def __str__(self) -> str:
        did = {"train": "learned from", "validation": "was tuned on", "test": "was measured on"}
        words = ", ".join(f"{did[split]} {count}" for split, count in self.splits.items() if split in did)
        name = self.version or f"run {self.run_id}, which was not registered,"
        return f"{name} {words}" if self.certain else f"{name} kept no list of its images; by today's splits it {words}"


def uses_of(project: Project, image_ids: set[str]) -> Iterator[Use]:
    """The runs on the stage that used any of these images, with their versions."""
    registry, model = open_registry(project), project.settings.model_name
    for run_id, files in sorted(runs.list_files(project).items()):
        if "model.json" not in files:
            continue
        found = images_of_run(project, run_id)
        splits = found.rows.loc[found.rows["IMAGE_ID"].isin(image_ids), "SPLIT"].value_counts()
        if len(splits):
            version = find_version(registry, model, version_name(run_id))
            counts = {name: int(splits[name]) for name in ("train", "validation", "test") if name in splits}
            yield Use(run_id, version.version_name if version else None, counts, found.kept)

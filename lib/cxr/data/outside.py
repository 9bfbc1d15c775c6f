"""Labelled images from elsewhere, to measure a version on: read, checked and scored, but never cataloged."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.account.project import Project
from cxr.data import duplicates
from cxr.data.checking import Accepted, Batch, Found, check_files
from cxr.data.survey import Survey, survey
from cxr.model.labelset import LabelSet
from cxr.progress import tqdm

_FILES_AT_ONCE = 64
_COLUMNS = ["IMAGE_ID", "LABEL", "PATIENT_ID", "PATIENT_FROM", "CAUSE", "SEX", "AGE_BAND", "VIEW_POSITION", "FORMAT"]
_ANSWER = ["P_POSITIVE", "STATUS", "PROBABILITIES"]
# Why an image is left out; other reasons are codes of BadImage.
NO_LABEL, UNKNOWN_CLASS, SET_ASIDE = "no label", "a class that the version does not know", "a lateral view or raw image"
TWICE, TWO_CLASSES = "the same bytes as another file here", "under two classes"
IN_TRAINING, LIKE_TRAINING = "the same bytes as an image of training", "nearly the same picture as one of training"
KNOWN_PATIENT, NO_ANSWER = "a patient who also stands in training", "not answered by the version"


@dataclass(frozen=True)
class Training:
    """What a version has seen: ids and patients of its training and validation images, which may be phantoms."""

    image_ids: frozenset[str]
    patients: frozenset[str] = field(repr=False)
    phantoms: bool


@dataclass(frozen=True)
class Outside:
    """`rows` are the images to measure on, with the version's answers; `known` those of patients of training.

    `left_out` counts files by reason, `unknown_classes` images by class; all files are in one of the three.
    `known_patients` are those left out.
    """

    name: str
    files: int
    documents: int
    rows: pd.DataFrame = field(repr=False)
    known: pd.DataFrame = field(repr=False)
    left_out: dict[str, int]
    unknown_classes: dict[str, int]

    @property
    def known_patients(self) -> int:
        return int(self.known["PATIENT_ID"].nunique())


def read_outside(
    project: Project,
    data: str | Path,
    labels: LabelSet,
    training: Training,
    ask: Callable[[list[bytes]], pd.DataFrame],
) -> Outside:
    """Read a source, leave out what cannot or must not be measured on, and ask about the rest.

    The source's own negative class stands for the version's, whatever it is called.

    Args:
        labels: the version's classes.
        training: of the version.
        ask: bytes of files -> P_POSITIVE, STATUS and PROBABILITIES, a row each.

    Raises:
        FileNotFoundError, ValueError: as `survey`; or no image is left.
    """
    source = survey(project, data, else_labels=labels)
    reading = _Reading(project, source, labels, training, ask)
    files = ((name, source.describe(name)) for name in source.names)
    with tqdm(total=len(source.names), unit="image", desc="evaluate", mininterval=5) as bar:
        for batch in check_files(source.source, files, reading.known, source.rules):
            reading.take(batch)
            bar.update(len(batch.found))
    return reading.finish()


class _Reading:
    """Collects what becomes of each file."""

    def __init__(self, project: Project, source: Survey, labels: LabelSet, training: Training, ask):
        self._project, self._source, self._version_labels = project, source, labels
        self._training, self._ask = training, ask
        self._labels: dict[str, set[str]] = {}  # image id -> what its files say
        self._left_out: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._parts: list[pd.DataFrame] = []

    def known(self, ids: list[str]) -> set[str]:
        """Those that need not be decoded."""
        return {each for each in ids if each in self._training.image_ids or each in self._labels}

    def take(self, batch: Batch) -> None:
        accepted = {row.image_id: row for row in batch.accepted}
        wanted: list[Accepted] = []
        for file in batch.found:
            row = accepted.get(file.image_id or "")
            if why := self._why_not(file, row):
                self._left_out[why] += 1
            else:
                wanted.append(row)
        for start in range(0, len(wanted), _FILES_AT_ONCE):
            self._parts.append(self._answer(wanted[start : start + _FILES_AT_ONCE], batch.reader))

    def _why_not(self, file: Found, row: Accepted | None) -> str | None:
        if file.reason:
            return TWO_CLASSES if file.reason == "two_classes" else f"no usable X-ray: {file.reason}"
        if file.image_id in self._training.image_ids:
            return IN_TRAINING
        self._labels.setdefault(file.image_id, set()).update({file.label} - {None})
        if row is None or row.source_name != file.source_name:
            return TWICE
        if file.label is None:
            return NO_LABEL
        if self._translate(file.label) is None:
            self._unknown[file.label] += 1
            return UNKNOWN_CLASS
        if row.set_aside and not self._project.settings.include_set_aside:
            return SET_ASIDE
        return None

    def _translate(self, label: str) -> str | None:
        """The version's name of a class of the source."""
        known = self._version_labels
        return known.negative if label == self._source.labels.negative else known.find(label)

    def _answer(self, rows: list[Accepted], reader) -> pd.DataFrame:
        files = [reader.read(row.source_name) for row in rows]
        for data, row in zip(files, rows, strict=True):
            if hashlib.sha256(data).hexdigest() != row.image_id:
                raise ValueError("a file was written to while it was read: run this again when nothing writes there")
        facts = pd.DataFrame([vars(row) for row in rows]).rename(columns=str.upper)
        facts["LABEL"] = [self._translate(row.label) for row in rows]
        answers = self._ask(files)[_ANSWER].reset_index(drop=True)
        return pd.concat([facts[[*_COLUMNS, "PERCEPTUAL_HASH"]], answers], axis=1)

    def finish(self) -> Outside:
        if not self._parts:
            raise ValueError(f"No image of {self._source.source.name} can be measured on: {_in_words(self._left_out)}")
        rows = pd.concat(self._parts, ignore_index=True)
        rows = self._leave_out(rows, rows["IMAGE_ID"].map(lambda image: len(self._labels[image]) > 1), TWO_CLASSES)
        alike = duplicates.resembling(self._project, rows["PERCEPTUAL_HASH"], sorted(self._training.image_ids))
        rows = self._leave_out(rows, rows["PERCEPTUAL_HASH"].isin(alike), LIKE_TRAINING)
        rows = self._leave_out(rows, rows["P_POSITIVE"].isna(), NO_ANSWER).drop(columns="PERCEPTUAL_HASH")
        theirs = rows["PATIENT_ID"].isin(self._training.patients) & (rows["PATIENT_FROM"] != "none")
        theirs &= self._training.phantoms == self._source.phantoms  # phantoms have the names of some patients' files
        known = rows[theirs].reset_index(drop=True)
        rows = self._leave_out(rows, theirs, KNOWN_PATIENT)
        return Outside(
            name=Path(self._source.source.name).name,
            files=len(self._source.names),
            documents=len(self._source.documents),
            rows=rows.reset_index(drop=True),
            known=known,
            left_out=dict(self._left_out),
            unknown_classes=dict(self._unknown),
        )

    def _leave_out(self, rows: pd.DataFrame, which: pd.Series | np.ndarray, why: str) -> pd.DataFrame:
        which = np.asarray(which, dtype=bool)
        if which.any():
            self._left_out[why] += int(which.sum())
        return rows[~which]


def _in_words(counts: Counter[str]) -> str:
    return "; ".join(f"{count:,} {why}" for why, count in counts.most_common())

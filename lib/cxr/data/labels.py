"""The label and the patient of an image, from its name or a table."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cxr.data.classes import DEFAULT, find_label_set
from cxr.data.in_account.examining import Origin
from cxr.data.label_table import Row, read_table
from cxr.data.patient_ids.rules import VERSION, cause_of_name, patient_of_name, patient_of_table
from cxr.model.labelset import LabelSet

_SEVERAL = re.compile(r"[|;]")  # between the findings of one cell


Describe = Callable[[str], Origin | None]  # None: neither the name nor a table says anything


def from_name(name: str, labels: LabelSet = DEFAULT) -> Origin | None:
    """The label from the folder, patient and cause from the file's name. None outside the folders of classes."""
    origin = Describer(labels)(name)
    return origin if origin.label or origin.problem else None


def from_csv(table: str | Path, key: str, labels: LabelSet | None = None) -> Describe:
    """A rule that looks a file up in a table; what the table lacks, the name tells.

    Args:
        table: see `label_table.read_table`; the classes are the values of its column `label` where one is negative.
        key: see `cxr.data.patient_ids.rules.patient_of_table`; patient ids are stored under it.
        labels: the classes, instead.

    Raises:
        ValueError: the table cannot be understood.
    """
    read = read_table(table)
    labels = labels or find_label_set((), single(read.labels())) or DEFAULT
    return Describer(labels, find_row=read.find, key=key)


def single(labels: set[str]) -> set[str]:
    """Without cells that hold several findings."""
    return {label for label in labels if not _SEVERAL.search(label)}


@dataclass(frozen=True)
class Describer:
    """Says of each name what image it is. With `by_cause`, folders of `folders` and the cause make the label."""

    labels: LabelSet = DEFAULT
    find_row: Callable[[str], Row | None] = lambda name: None
    key: str = field(default="", repr=False)
    version: int = VERSION
    by_cause: bool = False
    folders: LabelSet | None = None

    def __call__(self, name: str) -> Origin:
        row = self.find_row(name)
        cause = (row.cause.lower() if row else "") or cause_of_name(name)
        label, problem = self._label(name, row)
        if self.by_cause and label and label != self._folders.negative:
            label = self.labels.find(cause) if cause else None
        if row and row.patient_id:
            patient, told_by = patient_of_table(row.patient_id, self.key, self.version), "table"
        else:
            patient = patient_of_name(name, self.version)
            told_by = "name" if patient else None
        return Origin(label, patient, cause, told_by, problem)

    @property
    def _folders(self) -> LabelSet:
        return self.folders or self.labels

    def _label(self, name: str, row: Row | None) -> tuple[str | None, str | None]:
        if row and row.label:
            if _SEVERAL.search(row.label):
                return None, f"the table says {row.label!r}; several findings at once are not supported"
            return self._folders.find(row.label), None
        parts = PurePosixPath(name).parts[:-1]
        found = dict.fromkeys(label for part in parts if (label := self._folders.find(part)))
        if len(found) > 1:
            return None, f"its folders say {' and '.join(found)}; several findings at once are not supported"
        return next(iter(found), None), None

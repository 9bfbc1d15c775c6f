"""Facts about a whole catalog, in a table of their own: classes, rules for patient ids, a check of the key."""

import json
from dataclasses import dataclass

import pandas as pd

from cxr.account.project import Project
from cxr.account.tables import merge
from cxr.data.classes import DEFAULT
from cxr.data.patient_ids import rules
from cxr.data.sources import PHANTOMS
from cxr.model.labelset import LabelSet, is_negative


@dataclass(frozen=True)
class Facts:
    """`key_check` is None while no id needed a key; `fixed` says that further classes must be asked for.

    `guessed`: the key's check was not stored, so the existing ids may be under another key.
    """

    label_set: LabelSet | None
    patient_rules: int
    key_check: str | None
    fixed: bool
    guessed: bool = False


def read(project: Project, phantoms: bool = False) -> Facts:
    """The facts for images of a source, of phantoms or not: one kind leaves when the other comes.

    A catalog that an earlier version of this project made has none: its labels tell the classes, its rules are the
    first ones, and its key was empty unless the user chose one.
    """
    written = read_all(project, phantoms)
    rows = project.session.sql(f"""
        SELECT LABEL, COUNT_IF(VANISHED_AT IS NULL) AS LIVE, COUNT_IF(STARTSWITH(PATIENT_ID, 'patient-')) AS KEYED
        FROM {project.catalog} WHERE {of_kind(phantoms)} GROUP BY LABEL""").collect()
    if not rows:  # nothing of this kind was ever cataloged: begin anew
        return Facts(None, rules.VERSION, None, fixed=False)
    live = [row["LABEL"] for row in rows if row["LABEL"] and row["LIVE"]]
    before = "patient_rules" not in written
    check = written.get("key_check")
    guessed = not check and any(row["KEYED"] for row in rows)
    if guessed:
        check = rules.key_check("")
    return Facts(
        _label_set(written.get("label_set"), live, project.settings.negative_label) if live else None,
        1 if before else int(written["patient_rules"]),
        check,
        fixed=len(live) > 1,
        guessed=guessed,
    )


def _label_set(written: list[str] | None, live: list[str], negative_label: str) -> LabelSet | None:
    if written and set(live) <= set(written):
        return LabelSet.from_list(written)
    if not any(is_negative(name, negative_label) for name in live):
        live = [*live, DEFAULT.negative]
    return LabelSet.of(live, negative_label)


def live_labels(project: Project, phantoms: bool) -> set[str]:
    """The labels of images that are still in their source."""
    rows = project.session.sql(f"""
        SELECT DISTINCT LABEL FROM {project.catalog}
        WHERE VANISHED_AT IS NULL AND LABEL IS NOT NULL AND {of_kind(phantoms)}""").collect()
    return {row[0] for row in rows}


def live_images(project: Project, phantoms: bool) -> int:
    """The number of images of a kind that are still in their source."""
    live = f"SELECT COUNT(*) FROM {project.catalog} WHERE VANISHED_AT IS NULL AND {of_kind(phantoms)}"
    return project.session.sql(live).collect()[0][0]


def of_kind(phantoms: bool) -> str:
    """The SQL condition for images of phantoms, or for all others."""
    return f"{'' if phantoms else 'NOT '}STARTSWITH(SOURCE, '{PHANTOMS}')"


def read_all(project: Project, phantoms: bool = False) -> dict:
    """Name -> value, as written."""
    rows = project.session.table(project.facts).select("NAME", "VALUE").collect()
    start = PHANTOMS if phantoms else ""
    names = {row["NAME"]: row["VALUE"] for row in rows if row["NAME"].startswith(PHANTOMS) == phantoms}
    return {name.removeprefix(start): json.loads(value) for name, value in names.items()}


def write(project: Project, phantoms: bool = False, **values) -> None:
    """Each a JSON value; what was written under the same name before is replaced."""
    names = [(PHANTOMS if phantoms else "") + name for name in values]
    rows = pd.DataFrame({"NAME": names, "VALUE": [json.dumps(value) for value in values.values()]})
    rows["WRITTEN_AT"] = pd.Timestamp.now("UTC").tz_localize(None)
    merge(project.session, project.facts, rows, ["NAME"])

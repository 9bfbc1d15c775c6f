"""Names of classes and results, and filters, for all pages. Nothing here asks the account."""

import json
from collections.abc import Sequence

import pandas as pd

from cxr.model.labelset import LabelSet
from cxr.model.zones import RULE_IN, RULE_OUT, UNCERTAIN
from cxr.settings import SPLITS

ALL, NO_LABEL, NO_SPLIT = "all", "no label", "no split"  # class names are upper case, so that none is one of these
CORRECT, MISSED, FALSE_ALARM, OTHER_CLASS = "Correct", "Missed", "False alarm", "Other class"
NO_TRUTH, NO_PREDICTION, NOT_SCORED = "No truth", "No prediction", "Not scored"
# The order in which the worklist shows them: errors first.
RESULTS = (MISSED, FALSE_ALARM, OTHER_CLASS, NO_PREDICTION, NOT_SCORED, NO_TRUTH, CORRECT)
BURNED_IN = "The picture contains text about the patient"
UNLIKE = "unlike_training"  # what a STATUS begins with; cxr.model.gate, which needs PyTorch
CHANGED = "changed: the file on the stage is not the cataloged image"  # a STATUS that is shown and not recorded
TRIAGE = {RULE_OUT: "Rule out", UNCERTAIN: "Uncertain", RULE_IN: "Rule in"}
_SET_ASIDE = {"lateral": "Lateral view", "for_processing": "Not prepared for display"}


def finding(labels: LabelSet) -> str:
    """The event that the probability is about: the positive class of two, else any class but the negative one."""
    return labels.others[0] if len(labels) == 2 else f"anything but {labels.negative}"


def result(truth: str | None, called: str | None, probability: float, labels: LabelSet, negative: str) -> str:
    """Compare an answer with the truth. Without a truth it is neither right nor wrong.

    Args:
        labels: of the version that answered.
        negative: of the catalog that knows the truth.
    """
    if pd.isna(called):
        return NOT_SCORED if pd.isna(probability) else NO_PREDICTION
    if pd.isna(truth):
        return NO_TRUTH
    sick, found = truth != negative, called != labels.negative
    if sick != found:
        return MISSED if sick else FALSE_ALARM
    # A class that the version does not know is found, but never called by its name.
    return CORRECT if truth == called or not sick else OTHER_CLASS


def note(row: dict) -> str:
    """What a viewer of this cataloged image should know; empty if there is nothing."""
    burned_in = BURNED_IN if row["BURNED_IN"] else ""
    aside = _SET_ASIDE.get(row["SET_ASIDE"], row["SET_ASIDE"]) if isinstance(row["SET_ASIDE"], str) else ""
    return "; ".join(filter(None, (burned_in, aside)))


def changed_files(count: int) -> str:
    """What to do about files of the stage that are not the cataloged images."""
    return (
        f"Files on the stage that are not the cataloged images, so that they are not scored: {count:,}. Somebody wrote "
        "over them, or they were damaged. REMOVE them from the stage, then run `notebooks/02_data_ingest.ipynb`."
    )


def read_probabilities(text: str | None) -> dict[str, float]:
    """PROBABILITIES of an answer; empty where it has none."""
    return json.loads(text) if isinstance(text, str) and text else {}


def in_words(probabilities: dict[str, float]) -> str:
    """The likeliest class first."""
    ordered = sorted(probabilities.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {value:.0%}" for name, value in ordered)


def choose_class(probabilities: dict[str, float], positive: float, threshold: float, labels: LabelSet) -> str:
    """The class at another threshold, as :func:`cxr.model.probabilities.choose_classes` has it."""
    if positive < threshold:
        return labels.negative
    return max(labels.others, key=lambda name: probabilities.get(name, 0.0))


def label_options(rows: pd.DataFrame, labels: LabelSet | None) -> list[str]:
    """All, each class that the catalog holds, and, where there are any, images without a label."""
    known = labels.names if labels else ()
    held = set(rows["LABEL"].dropna())
    names = [name for name in known if name in held] + sorted(held - set(known))
    return [ALL, *names, *([NO_LABEL] if rows["LABEL"].isna().any() else [])]


def split_options(rows: pd.DataFrame) -> list[str]:
    """All, each split that the catalog holds, and, where there are any, images without one."""
    held = set(rows["SPLIT"].dropna())
    names = [name for name in SPLITS if name in held]
    return [ALL, *names, *([NO_SPLIT] if rows["SPLIT"].isna().any() else [])]


def filter_rows(rows: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """The rows of the catalog whose columns have these values: any with ALL, none with NO_LABEL or NO_SPLIT."""
    for column, value in wanted.items():
        if value in (NO_LABEL, NO_SPLIT):
            rows = rows[rows[column].isna()]
        elif value != ALL:
            rows = rows[rows[column] == value]
    return rows


def all_names(labels: LabelSet, *columns: Sequence[str]) -> list[str]:
    """The version's classes, then further ones that are in the columns."""
    found = {name for column in columns for name in column if isinstance(name, str)}
    return [*labels.names, *sorted(found - set(labels.names))]

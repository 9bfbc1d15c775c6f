"""Which classes a source has: the folders beside a folder of the negative class, and the values of a table."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from cxr.model.labelset import LabelSet, class_key, is_negative, spelling
from cxr.settings import LABELS

DEFAULT = LabelSet.from_list(LABELS)
# What lies beside images and is none. Everything else may be an image: exports of DICOM have names without an ending.
DOCUMENTS = frozenset(
    (".csv", ".tsv", ".txt", ".md", ".json", ".xml", ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".zip")
    + (".gz", ".tar", ".py", ".ipynb", ".yml", ".yaml", ".ini", ".log", ".db", ".lnk", ".exe")
)
_SPLITS = frozenset(map(class_key, ("train", "training", "val", "valid", "validation", "dev", "test", "testing")))
# Dates, unique ids and other numbers; names of people as DICOM writes them; numbered patients and studies.
_NO_CLASS = re.compile(
    r"[\W\d_]*|.*[\^,].*|(patients?|pat|persons?|subjects?|study|studies|series|case|sub|id|p|s)[\s_-]*\d+\w*|"
    r"[12]\d{3}[\s._-]?\d{2}[\s._-]?\d{2}.*",
    re.IGNORECASE,
)


def is_document(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in DOCUMENTS


def find_folders(names: Iterable[str], negative_label: str = "") -> set[str]:
    """The names of folders that are classes, as they are written; empty without a negative one.

    A folder is a class if it is beside a folder of the negative class, anywhere in the tree. Folders for splits,
    wrappers (which contain a negative folder themselves), dates, numbers and people are not classes.
    """
    inside: dict[tuple[str, ...], set[str]] = defaultdict(set)
    folders = {PurePosixPath(name).parts[:-1] for name in names if not is_document(name)}
    for parts in folders:
        for depth, part in enumerate(parts):
            inside[parts[:depth]].add(part)
    homes = {place for place, parts in inside.items() if any(is_negative(part, negative_label) for part in parts)}
    wrappers = {home[:depth] for home in homes for depth in range(1, len(home) + 1)}
    numbers = negative_label.isdigit()  # then its neighbours are numbers too, such as grades

    def may_be_class(home: tuple[str, ...], part: str) -> bool:
        if is_negative(part, negative_label) or (numbers and part.isdigit() and len(part) <= 2):
            return True
        return not (class_key(part) in _SPLITS or (*home, part) in wrappers or _NO_CLASS.fullmatch(part))

    return {part for home in homes for part in inside[home] if may_be_class(home, part)}


def find_label_set(
    names: Collection[str], table_labels: Iterable[str] = (), negative_label: str = ""
) -> LabelSet | None:
    """The classes of a source; None where it has no negative one.

    Raises:
        ValueError: there are several negative classes.
    """
    found = find_folders(names, negative_label) | set(table_labels)
    if not any(is_negative(name, negative_label) for name in found):
        return None
    singular = {class_key(name): _usual_spelling(name, found) for name in found}
    return LabelSet.of(singular.values(), negative_label)


def _usual_spelling(name: str, found: set[str]) -> str:
    """Of spellings of one class the default's, else the shortest: a singular before its plural."""
    same = {spelling(other) for other in found if class_key(other) == class_key(name)}
    return DEFAULT.find(name) or min(same, key=lambda text: (len(text), text))


def agree(known: LabelSet | None, found: LabelSet | None, add: Iterable[str] = (), fixed: bool = True) -> LabelSet:
    """The set to read a source with: the catalog's, and what the user adds to it.

    Args:
        known: the catalog's set, if it has one.
        found: the source's.
        add: classes that the user wants to add to the catalog's.
        fixed: the catalog holds images of several classes, so a further class must be asked for.

    Raises:
        ValueError: the source has a class that the catalog does not know, or another negative class.
    """
    if known is None:
        return (found or DEFAULT).extended(add)
    wanted = known.extended(add)
    if found is None:
        return wanted
    if class_key(found.negative) != class_key(known.negative):
        raise ValueError(
            f"this catalog's classes are {', '.join(known.names)}, with {known.negative} as the negative one; this "
            f"source's are {', '.join(found.names)}. Rename its folders, or use another schema (CXR_SCHEMA)"
        )
    if not fixed:
        return wanted.extended(found.others)
    if unknown := [name for name in found.names if name not in wanted]:
        raise ValueError(
            f"{', '.join(unknown)}: this catalog's classes are {', '.join(known.names)}. Add the new class "
            f'(add_class="{",".join(unknown)}", or --add-class), or correct the folder or the table that says so'
        )
    return wanted

"""List a source, and decide how its files are labelled, before any file is read or anything is changed."""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from cxr.account.project import Project
from cxr.data import facts as catalog_facts
from cxr.data import sources
from cxr.data.classes import agree, find_label_set, is_document
from cxr.data.facts import Facts
from cxr.data.label_table import LabelTable, Matches, read_table
from cxr.data.labels import Describer, single
from cxr.data.patient_ids.keys import key_for
from cxr.data.patient_ids.rules import PatientRules, cause_of_name, patient_of_name
from cxr.model.labelset import LabelSet

_SHOWN = 5


@dataclass(frozen=True)
class Survey:
    """A source that was listed once, and the description of each of its files.

    `documents` are tables, texts and the like outside the folders of classes; they are skipped. `retires` counts the
    images that leave the catalog when this source is ingested: phantoms and patients are never mixed.
    """

    source: object = field(repr=False)
    names: list[str] = field(repr=False)
    documents: list[str] = field(repr=False)
    describe: Describer = field(repr=False)
    rules: PatientRules
    facts: Facts
    needs_key: bool
    matches: Matches | None = field(repr=False)
    retires: int = 0

    @property
    def labels(self) -> LabelSet:
        return self.describe.labels

    @property
    def phantoms(self) -> bool:
        return self.source.name.startswith(sources.PHANTOMS)

    @cached_property
    def counts(self) -> Counter:
        """Files of each class."""
        return Counter(label for name in self.names if (label := self.describe(name).label))

    def summary(self) -> list[str]:
        """What was found, one line each, for the user to check."""
        counts = self.counts
        unlabelled = len(self.names) - counts.total()
        classes = ", ".join(f"{counts[name]:,} {name}" for name in self.labels.names if counts[name]) or "no class"
        lines = [f"{len(self.names):,} files in {self.source.name}: {classes}"]
        if unlabelled:
            below = {_folder(name) for name in self.names if self.describe(name).label is None}
            lines.append(f"{unlabelled:,} files have no label; they are in {_some(sorted(below))}")
        if self.documents:
            lines.append(f"{len(self.documents):,} files are tables or texts: {_some(self.documents)}")
        if self.source.unlisted:
            lines.append(
                f"{len(self.source.unlisted):,} folders cannot be looked into: {_some(self.source.unlisted)}; what the "
                "catalog holds of them stays as it is"
            )
        if self.matches:
            left = self.matches.rows_left
            lines.append(
                f"The table names {len(self.matches.rows):,} of the files, and not the other "
                f"{len(self.matches.files_left):,}"
            )
            if left:
                lines.append(f"{len(left):,} rows of the table match no file: {_some(left)}")
        lines += self.warnings()
        if len(counts) == 1:
            lines.append(one_class(next(iter(counts)), self.labels))
        return lines

    def warnings(self) -> list[str]:
        """Changes by ingesting this source that the user may not want."""
        if not self.retires:
            return []
        leave, come = ("images of patients", "phantoms") if self.phantoms else ("phantoms", "images of patients")
        return [
            f"{self.retires:,} {leave} leave the catalog, because this source has {come}: the two are never mixed. To "
            "keep both, use another schema (CXR_SCHEMA); to bring them back, ingest their source again "
            "(notebooks/02_data_ingest.ipynb)"
        ]


def demand_no_patients(project: Project) -> None:
    """For phantoms that stand in where no source was named. Who names a folder of phantoms is only warned.

    Raises:
        ValueError: the catalog holds images of patients, which phantoms would push out.
    """
    if patients := catalog_facts.live_images(project, phantoms=False):
        raise ValueError(
            f"No images were named, and the catalog holds {patients:,} images of patients, which phantoms would push "
            "out. Name the images (data, or --data of python3 ci run and ci deploy --run), or draw phantoms in another "
            "schema (CXR_SCHEMA). Nothing was changed"
        )


def one_class(found: str, labels: LabelSet) -> str:
    """What to do if all labelled images have one class."""
    other = "of another class" if found == labels.negative else f"of the negative class ({labels.negative})"
    return (
        f"All labelled images are {found}: nothing can be learnt from one class. Add images {other}; if there are "
        "some, name their folder with negative_label, or give their labels in a table (data_csv)"
    )


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _some(names) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def survey(
    project: Project, data: str | Path, any_folders: bool = False, else_labels: LabelSet | None = None
) -> Survey:
    """List a source, find its classes, and make sure that they and the patients' key fit the catalog.

    Args:
        any_folders: folders are classes only where the catalog knows them, or has none yet. What lies in others has no
            label, and no folder is refused: for images that are to be scored.
        else_labels: the classes are the source's own, else these, and are not compared with the catalog's: for images
            that are not to be cataloged.

    Raises:
        FileNotFoundError: there is no such source, or it holds no file that may be an image.
        ValueError: its table, classes or key cannot be used; says what to do.
    """
    settings = project.settings
    source = sources.open_source(project, data)
    listed = list(source.names())
    phantoms = source.name.startswith(sources.PHANTOMS)
    facts = catalog_facts.read(project, phantoms)
    known = replace(facts, label_set=None, fixed=False) if else_labels else facts
    table = read_table(settings.data_csv) if settings.data_csv else None
    folders, labels = _label_sets(project, listed, table, known, any_folders, else_labels)
    plain = Describer(labels, by_cause=settings.label_from == "cause", folders=folders)
    documents = [name for name in listed if is_document(name) and not _in_class(plain, name)]
    passed_over = set(documents)
    names = [name for name in listed if name not in passed_over]
    if not names:
        raise FileNotFoundError(
            f"{source.name} holds no image: put X-rays there, in one folder for each class; {labels.negative} is "
            "the negative class"
        )
    matches = table.match(names, source.name) if table else None
    rows = matches.rows if matches else {}
    needs_key = any(_may_need_key(name, facts.patient_rules) for name in names)
    told = {row.patient_id for row in rows.values() if row.patient_id}
    needs_key = needs_key or bool(told)
    rules = PatientRules(facts.patient_rules, key_for(project, facts, needs_key, told))
    describe = Describer(labels, rows.get, rules.key, rules.version, plain.by_cause, folders)
    retires = catalog_facts.live_images(project, phantoms=not phantoms)
    return Survey(source, names, documents, describe, rules, facts, needs_key, matches, retires)


def _may_need_key(name: str, version: int) -> bool:
    """Whether the name tells no patient, or the file may be DICOM, whose header tells patient and study."""
    is_picture = PurePosixPath(name).suffix.lower() in (".jpeg", ".jpg", ".png", ".tif", ".tiff")
    return not is_picture or patient_of_name(name, version) is None


def _in_class(describe: Describer, name: str) -> bool:
    origin = describe(name)
    return bool(origin.label or origin.problem)


def _label_sets(
    project: Project,
    names: list[str],
    table: LabelTable | None,
    facts: Facts,
    any_folders: bool,
    else_labels: LabelSet | None,
) -> tuple[LabelSet | None, LabelSet]:
    """(the classes that folders and table name, the classes that images get)."""
    settings = project.settings
    told = single(table.labels()) if table else set()
    found = find_label_set(names, told, settings.negative_label) or else_labels
    add = [name for name in settings.add_class.split(",") if name.strip()]
    if any_folders and found and facts.label_set and not told:
        wanted = facts.label_set.extended(add)
        found = found if all(name in wanted for name in found.names) else None
    if settings.label_from != "cause":
        labels = agree(facts.label_set, found, add, facts.fixed)
        _refuse_unknown(table, told, labels)
        return None, labels
    folders = found or agree(None, None)
    causes = {cause for name in names if (cause := cause_of_name(name))} | (table.causes() if table else set())
    _refuse_unknown(table, told, folders)
    return folders, agree(facts.label_set, LabelSet.of([folders.negative, *causes], folders.negative), add, facts.fixed)


def _refuse_unknown(table: LabelTable | None, told: set[str], labels: LabelSet) -> None:
    if unknown := sorted(label for label in told if label not in labels):
        raise ValueError(
            f"{table.name}: {', '.join(unknown)} is no class of this catalog ({', '.join(labels.names)}). Name the "
            'negative class with negative_label="...", or add the class with add_class="...", or correct the table'
        )

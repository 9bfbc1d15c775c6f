"""Warnings about a catalog, to read before its metrics are trusted; for notebook, run and model card."""

from collections.abc import Mapping
from dataclasses import dataclass

from cxr.account.project import Project
from cxr.data import catalog, facts
from cxr.data.catalog import in_split, usable
from cxr.data.patient_ids.rules import VERSION, key_check
from cxr.data.survey import one_class


@dataclass(frozen=True)
class PatientYield:
    """The number of images whose patient id came from each rule."""

    table: int
    header: int
    name: int
    none: int

    @classmethod
    def of(cls, counts: Mapping[str | None, int]) -> "PatientYield":
        """Of the number of images with each PATIENT_FROM; an image without one has no patient id."""
        found = {name: int(counts.get(name, 0)) for name in ("table", "header", "name")}
        return cls(**found, none=int(sum(counts.values())) - sum(found.values()))

    @property
    def images(self) -> int:
        return self.table + self.header + self.name + self.none

    @property
    def trusted(self) -> bool:
        """Whether a split by patient can be trusted: a patient id was found for at least half of the images."""
        return 2 * self.none <= self.images

    def __str__(self) -> str:
        return (
            f"patient ids of {self.images:,} images: {self.table:,} from the table, {self.header:,} from the header, "
            f"{self.name:,} from the file's name, {self.none:,} not found (the image is its own patient)"
        )


def patient_yield(project: Project) -> PatientYield:
    """Over the images of the split; over all that are still in their source where none has a split."""
    rows = project.session.sql(f"""
        SELECT PATIENT_FROM, COUNT_IF({in_split(project)}) AS IN_SPLIT, COUNT(*) AS ALL_IMAGES
        FROM {project.catalog} WHERE VANISHED_AT IS NULL GROUP BY PATIENT_FROM""").collect()
    counted = "IN_SPLIT" if any(row["IN_SPLIT"] for row in rows) else "ALL_IMAGES"
    return PatientYield.of({row["PATIENT_FROM"]: row[counted] for row in rows})


UNTRUSTED = (
    "The split cannot be trusted: for most images no patient id was found, so images of one person may be in train and "
    "in test, and every metric may be too good. Give patient ids in a table: python3 ci rekey --data-csv TABLE (an "
    "ingest does not change the patients of images that have a split)"
)


def notices(project: Project, counts_of_ingest: Mapping[str, int] | None = None) -> list[str]:
    """One sentence each; none for a catalog, and an ingest that was just done, that need no warning."""
    found, counts = patient_yield(project), _counts(project)
    said = []
    if found.images and not found.trusted:
        said.append(f"{UNTRUSTED} ({found}).")
    if ignored := (counts_of_ingest or {}).get("table_patients_ignored"):
        said.append(
            f"{ignored:,} images keep their patient, although the table (data_csv) names another: an ingest changes no "
            "patient on whom a split depends. To use the table's, run python3 ci rekey --data-csv TABLE."
        )
    labels = catalog.label_set(project)
    if labels and len(counts["classes"]) == 1:
        said.append(one_class(counts["classes"][0], labels) + ".")
    if counts["unlabelled"]:
        said.append(
            f"{counts['unlabelled']:,} images have no label: they can be scored, but count in no training or metric."
        )
    if counts["set_aside"] and not project.settings.include_set_aside:
        said.append(
            f"{counts['set_aside']:,} lateral views or images FOR PROCESSING are neither trained on nor scored "
            "(include_set_aside)."
        )
    if counts["burned_in"]:
        said.append(f"{counts['burned_in']:,} images may show text about the patient in their pixels.")
    known = facts.read(project)
    if known.key_check == key_check(""):
        said.append(
            "Patient ids are under no key: anyone who can guess an id can recognise it. Set a key and run python3 ci "
            "rekey."
        )
    if known.label_set and known.patient_rules < VERSION:
        said.append(
            f"Patient ids follow the rules of version {known.patient_rules}, which the catalog started with. Those of "
            f"version {VERSION} recognise more file names: to use them, run python3 ci rekey."
        )
    return said


def _counts(project: Project) -> dict:
    row = project.session.sql(f"""
        SELECT COUNT_IF(LABEL IS NULL) AS UNLABELLED, COUNT_IF(SET_ASIDE IS NOT NULL) AS SET_ASIDE,
            COUNT_IF(BURNED_IN) AS BURNED_IN FROM {project.catalog} WHERE VANISHED_AT IS NULL""").collect()[0]
    classes = project.session.sql(f"""
        SELECT DISTINCT LABEL FROM {project.catalog}
        WHERE VANISHED_AT IS NULL AND LABEL IS NOT NULL AND {usable(project)}""").collect()
    return {
        "unlabelled": int(row["UNLABELLED"]),
        "set_aside": int(row["SET_ASIDE"]),
        "burned_in": int(row["BURNED_IN"]),
        "classes": [found[0] for found in classes],
    }

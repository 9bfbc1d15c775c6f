"""What has to be known about a catalog before its figures are believed; for notebook, run and model card."""

from dataclasses import dataclass

from cxr.account.project import Project
from cxr.data import catalog, facts
from cxr.data.catalog import usable
from cxr.data.patient_ids.rules import VERSION, key_check
from cxr.data.survey import one_class


@dataclass(frozen=True)
class PatientYield:
    """How many images got their patient by which rule."""

    table: int
    header: int
    name: int
    none: int

    @property
    def images(self) -> int:
        return self.table + self.header + self.name + self.none

    @property
    def trusted(self) -> bool:
        """Whether a split by patient means what it says: at most half of the images are patients of their own."""
        return 2 * self.none <= self.images

    def __str__(self) -> str:
        return (
            f"patients of {self.images:,} images: {self.table:,} by the table, {self.header:,} by the header, "
            f"{self.name:,} by the file's name, {self.none:,} by none (a patient of their own)"
        )


def patient_yield(project: Project) -> PatientYield:
    """Over all images that are still in their source."""
    rows = project.session.sql(
        f"SELECT PATIENT_FROM, COUNT(*) FROM {project.catalog} WHERE VANISHED_AT IS NULL GROUP BY PATIENT_FROM"
    ).collect()
    counts = {rule or "none": count for rule, count in rows}
    return PatientYield(*(counts.get(rule, 0) for rule in ("table", "header", "name", "none")))


UNTRUSTED = (
    "The split cannot be trusted: most images are patients of their own, so images of one person may stand in train "
    "and test, and every figure may be too good. Give patient ids in a table (data_csv)"
)


def notices(project: Project) -> list[str]:
    """One sentence each; none for a catalog that needs no warning."""
    found, counts = patient_yield(project), _counts(project)
    said = []
    if found.images and not found.trusted:
        said.append(f"{UNTRUSTED} ({found}).")
    labels = catalog.label_set(project)
    if labels and len(counts["classes"]) == 1:
        said.append(one_class(counts["classes"][0], labels) + ".")
    if counts["unlabelled"]:
        said.append(f"{counts['unlabelled']:,} images have no label: they are scored, and not trained or measured on.")
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
            "Patient ids are under no key: whoever can guess an id can recognise it. Change it: python3 ci rekey."
        )
    if known.label_set and known.patient_rules < VERSION:
        said.append(
            f"Patient ids follow the rules of version {known.patient_rules}, with which the catalog was begun; "
            f"those of version {VERSION} know more names: python3 ci rekey."
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

"""Remove everything about one patient from the project, and list the versions that learned from their images.

The rows of the catalog and of rejected files go last, together: they alone tell which images are the patient's. So a
call that is broken off anywhere leaves what a second call needs, and every step may be done twice.
"""

import hashlib
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from cxr.account import migrate
from cxr.account.patient_key import find_patient_key
from cxr.account.places import possible_places
from cxr.account.project import Project
from cxr.account.scratch import remove_abandoned_folders
from cxr.account.tables import temporary, transaction
from cxr.atomic_files import write_atomically
from cxr.data import facts, sources
from cxr.data.patient_ids.rules import PatientRules, patient_of_name, patient_of_table, pseudonym
from cxr.data.pixels import cache_directory
from cxr.lifecycle import runs
from cxr.lifecycle.run_images import Use, read_staged, uses_of


@dataclass(frozen=True)
class Patient:
    """What the project holds of a patient: catalog rows, rejected files, and the runs that used the images."""

    ids: tuple[str, ...] = field(repr=False)
    images: pd.DataFrame = field(repr=False)  # IMAGE_ID, RELATIVE_PATH, SOURCE, SOURCE_NAME
    rejected: pd.DataFrame = field(repr=False)  # SOURCE, SOURCE_NAME
    uses: tuple[Use, ...]

    @property
    def sources(self) -> dict[str, int]:
        """The number of the patient's files in each source. The project does not remove those files; the user must."""
        return pd.concat([self.images["SOURCE"], self.rejected["SOURCE"]]).value_counts().to_dict()

    @property
    def doubt(self) -> str:
        """Why the images may be of several people; empty if nothing says so."""
        if len(self.sources) < 2 or not self.ids[0].startswith("file-"):
            return ""
        return (
            f"No patient is known here: the id is that of a file's name, which files of {len(self.sources)} sources "
            "have. All of them are removed. To bring those of other people back, ingest their source again"
        )


def find_patient(project: Project, patient: str) -> Patient:
    """Look a patient up, and change nothing.

    Args:
        patient: the id as in the catalog; or as the hospital writes it, in a table or a DICOM header, of which the
            pseudonym is made with the key. `ISSUER|ID` where the headers name an issuer.

    Raises:
        ValueError: no id is given, or the key cannot be read.
    """
    if not patient.strip():
        raise ValueError("no patient id is given")
    migrate.upgrade(project)
    ids = _candidates(project, patient.strip())
    rejected = project.session.sql(f"SELECT SOURCE, SOURCE_NAME, DETAIL FROM {project.rejected}").to_pandas()
    named = _named_after(project, rejected["SOURCE_NAME"], ids)
    # An image may have been cataloged under another name, and the file that names the patient be a copy of it.
    originals = pd.DataFrame(
        {"SOURCE": rejected["SOURCE"], "SOURCE_NAME": rejected["DETAIL"].fillna("").str.removeprefix(_COPY)}
    )[named & rejected["DETAIL"].fillna("").str.startswith(_COPY)]
    with (
        temporary(project.session, "PATIENT_ID STRING", pd.DataFrame({"PATIENT_ID": ids})) as asked,
        temporary(project.session, "SOURCE STRING, SOURCE_NAME STRING", originals) as copied,
    ):
        columns = "C.IMAGE_ID, C.RELATIVE_PATH, C.SOURCE, C.SOURCE_NAME"
        images = project.session.sql(f"""
            SELECT {columns} FROM {project.catalog} C JOIN {asked} A ON A.PATIENT_ID = C.PATIENT_ID
            UNION SELECT {columns} FROM {project.catalog} C
            JOIN {copied} O ON O.SOURCE = C.SOURCE AND O.SOURCE_NAME = C.SOURCE_NAME
            ORDER BY 1""").to_pandas()
    names = set(zip(images["SOURCE"], images["SOURCE_NAME"], strict=True))
    copies = {(source, _COPY + name) for source, name in names}
    theirs = [
        place in names or copy in copies
        for place, copy in zip(
            zip(rejected["SOURCE"], rejected["SOURCE_NAME"], strict=True),
            zip(rejected["SOURCE"], rejected["DETAIL"], strict=True),
            strict=True,
        )
    ]
    files = rejected[named | pd.Series(theirs, index=rejected.index, dtype=bool)].drop(columns="DETAIL")
    return Patient(tuple(ids), images, files, tuple(uses_of(project, set(images["IMAGE_ID"]))))


_COPY = "the same bytes as "  # how cxr.data.ingest begins the detail of a duplicate


def _keys(project: Project) -> list[str]:
    found = find_patient_key(project)
    return [found.value, ""] if found else [""]  # a catalog of before keys has ids under none


def _candidates(project: Project, patient: str) -> list[str]:
    """Every id that the patient may have in the catalog, by the rules of all versions."""
    ids = [patient]
    for key in _keys(project):
        ids += [patient_of_table(patient, key, version) for version in (2, 1)]
        # `ISSUER|ID`, as cxr.model digests a header; with rules 1 an id of a header was digested, one of a table not.
        ids.append(pseudonym(hashlib.sha256(patient.encode()).hexdigest(), key))
    return list(dict.fromkeys(ids))


def _named_after(project: Project, names: pd.Series, ids: list[str]) -> pd.Series:
    """Whether a rejected file is the patient's by its name, for it was never in the catalog: bool [N]."""
    version = facts.read(project).patient_rules
    rules = [PatientRules(version, key) for key in _keys(project)]

    def is_theirs(name: str) -> bool:
        return bool({patient_of_name(name, version), *(rule.of_file(name) for rule in rules)} & set(ids))

    return pd.Series([is_theirs(name) for name in names], index=names.index, dtype=bool)


def forget(project: Project, patient: Patient) -> dict[str, int]:
    """Remove scores, cached copies, decoded pixels and images; then answers, rejections and the catalog's rows.

    What stays: the files in the folders that were ingested; the weights of runs that learned from the images; and, in
    a run's `images.csv` and `model.json`, the hashes of image files. Of the pixels that the account decoded, the
    patient's go. Of those in the cache all go, because they lie in one file; they are made again when they are needed.
    Temporary copies of processes that were killed go too; a process that is still running removes its own.

    Returns:
        Counts of what was removed: `images`, `answers`, `scores` (of runs), `rejections`, `cached_files`.
    """
    session, ids = project.session, set(patient.images["IMAGE_ID"])
    counts = {"scores": _forget_scores(project, ids), "cached_files": _forget_cache(ids)}
    for place in sorted(set().union(*map(possible_places, patient.images["RELATIVE_PATH"]))):
        session.sql(f"REMOVE {project.images_stage}/{place}").collect()
    if ids:
        sources.refresh(session, project.qualified(project.settings.images_stage))
    with (
        temporary(session, "SOURCE STRING, SOURCE_NAME STRING", patient.rejected) as refused,
        temporary(session, "IMAGE_ID STRING", pd.DataFrame({"IMAGE_ID": sorted(ids)})) as gone,
        transaction(session),
    ):
        among = f"IN (SELECT IMAGE_ID FROM {gone})"
        counts["answers"] = _changed(project, f"DELETE FROM {project.predictions} WHERE IMAGE_ID {among}")
        session.sql(f"DELETE FROM {project.pixels} WHERE IMAGE_ID {among}").collect()
        alike = f"UPDATE {project.catalog} SET NEAR_DUPLICATE_OF = NULL WHERE NEAR_DUPLICATE_OF {among}"
        session.sql(alike).collect()
        files = f"(SOURCE, SOURCE_NAME) IN (SELECT SOURCE, SOURCE_NAME FROM {refused})"
        counts["rejections"] = _changed(project, f"DELETE FROM {project.rejected} WHERE {files}")
        counts["images"] = _changed(project, f"DELETE FROM {project.catalog} WHERE IMAGE_ID {among}")
    return {name: counts[name] for name in ("images", "answers", "scores", "rejections", "cached_files")}


def _changed(project: Project, statement: str) -> int:
    """The number of rows that a statement changed."""
    return int(project.session.sql(statement).collect()[0][0])


def _forget_scores(project: Project, ids: set[str]) -> int:
    """Rows of the runs' scores, on the stage and in copies of the runs on this machine."""
    count = 0
    for run_id, files in runs.list_files(project).items():
        if runs.SCORES not in files or not ids:
            continue
        scores = read_staged(project, run_id, runs.SCORES)
        kept = scores[~scores["IMAGE_ID"].isin(ids)]
        if len(kept) < len(scores):
            count += len(scores) - len(kept)
            with tempfile.TemporaryDirectory(prefix="cxr-run-") as folder:
                kept.to_csv(Path(folder, runs.SCORES), index=False)
                target = f"{project.artifacts_stage}/runs/{run_id}"
                project.session.file.put(f"{folder}/{runs.SCORES}", target, auto_compress=False, overwrite=True)
    for copy in cache_directory().glob(f"runs/*/{runs.SCORES}"):
        scores = pd.read_csv(copy, dtype={"IMAGE_ID": str})
        if scores["IMAGE_ID"].isin(ids).any():
            with write_atomically(copy) as file:
                file.write(scores[~scores["IMAGE_ID"].isin(ids)].to_csv(index=False).encode())
    return count


def _forget_cache(ids: set[str]) -> int:
    """Copies of the files, whole or half-written, everything that was decoded, and what killed processes left."""
    folder, count = cache_directory(), 0
    copies = [path for path in folder.glob("files/*") if set(_HASH.findall(path.name)) & ids]
    decoded = [path for name in ("decoded-*", ".decoded-*") for path in folder.glob(name)] if ids else []
    for path in (*copies, *decoded):
        path.unlink(missing_ok=True)
        count += 1
    return count + (remove_abandoned_folders() if ids else 0)


_HASH = re.compile("[0-9a-f]{64}")

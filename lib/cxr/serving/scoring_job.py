"""Score cataloged images that a version has not scored: all of them each day, or those of one folder."""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from snowflake.ml.model import ModelVersion

from cxr.account import migrate
from cxr.account.project import Project
from cxr.account.tables import run_long, temporary
from cxr.atomic_files import write_atomically
from cxr.data.catalog import usable
from cxr.data.checking import Found
from cxr.data.in_account import functions
from cxr.data.ingest import ingest
from cxr.data.survey import survey
from cxr.serving import bad_files, scoring
from cxr.serving.bad_files import BadFile
from cxr.serving.predictions import merge_answers

RESULTS = [
    "STUDY_ID", "STUDY_IMAGES", "STUDY_HIGHEST", "FILE", "P_POSITIVE", "LABEL", "STATUS", "TRIAGE", "PROBABILITIES",
    "MODEL_VERSION", "IMAGE_ID",
]  # fmt: skip
log = logging.getLogger("cxr.jobs")


@dataclass(frozen=True)
class FolderScores:
    """The scores of a folder: `results` has a row for each file, `counts` are those of :func:`ingest`.

    `problem` says what to do about cataloged files that could not be scored; empty if there are none.
    """

    results: pd.DataFrame
    counts: dict[str, int]
    problem: str = ""

    @property
    def answered(self) -> int:
        return int((self.results["STATUS"] == "ok").sum())

    def write(self, path: Path) -> None:
        """As CSV in UTF-8, readable by its owner alone. No cell can be taken for a formula by a spreadsheet."""
        path.parent.mkdir(parents=True, exist_ok=True)
        table = self.results.copy()
        for column in ("FILE", "STATUS", "LABEL"):
            table[column] = [_no_formula(text) for text in table[column]]
        with write_atomically(path) as file:
            file.write(table.to_csv(index=False).encode())


def _no_formula(text: object) -> object:
    return f"'{text}" if isinstance(text, str) and text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def score_folder(
    project: Project, data: str | Path, version: ModelVersion, warn: Callable[[str], None] = log.warning
) -> FolderScores:
    """Catalog a folder, zip or `@stage/path` whatever its folders are called, and score each image.

    Folders that are classes of the catalog are labels, as in any ingest. All others are just folders: their images get
    no label and no split. Answers go to PREDICTIONS.

    Args:
        warn: is given each of the survey's warnings, before anything is changed.

    Raises:
        FileNotFoundError: there is no such source, or it holds no image.
        ValueError: its table or the patients' key cannot be used; or it holds phantoms, and the catalog patients.
    """
    migrate.upgrade(project)
    source = survey(project, data, any_folders=True)
    if source.phantoms and source.retires:
        raise ValueError(
            "These are phantoms, and no catalog holds them beside patients' images: use another schema (CXR_SCHEMA)"
        )
    for line in source.warnings():
        warn(line)
    found: list[Found] = []
    counts = ingest(project, source, on_found=found.extend)
    ids = sorted({file.image_id for file in found if file.image_id})
    with temporary(project.session, "IMAGE_ID STRING", pd.DataFrame({"IMAGE_ID": ids})) as asked:
        _, bad = _score(project, version, among=asked)
        rows = _read_answers(project, version, asked, bad)
    rejected = project.session.sql(
        f"SELECT SOURCE_NAME, REASON || ': ' || COALESCE(DETAIL, '') FROM {project.rejected} WHERE SOURCE = ?",
        params=[source.source.name],
    ).collect()
    results = [_result(file, rows, dict(map(tuple, rejected))) for file in found]
    results += [{"FILE": name, "STATUS": "document: a table or text, not looked at"} for name in source.documents]
    results += [{"FILE": name, "STATUS": "unreadable: the folder may not be read"} for name in source.source.unlisted]
    table = pd.DataFrame(results, columns=RESULTS)
    problem = bad_files.explain(project, bad) if bad else ""
    return FolderScores(_by_study(table.assign(MODEL_VERSION=version.version_name)), counts, problem)


def _read_answers(project: Project, version: ModelVersion, asked: str, bad: list[BadFile]) -> dict[str, dict]:
    """Image id -> study, why it is set aside, and the version's newest answer, where there are any.

    The STATUS of a bad file says what is wrong with it.
    """
    reasons = {file.place: bad_files.in_words(file) for file in bad}
    rows = project.session.sql(
        f"""SELECT C.IMAGE_ID, C.RELATIVE_PATH, C.STUDY_ID, C.SET_ASIDE, P.P_POSITIVE, P.LABEL, P.STATUS,
            P.PROBABILITIES, P.TRIAGE
        FROM {project.catalog} C JOIN {asked} A ON A.IMAGE_ID = C.IMAGE_ID
        LEFT JOIN {project.predictions} P ON P.IMAGE_ID = C.IMAGE_ID AND P.MODEL_NAME = ? AND P.MODEL_VERSION = ?
        ORDER BY P.SCORED_AT""",
        params=[project.settings.model_name, version.version_name],
    ).collect()
    return {
        row["IMAGE_ID"]: row.as_dict() | {"STATUS": reasons.get(row["RELATIVE_PATH"], row["STATUS"])} for row in rows
    }


def _result(file: Found, rows: dict[str, dict], rejected: dict[str, str]) -> dict:
    """An answer, else the reason: of two files with the same bytes, both have the answer."""
    row = rows.get(file.image_id or "", {})
    name = file.source_name.encode(errors="backslashreplace").decode()
    status = row.get("STATUS")
    if not status and row.get("SET_ASIDE"):
        status = f"{row['SET_ASIDE']}: set aside; --include-set-aside true scores it"
    status = status or rejected.get(name) or "not_scored: the image left its source while it was scored"
    return {**row, "IMAGE_ID": file.image_id, "FILE": name, "STATUS": status}


def _by_study(table: pd.DataFrame) -> pd.DataFrame:
    """Studies first, then files whose header tells none; the highest probability of a study's images beside each."""
    table["P_POSITIVE"] = table["P_POSITIVE"].astype(float)
    images = table.drop_duplicates("IMAGE_ID").groupby("STUDY_ID")["P_POSITIVE"]
    table["STUDY_IMAGES"] = table["STUDY_ID"].map(images.size())
    table["STUDY_IMAGES"] = table["STUDY_IMAGES"].astype("Int64")
    table["STUDY_HIGHEST"] = table["STUDY_ID"].map(images.max())
    return table.sort_values(["STUDY_ID", "FILE"], na_position="last", ignore_index=True)


# ---------------------------------------------------------------- by statements: no file comes to the client


def score_new_images(project: Project, version: ModelVersion) -> int:
    """Score every cataloged image that the version has not scored, and store the answers in PREDICTIONS.

    The account does the work: the warehouse for few images, an inference job if there are `scoring_job_from` or more,
    and always for images that are too large for SQL. No image and no list of ids comes to the client. It can be ended
    at any time and started again: one statement writes the answers of the warehouse or of the job, all or none.

    Returns:
        The number of images that were scored.

    Raises:
        ValueError: files are lost, have other content than their names say, or could not be read; all others are
            scored. Before a job the warehouse reads and hashes every file, because one that is lost would fail the job.
    """
    scored, bad = _score(project, version)
    if bad:
        raise ValueError(bad_files.explain(project, bad))
    return scored


def _score(project: Project, version: ModelVersion, among: str | None = None) -> tuple[int, list[BadFile]]:
    """As :func:`score_new_images`, with the files that could not be scored.

    Args:
        among: a table with the column IMAGE_ID: no others.
    """
    new = _new_images(project, version, among)
    is_large = f"BYTES > {scoring.LARGEST_IN_SQL}"
    count, large = project.session.sql(f"SELECT COUNT(*), COUNT(IFF({is_large}, 1, NULL)) FROM ({new})").collect()[0]
    log.info("%d images are new to version %s", count, version.version_name)
    if count >= project.settings.scoring_job_from:
        parts = [("BATCH", count, new)]
    else:
        parts = [
            ("WAREHOUSE", count - large, f"SELECT * FROM ({new}) WHERE NOT {is_large}"),
            ("BATCH", large, f"SELECT * FROM ({new}) WHERE {is_large}"),
        ]
    scored, bad = 0, []
    for path, images, chosen in parts:
        if images:
            log.info("%s: %d images", path, images)
            ask = _ask_in_a_job if path == "BATCH" else _ask_the_warehouse
            with temporary(project.session, "IMAGE_ID STRING, ANSWER VARIANT, REASON STRING") as answers:
                bad += ask(project, version, chosen, answers)
                scored += merge_answers(project, answers, version.version_name, path)
    return scored, bad


def _take_bad_files(project: Project, answers: str) -> list[BadFile]:
    """Remove the rows of files that the function could not give to the model, and look at these files once more."""
    is_bad = "STARTSWITH(ANSWER:STATUS::STRING, 'not_base64')"
    if not project.session.sql(f"SELECT 1 FROM {answers} WHERE {is_bad} LIMIT 1").collect():
        return []
    chosen = f"""SELECT C.IMAGE_ID, C.RELATIVE_PATH FROM {project.catalog} C
        JOIN {answers} A ON A.IMAGE_ID = C.IMAGE_ID WHERE {is_bad}"""
    bad = [
        BadFile(row["RELATIVE_PATH"], row["REASON"] or "unreadable: it could be read a moment later")
        for row in project.session.sql(f"{bad_files.checked(project, chosen)} ORDER BY RELATIVE_PATH").collect()
    ]
    project.session.sql(f"DELETE FROM {answers} WHERE {is_bad}").collect()
    return bad


def _new_images(project: Project, version: ModelVersion, among: str | None) -> str:
    """The query for IMAGE_ID, RELATIVE_PATH and BYTES. Its words are identifiers, so they are safe in SQL.

    Images that only a job can score are still new if another path said that they are too large.
    """
    chosen = f"AND C.IMAGE_ID IN (SELECT IMAGE_ID FROM {among})" if among else ""
    return f"""SELECT C.IMAGE_ID, C.RELATIVE_PATH, COALESCE(C.BYTES, 0) AS BYTES FROM {project.catalog} C
        WHERE C.VANISHED_AT IS NULL AND {usable(project)} {chosen} AND NOT EXISTS (
            SELECT * FROM {project.predictions} P
            WHERE P.IMAGE_ID = C.IMAGE_ID AND P.MODEL_NAME = '{project.settings.model_name}'
                AND P.MODEL_VERSION = '{version.version_name}'
                AND NOT (STARTSWITH(P.STATUS, 'too_large') AND P.PATH_TAKEN <> 'BATCH'))"""


def _ask_the_warehouse(project: Project, version: ModelVersion, new: str, answers: str) -> list[BadFile]:
    """A file that is lost or has other content than its name says gets the STATUS `not_base64: ...`."""
    text = functions.define(project, "text", {"image_id": "STRING"}, returns="STRING")
    image = f"{text}(BUILD_SCOPED_FILE_URL({project.images_stage}, RELATIVE_PATH), IMAGE_ID)"
    run_long(
        project.session,
        f"""INSERT INTO {answers} (IMAGE_ID, ANSWER, REASON)
        SELECT IMAGE_ID, {scoring.as_sql(version)}!PREDICT({image}), NULL
        FROM ({new})""",
    )
    return _take_bad_files(project, answers)


def _ask_in_a_job(project: Project, version: ModelVersion, new: str, answers: str) -> list[BadFile]:
    """Several replicas read the files from the stage and leave Parquet there; large files too. Bad files are left out:
    one that is lost fails the job, and a changed one would be answered under the id of what it was.
    """
    with temporary(project.session, "IMAGE_ID STRING, RELATIVE_PATH STRING, REASON STRING") as bad:
        found = bad_files.checked(project, new)
        run_long(
            project.session,
            f"INSERT INTO {bad} (IMAGE_ID, RELATIVE_PATH, REASON) SELECT * FROM ({found}) WHERE REASON IS NOT NULL",
        )
        good = f"SELECT * FROM ({new}) WHERE IMAGE_ID NOT IN (SELECT IMAGE_ID FROM {bad})"
        if project.session.sql(f"{good} LIMIT 1").collect():
            _run_job(project, version, good, answers)
        rows = project.session.sql(f"SELECT RELATIVE_PATH, REASON FROM {bad} ORDER BY 1").collect()
    return [BadFile(row["RELATIVE_PATH"], row["REASON"]) for row in rows]


def _run_job(project: Project, version: ModelVersion, images: str, answers: str) -> None:
    name = uuid.uuid4().hex
    target = f"{project.artifacts_stage}/batch/{name}/"
    # Not a temporary table: whether an inference job sees those of the session that starts it is not documented.
    asked = project.qualified(f"SCORING_{name.upper()}")
    try:
        run_long(
            project.session,
            f"""CREATE TRANSIENT TABLE {asked} AS
            SELECT IMAGE_ID, '{project.images_stage}/' || RELATIVE_PATH AS IMAGE FROM ({images})""",
        )
        run_long(
            project.session,
            f"""EXECUTE INFERENCE JOB SERVICE IN COMPUTE POOL {project.settings.service_pool}
            WITH SPECIFICATION $${scoring.batch_specification(target)}$$
            FROM (SELECT IMAGE_ID, IMAGE FROM {asked})
            MODEL = {version.fully_qualified_model_name} VERSION = {version.version_name} FUNCTION = 'predict'
            ASYNC = FALSE REPLICAS = {project.settings.scoring_replicas}""",
        )
        project.session.sql(
            f"COPY INTO {answers} (ANSWER) FROM (SELECT $1 FROM {target}) "
            "FILE_FORMAT = (TYPE = PARQUET) PATTERN = '.*[.]parquet'"
        ).collect()
    finally:
        project.session.sql(f"DROP TABLE IF EXISTS {asked}").collect()
        project.session.sql(f"REMOVE {target}").collect()

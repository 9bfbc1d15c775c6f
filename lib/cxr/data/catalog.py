"""The table of all images: reading it, splitting it by patient, and listing near duplicates."""

import pandas as pd
from snowflake.snowpark.functions import sql_expr

from cxr.account.project import Project
from cxr.account.tables import utc_now
from cxr.data import facts
from cxr.data.classes import DEFAULT
from cxr.data.sources import PHANTOMS
from cxr.model.labelset import NEGATIVE_NAMES, LabelSet


def assign_splits(project: Project) -> None:
    """Give every patient without a split one. A patient who has a split keeps it, also for new images.

    Only images with a label count, and none that is set aside. Of phantoms and patients only the present kind counts,
    although their ids may be alike: the kind that has left would fill the splits of the other. A patient counts for the
    rarest of their positive classes. Within each class, patients are ordered by a hash of their id and the seed. The
    first patients without a split fill up test, then validation, so every split has its share of every class, to the
    patient. If a class has three patients, every split gets one of them.
    """
    settings = project.settings
    shares = dict(test=settings.test_share, validation=settings.validation_share)
    phantoms = holds_phantoms(project)
    if phantoms:
        shares = dict(test=settings.phantom_test_share, validation=settings.phantom_validation_share)
    negative = (label_set(project) or DEFAULT).negative
    present = {"kind": facts.of_kind(phantoms), "usable": usable(project)}
    text = _ASSIGN.format(catalog=project.catalog, seed=settings.seed, **present, **shares)
    # By the clock that writes SCORED_AT, with which SPLIT_AT is compared.
    project.session.sql(text, params=[negative, str(utc_now())]).collect()


def usable(project: Project) -> str:
    """The SQL condition that leaves out lateral views and images FOR PROCESSING, unless the settings include them."""
    return "TRUE" if project.settings.include_set_aside else "SET_ASIDE IS NULL"


_ASSIGN = """
MERGE INTO {catalog} C USING (
    WITH SHOWN AS (
        SELECT PATIENT_ID, LABEL, MAX(IFF(LABEL = ?, 1, 0)) AS NEGATIVE
        FROM {catalog} WHERE LABEL IS NOT NULL AND {usable} AND {kind} GROUP BY PATIENT_ID, LABEL
    ), COUNTED AS (
        SELECT *, COUNT(*) OVER (PARTITION BY LABEL) AS PATIENTS FROM SHOWN
    ), RANKED AS (
        SELECT PATIENT_ID, LABEL,
            ROW_NUMBER() OVER (PARTITION BY PATIENT_ID ORDER BY NEGATIVE, PATIENTS, LABEL) AS PLACE
        FROM COUNTED
    ), HAVE AS (
        SELECT PATIENT_ID, MAX(SPLIT) AS SPLIT FROM {catalog} WHERE {kind} GROUP BY PATIENT_ID
    ), PATIENTS AS (
        SELECT R.PATIENT_ID, R.LABEL, H.SPLIT, SHA2('{seed}:' || R.PATIENT_ID, 256) AS POSITION
        FROM RANKED R JOIN HAVE H ON H.PATIENT_ID = R.PATIENT_ID WHERE R.PLACE = 1
    ), WANTED AS (
        SELECT LABEL,
            GREATEST(ROUND(COUNT(*) * {test}), IFF(COUNT(*) >= 2, 1, 0)) - COUNT_IF(SPLIT = 'test') AS TEST,
            GREATEST(ROUND(COUNT(*) * {validation}), IFF(COUNT(*) >= 3, 1, 0)) - COUNT_IF(SPLIT = 'validation') AS VALID
        FROM PATIENTS GROUP BY LABEL
    ), FRESH AS (
        SELECT PATIENT_ID, ROW_NUMBER() OVER (PARTITION BY LABEL ORDER BY POSITION) AS PLACE
        FROM PATIENTS WHERE SPLIT IS NULL
    )
    SELECT P.PATIENT_ID, COALESCE(P.SPLIT, CASE WHEN F.PLACE <= W.TEST THEN 'test'
        WHEN F.PLACE <= GREATEST(W.TEST, 0) + GREATEST(W.VALID, 0) THEN 'validation' ELSE 'train' END) AS SPLIT
    FROM PATIENTS P JOIN WANTED W ON W.LABEL = P.LABEL LEFT JOIN FRESH F ON F.PATIENT_ID = P.PATIENT_ID
) S ON C.PATIENT_ID = S.PATIENT_ID AND C.SPLIT IS NULL AND C.LABEL IS NOT NULL AND {usable} AND {kind}
WHEN MATCHED THEN UPDATE SET SPLIT = S.SPLIT, SPLIT_SEED = {seed}, SPLIT_AT = ?::TIMESTAMP_NTZ"""


def label_set(project: Project) -> LabelSet | None:
    """The classes of the images that are still in their source; None for a catalog without labels."""
    for phantoms in (False, True):
        if found := facts.read(project, phantoms).label_set:
            return found
    return None


def holds_phantoms(project: Project) -> bool:
    """Whether the images that are still in their source are phantoms; they are never mixed with others."""
    live = f"SELECT 1 FROM {project.catalog} WHERE VANISHED_AT IS NULL AND STARTSWITH(SOURCE, '{PHANTOMS}') LIMIT 1"
    return bool(project.session.sql(live).collect())


def near_duplicates(project: Project) -> pd.DataFrame:
    """The flagged pairs, each image beside what it resembles: names, patients and splits."""
    table = project.catalog
    return project.session.sql(f"""
        SELECT A.SOURCE_NAME, A.PATIENT_ID, A.SPLIT, B.SOURCE_NAME AS LIKE_NAME, B.PATIENT_ID AS LIKE_PATIENT,
            B.SPLIT AS LIKE_SPLIT
        FROM {table} A JOIN {table} B ON A.NEAR_DUPLICATE_OF = B.IMAGE_ID
        WHERE A.VANISHED_AT IS NULL AND B.VANISHED_AT IS NULL ORDER BY A.SOURCE_NAME""").to_pandas()


def in_split(project: Project) -> str:
    """The SQL condition for the images to train and to measure on."""
    # An ingest that was cut off leaves labels without a split; the next one gives them theirs.
    return f"SPLIT IS NOT NULL AND LABEL IS NOT NULL AND VANISHED_AT IS NULL AND {usable(project)}"


# What training, measuring and figures read of an image. The other columns would take much memory for a large catalog.
READ = ("IMAGE_ID", "RELATIVE_PATH", "SOURCE", "SOURCE_NAME", "LABEL", "CAUSE", "PATIENT_ID", "PATIENT_FROM", "SPLIT",
        "FORMAT", "BYTES", "WIDTH", "HEIGHT", "VIEW_POSITION", "SEX", "AGE_BAND")  # fmt: skip


def read_catalog(project: Project) -> pd.DataFrame:
    """The images to train and to measure on: labelled, in a split, still in their source, not set aside; by image id,
    so that what follows is reproducible. The columns are :data:`READ`.

    Raises:
        LookupError: there are none; the message says what to do.
    """
    chosen = sql_expr(in_split(project))
    rows = project.session.table(project.catalog).filter(chosen).select(*READ).sort("IMAGE_ID").to_pandas()
    if rows.empty:
        raise LookupError(_why_empty(project))
    return rows


def _why_empty(project: Project) -> str:
    """Numbers alone: folders may have the names of patients, and an account keeps what a failed run says."""
    table = project.settings.catalog_table
    images, folders = project.session.sql(f"""
        SELECT COUNT(*), COUNT(DISTINCT SOURCE || '/' || REGEXP_REPLACE(SOURCE_NAME, '[^/]*$', ''))
        FROM {project.catalog} WHERE LABEL IS NULL AND VANISHED_AT IS NULL""").collect()[0]
    if not images:
        return f"{table} is empty: run notebooks/02_data_ingest.ipynb first"
    return (
        f"{table} has no image to learn from: {images:,} images in {folders:,} folders have no label. Notebook 02 "
        "shows the folders (cell find_images). Classes are the folders beside one called "
        f"{', '.join(NEGATIVE_NAMES)}: name yours with negative_label, or give labels in a table (data_csv), and run "
        "notebooks/02_data_ingest.ipynb"
    )

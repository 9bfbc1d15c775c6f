"""The table of all images: reading it, splitting it by patient, and flagging near duplicates."""

import numpy as np
import pandas as pd
from snowflake.snowpark.functions import col

from cxr.account.project import Project
from cxr.account.tables import temporary
from cxr.data import duplicates

_SLICE = 5000  # rows of the catalog that are fetched at a time


def assign_splits(project: Project) -> None:
    """Give every patient without a split one; whoever has one keeps it.

    Within each label, patients stand in the order of a hash of their id and the seed. The first of those without a
    split fill what test and then validation lack of their shares, so every split has its share of every label, to the
    patient. A patient with any image of pneumonia counts as one. Each split gets a patient of a label that has three.
    """
    numbers = dict(
        seed=project.settings.seed, test=project.settings.test_share, validation=project.settings.validation_share
    )
    project.session.sql(_ASSIGN.format(catalog=project.catalog, **numbers)).collect()


_ASSIGN = """
MERGE INTO {catalog} C USING (
    WITH PATIENTS AS (
        SELECT PATIENT_ID, MAX(LABEL) AS LABEL, MAX(SPLIT) AS SPLIT, SHA2('{seed}:' || PATIENT_ID, 256) AS POSITION
        FROM {catalog} GROUP BY PATIENT_ID
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
) S ON C.PATIENT_ID = S.PATIENT_ID AND C.SPLIT IS NULL
WHEN MATCHED THEN UPDATE SET SPLIT = S.SPLIT, SPLIT_SEED = {seed}"""


def flag_near_duplicates(project: Project) -> None:
    """Write beside each image that has a near duplicate with a smaller id the smallest of those ids."""
    table = project.catalog
    # 64 bytes an image, so that this too fits the memory for millions.
    ids, prints = bytearray(), bytearray()
    rows, last = project.session.table(table).select("IMAGE_ID", "PERCEPTUAL_HASH"), ""
    while part := rows.filter(col("IMAGE_ID") > last).sort("IMAGE_ID").limit(_SLICE).collect():
        ids += b"".join(bytes.fromhex(row[0]) for row in part)
        prints += b"".join(bytes.fromhex(row[1]) for row in part)
        last = part[-1][0]
    prints = np.frombuffer(prints, np.uint8).reshape(-1, duplicates.BITS // 8)
    pairs = pd.DataFrame(duplicates.near_pairs(prints), columns=["OF", "IMAGE"]).groupby("IMAGE")["OF"].min()
    if pairs.empty:
        return
    names = {"IMAGE_ID": pairs.index, "NEAR_DUPLICATE_OF": pairs}
    flags = pd.DataFrame({name: [ids[32 * i : 32 * i + 32].hex() for i in places] for name, places in names.items()})
    with temporary(project.session, "IMAGE_ID STRING, NEAR_DUPLICATE_OF STRING", flags) as flagged:
        project.session.sql(
            f"MERGE INTO {table} C USING {flagged} F ON C.IMAGE_ID = F.IMAGE_ID "
            "WHEN MATCHED THEN UPDATE SET NEAR_DUPLICATE_OF = F.NEAR_DUPLICATE_OF"
        ).collect()


def near_duplicates(project: Project) -> pd.DataFrame:
    """The flagged pairs, each image beside what it resembles: names, patients and splits."""
    table = project.catalog
    return project.session.sql(f"""
        SELECT A.SOURCE_NAME, A.PATIENT_ID, A.SPLIT, B.SOURCE_NAME AS LIKE_NAME, B.PATIENT_ID AS LIKE_PATIENT,
            B.SPLIT AS LIKE_SPLIT
        FROM {table} A JOIN {table} B ON A.NEAR_DUPLICATE_OF = B.IMAGE_ID
        WHERE A.VANISHED_AT IS NULL AND B.VANISHED_AT IS NULL ORDER BY A.SOURCE_NAME""").to_pandas()


def read_catalog(project: Project) -> pd.DataFrame:
    """The catalog's images that are still in their source, by image id, so that what follows is reproducible.

    Raises:
        LookupError: there are none; says which notebook to run.
    """
    rows = project.session.table(project.catalog)
    # An ingest that was cut off leaves images without a split; the next one gives them theirs.
    rows = rows.filter(col("SPLIT").is_not_null() & col("VANISHED_AT").is_null()).sort("IMAGE_ID").to_pandas()
    if rows.empty:
        raise LookupError(f"{project.settings.catalog_table} is empty: run notebooks/02_data_ingest.ipynb first")
    return rows

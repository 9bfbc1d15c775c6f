"""Write predictions to the table PREDICTIONS."""

import hashlib
from collections.abc import Sequence

import pandas as pd

from cxr import earlier_versions
from cxr.account.project import Project
from cxr.account.tables import merge, utc_now
from cxr.serving.rest_client import ANSWER


def write_predictions(
    project: Project,
    image_ids: Sequence[str],
    answers: pd.DataFrame,
    version: str,
    path: str,
    request: str = "",
    cataloged: bool = False,
) -> None:
    """Write predictions to the predictions table. Writing the same ones again, after a failure, adds no rows.

    Two predictions are the same if image, model, version, path and request are equal.

    Args:
        image_ids: [N].
        answers: [N] rows with P_POSITIVE, LABEL, STATUS, PROBABILITIES and TRIAGE, in the order of `image_ids`.
        version: name of the model version.
        path: how the model was called: WAREHOUSE, SERVICE, REST or BATCH.
        request: an id, to keep several predictions of one image that are equal in all else.
        cataloged: the images are of the catalog: drop answers about those that have left it (see
            :func:`merge_answers`).
    """
    model = project.settings.model_name
    keys = [image_id + _mark(project, version, path, request) for image_id in image_ids]
    rows = answers.reindex(columns=ANSWER).assign(
        SCORING_ID=[hashlib.sha256(key.encode()).hexdigest() for key in keys],
        IMAGE_ID=list(image_ids),
        MODEL_NAME=model,
        MODEL_VERSION=version,
        PATH_TAKEN=path,
        SCORED_AT=utc_now(),
    )
    rows = rows.drop_duplicates("SCORING_ID")
    known = ("IMAGE_ID", project.catalog) if cataloged else None
    merge(project.session, project.predictions, rows, keys=["SCORING_ID"], update=False, known=known)


def merge_answers(project: Project, answers: str, version: str, path: str) -> int:
    """Write the answers of a table to the predictions table, as :func:`write_predictions` does. Returns their number.

    Answers about images that have left the catalog since they were asked about are dropped: `ci forget` finds a
    patient's answers by the catalog alone.

    Args:
        answers: a table with IMAGE_ID, ANSWER (a VARIANT as the model gives it; it may hold the IMAGE_ID), and REASON,
            the STATUS of an image that the model was not asked about.
    """
    columns = {"STATUS": "COALESCE(REASON, ANSWER:STATUS::STRING)", **earlier_versions.ANSWER_IN_SQL}
    given = dict(MODEL_NAME="?", MODEL_VERSION="?", PATH_TAKEN="?", SCORED_AT="?::TIMESTAMP_NTZ")
    written = ["SCORING_ID", "IMAGE_ID", *columns, *given]
    done = project.session.sql(
        f"""MERGE INTO {project.predictions} P USING (
            SELECT SHA2(COALESCE(IMAGE_ID, ANSWER:IMAGE_ID::STRING) || ?, 256) AS SCORING_ID,
                COALESCE(IMAGE_ID, ANSWER:IMAGE_ID::STRING) AS IMAGE_ID,
                {", ".join(f"{expression} AS {name}" for name, expression in (columns | given).items())}
            FROM {answers}
            WHERE COALESCE(IMAGE_ID, ANSWER:IMAGE_ID::STRING) IN (SELECT IMAGE_ID FROM {project.catalog})
        ) A ON P.SCORING_ID = A.SCORING_ID
        WHEN NOT MATCHED THEN INSERT ({", ".join(written)}) VALUES ({", ".join(f"A.{name}" for name in written)})""",
        params=[_mark(project, version, path), project.settings.model_name, version, path, str(utc_now())],
    ).collect()
    return int(done[0][0])


def _mark(project: Project, version: str, path: str, request: str = "") -> str:
    """What follows the image's id in the text whose hash is the SCORING_ID."""
    return "\n".join(("", project.settings.model_name, version, path, request))

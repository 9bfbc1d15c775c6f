"""Write predictions to the table PREDICTIONS."""

import hashlib
from collections.abc import Sequence

import pandas as pd

from cxr.account.project import Project
from cxr.account.tables import merge
from cxr.serving.rest_client import ANSWER


def write_predictions(
    project: Project,
    image_ids: Sequence[str],
    answers: pd.DataFrame,
    version: str,
    path: str,
    request: str = "",
) -> None:
    """Write predictions to the predictions table. Writing the same ones again, after a failure, adds no rows.

    Two predictions are the same if image, model, version, path and request are equal.

    Args:
        image_ids: [N].
        answers: [N] rows with P_POSITIVE, LABEL, STATUS, PROBABILITIES and TRIAGE, in the order of `image_ids`.
        version: name of the model version.
        path: how the model was called: WAREHOUSE, SERVICE, REST or BATCH.
        request: an id, to keep several predictions of one image that are equal in all else.
    """
    model = project.settings.model_name
    keys = ["\n".join((image_id, model, version, path, request)) for image_id in image_ids]
    rows = answers.reindex(columns=ANSWER).assign(
        SCORING_ID=[hashlib.sha256(key.encode()).hexdigest() for key in keys],
        IMAGE_ID=list(image_ids),
        MODEL_NAME=model,
        MODEL_VERSION=version,
        PATH_TAKEN=path,
        SCORED_AT=pd.Timestamp.now("UTC").tz_localize(None),
    )
    rows = rows.drop_duplicates("SCORING_ID")
    merge(project.session, project.predictions, rows, keys=["SCORING_ID"], update=False)

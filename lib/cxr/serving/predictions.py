"""The table of all answers that the model gave."""

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
    """Keep answers in the predictions table. Written again, after a failure or by a second run, they stand once.

    Args:
        answers: P_POSITIVE, LABEL, STATUS and PROBABILITIES of the images, in their order.
        version: the model version's name.
        path: how the model was asked: WAREHOUSE, SERVICE, REST or BATCH.
        request: what tells two scorings of one image apart where both are to be kept, such as a viewer's question.
    """
    model = project.settings.model_name
    keys = ["\n".join((image_id, model, version, path, request)) for image_id in image_ids]
    rows = answers[ANSWER].assign(
        SCORING_ID=[hashlib.sha256(key.encode()).hexdigest() for key in keys],
        IMAGE_ID=list(image_ids),
        MODEL_NAME=model,
        MODEL_VERSION=version,
        PATH_TAKEN=path,
        SCORED_AT=pd.Timestamp.now("UTC").tz_localize(None),
    )
    rows = rows.drop_duplicates("SCORING_ID")
    merge(project.session, project.predictions, rows, keys=["SCORING_ID"], update=False)

"""Monitoring of a model in use: counts of its predictions, drift, and accuracy where the true label is known.

The views PREDICTION_COUNTS and MONITORING (sql/20_objects.sql) compute these; this module queries them. Their rows are
aggregates, not single images.
"""

import numpy as np
import pandas as pd

from cxr.account.project import Project
from cxr.account.tables import merge

BINS = 10  # of the probability; the views call such a bin TENTH
_NO_NUMBERS = ("DAY", "MODEL_NAME", "MODEL_VERSION", "PATH_TAKEN", "STATUS", "LABEL", "TRUTH", "POSITIVE",
               "TRULY_POSITIVE", "TRIAGE", "IN_TRAINING", "COUNTED")  # fmt: skip
SMALL, LARGE = 0.10, 0.25  # usual limits of the population stability index
FEWEST = 100  # images; on a day with fewer, the index may be large by chance


def counts(project: Project, days: int) -> pd.DataFrame:
    """Predictions of the last `days`: IMAGES by DAY, MODEL_VERSION, PATH_TAKEN, STATUS, LABEL, TRUTH, TENTH and TRIAGE.

    POSITIVE and TRULY_POSITIVE: whether LABEL and TRUTH are another class than the version's negative one.
    IN_TRAINING: whether the images were in the split train or validation when they were scored; TRUTH is null for them.
    COUNTED: one answer of each image, day and version; :func:`daily` leaves out those of further paths.
    """
    return _recent(project, project.settings.counts_view, days)


def daily(project: Project, days: int) -> pd.DataFrame:
    """One row for each of the last `days` and each version, with the columns of the view MONITORING.

    Among them: IMAGES, SHARE_REFUSED, SHARE_UNLIKE, SHARE_UNCERTAIN, SHARE_POSITIVE, STABILITY_INDEX, and, where the
    truth is known, ACCURACY of the images that got a label; UNLIKE_WITH_TRUTH counts the others. Neither counts images
    of training.
    """
    return _recent(project, project.settings.monitoring_view, days)


def _recent(project: Project, view: str, days: int) -> pd.DataFrame:
    rows = project.session.sql(
        f"SELECT * FROM {project.qualified(view)} "
        "WHERE MODEL_NAME = ? AND DAY >= DATEADD(day, ?, TO_DATE(SYSDATE())) ORDER BY DAY, MODEL_VERSION",
        params=[project.settings.model_name, -days],
    ).to_pandas()
    numbers = [name for name in rows if rows[name].dtype == object and name not in _NO_NUMBERS]
    return rows.astype(dict.fromkeys(numbers, float)).assign(DAY=pd.to_datetime(rows["DAY"]))


def histogram(probabilities: np.ndarray) -> np.ndarray:
    """The number of probabilities in each of 10 equally wide bins, int [10], binned as in the views."""
    bins = np.minimum(np.floor(np.asarray(probabilities, dtype=float) * BINS), BINS - 1).astype(int)
    return np.bincount(bins, minlength=BINS)


def write_baseline(project: Project, version: str, probabilities: np.ndarray, negative_label: str) -> None:
    """Store a version's negative class and its histogram on validation images, the baseline for drift.

    Args:
        version: name of the model version.
        probabilities: [N], of being positive.
    """
    rows = pd.DataFrame({"TENTH": range(BINS), "IMAGES": histogram(probabilities)})
    rows = rows.assign(MODEL_NAME=project.settings.model_name, MODEL_VERSION=version, NEGATIVE_LABEL=negative_label)
    merge(project.session, project.validation_baseline, rows, keys=["MODEL_NAME", "MODEL_VERSION", "TENTH"])

"""What becomes of a model in use: counts of its answers, drift, and how often it was right once the truth is known.

The views PREDICTION_COUNTS and MONITORING (sql/20_objects.sql) compute; this module asks them. No row is one image's.
"""

import numpy as np
import pandas as pd

from cxr.account.project import Project
from cxr.account.tables import merge

BINS = 10  # the views' tenths of probability
SMALL, LARGE = 0.10, 0.25  # the usual reading of the population stability index


def counts(project: Project, days: int) -> pd.DataFrame:
    """How many answers of the last `days`: IMAGES by DAY, MODEL_VERSION, PATH_TAKEN, STATUS, LABEL, TRUTH and TENTH.

    POSITIVE and TRULY_POSITIVE say whether LABEL and TRUTH are not the version's negative class.
    """
    return _recent(project, project.settings.counts_view, days)


def daily(project: Project, days: int) -> pd.DataFrame:
    """A row a day and version: IMAGES, SHARE_REFUSED, SHARE_POSITIVE, STABILITY_INDEX, and ACCURACY where known."""
    return _recent(project, project.settings.monitoring_view, days)


def _recent(project: Project, view: str, days: int) -> pd.DataFrame:
    rows = project.session.sql(
        f"SELECT * FROM {project.qualified(view)} "
        "WHERE MODEL_NAME = ? AND DAY >= DATEADD(day, ?, CURRENT_DATE()) ORDER BY DAY, MODEL_VERSION",
        params=[project.settings.model_name, -days],
    ).to_pandas()
    numbers = [name for name in rows if rows[name].dtype == object and not _is_text(name)]
    return rows.astype(dict.fromkeys(numbers, float)).assign(DAY=pd.to_datetime(rows["DAY"]))


def _is_text(name: str) -> bool:
    return name in (
        "DAY",
        "MODEL_NAME",
        "MODEL_VERSION",
        "PATH_TAKEN",
        "STATUS",
        "LABEL",
        "TRUTH",
        "POSITIVE",
        "TRULY_POSITIVE",
    )


def histogram(probabilities: np.ndarray) -> np.ndarray:
    """How many of them lie in each tenth, int [10], as the views count."""
    tenths = np.minimum(np.floor(np.asarray(probabilities, dtype=float) * BINS), BINS - 1).astype(int)
    return np.bincount(tenths, minlength=BINS)


def write_baseline(project: Project, version: str, probabilities: np.ndarray, negative_label: str) -> None:
    """Keep how a version's probabilities lie on validation images, and its negative class, for the views."""
    rows = pd.DataFrame({"TENTH": range(BINS), "IMAGES": histogram(probabilities)})
    rows = rows.assign(MODEL_NAME=project.settings.model_name, MODEL_VERSION=version, NEGATIVE_LABEL=negative_label)
    merge(project.session, project.validation_baseline, rows, keys=["MODEL_NAME", "MODEL_VERSION", "TENTH"])

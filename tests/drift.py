"""The population stability index, computed apart from the views that compute it in SQL."""

import numpy as np

from cxr.account.project import Project


def stability_index(before: np.ndarray, after: np.ndarray) -> float:
    """Of two histograms; half a count is added to each bin, so that none is empty."""
    p, q = (before + 0.5) / (before + 0.5).sum(), (after + 0.5) / (after + 0.5).sum()
    return float(((q - p) * np.log(q / p)).sum())


def read_baseline(project: Project, version: str) -> np.ndarray:
    """What `monitoring.write_baseline` wrote for a version, int [10]; empty where it wrote nothing."""
    rows = project.session.sql(
        f"SELECT IMAGES FROM {project.validation_baseline} WHERE MODEL_NAME = ? AND MODEL_VERSION = ? ORDER BY TENTH",
        params=[project.settings.model_name, version],
    ).collect()
    return np.array([row["IMAGES"] for row in rows])

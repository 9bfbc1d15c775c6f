"""A training run in progress: its metrics in Snowflake's experiment tracking."""

import contextlib
import inspect
from collections.abc import Callable
from pathlib import Path

from snowflake.ml.experiment import ExperimentTracking

from cxr.account.project import Project


def _if_known(method: Callable, **options: object) -> dict[str, object]:
    """Those of the options that this version of the client has."""
    known = inspect.signature(method).parameters
    return {name: value for name, value in options.items() if name in known}


# Newer clients would send source code and output along.
_CAPTURE_NOTHING = _if_known(ExperimentTracking.__init__, capture_source_info=False)
_FAILED = _if_known(ExperimentTracking.end_run, status="FAILED")


class Tracker:
    """One run of Snowflake's experiment tracking."""

    def __init__(self, project: Project, parameters: dict):
        names = dict(database_name=project.settings.database, schema_name=project.settings.schema)
        self._tracking = ExperimentTracking(project.session, **names, **_CAPTURE_NOTHING)
        self._tracking.set_experiment(project.settings.experiment_name)
        # Tracking state is global to the process, and an interrupted run may still be active.
        with contextlib.suppress(RuntimeError):  # raised if no run is active
            self._tracking.end_run(**_FAILED)
        self._tracking.start_run()
        self._finished = False
        self._tracking.log_params(parameters)

    def epoch(self, metrics: dict[str, float]) -> None:
        """Log the metrics of an epoch."""
        self._tracking.log_metrics({key: float(value) for key, value in metrics.items()}, step=int(metrics["epoch"]))

    def finish(self, name: str, evaluation: dict, files: list[Path]) -> None:
        """Log the metrics of the evaluation and the files, then end the run. A second call does nothing."""
        if self._finished:
            return
        values = {
            f"{part}_{key}": metric["value"]
            for part, measured in evaluation.items()
            for key, metric in measured["metrics"].items()
        }
        self._tracking.log_metrics({key: value for key, value in values.items() if value is not None})
        self._tracking.log_params({"run_id": name})
        for file in files:
            self._tracking.log_artifact(str(file))
        self._tracking.end_run()
        self._finished = True

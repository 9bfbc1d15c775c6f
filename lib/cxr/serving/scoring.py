"""Call the registered model from SQL or Python. Does not import torch, so that the app can use it."""

import base64
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from snowflake.ml.model import ModelVersion
from snowflake.ml.registry import Registry
from snowflake.snowpark import DataFrame, Session

from cxr.account.project import Project
from cxr.serving.rest_client import ANSWER

ROWS_PER_CALL = 64


def open_registry(project: Project) -> Registry:
    return Registry(project.session, database_name=project.settings.database, schema_name=project.settings.schema)


def find_version(registry: Registry, model_name: str, version_name: str | None = None) -> ModelVersion | None:
    """A version of the model, by default the default version; None if the model or the version does not exist."""
    models = registry.show_models()
    if models.empty or model_name.upper() not in set(models["name"]):
        return None
    model = registry.get_model(model_name)
    if version_name is None:
        return model.default
    return model.version(version_name) if version_name in set(model.show_versions()["name"]) else None


def as_sql(version: ModelVersion) -> str:
    """A version in SQL, as in `SELECT MODEL(DB.SCHEMA.MODEL, VERSION)!PREDICT(...)`."""
    return f"MODEL({version.fully_qualified_model_name}, {version.version_name})"


def read_answers(query: DataFrame) -> pd.DataFrame:
    """Run a query with the columns IMAGE_ID and ANSWER. Returns P_PNEUMONIA, LABEL and STATUS by IMAGE_ID."""
    rows = query.collect()
    answers = pd.DataFrame([json.loads(row["ANSWER"]) for row in rows], columns=ANSWER)
    return answers.set_index(pd.Index([row["IMAGE_ID"] for row in rows], name="IMAGE_ID")).sort_index()


def score(
    version: ModelVersion, files: Sequence[bytes], service: str | None = None, rows_per_call: int = ROWS_PER_CALL
) -> pd.DataFrame:
    """P_PNEUMONIA, LABEL and STATUS of each image, in the order of `files`.

    Args:
        files: the bytes of image files.
        service: name of a service; without it, a warehouse runs the model.
    """
    parts = [files[start : start + rows_per_call] for start in range(0, len(files), rows_per_call)]
    answers = [version.run(encode(part), function_name="predict", service_name=service) for part in parts]
    return pd.concat(answers, ignore_index=True)[ANSWER]


def encode(files: Sequence[bytes]) -> pd.DataFrame:
    """The model's input: a column IMAGE with the files as base64 text."""
    return pd.DataFrame({"IMAGE": [base64.b64encode(data).decode() for data in files]})


def explain(session: Session, version: ModelVersion, data: bytes, service: str | None = None) -> dict:
    """P_PNEUMONIA, LABEL, STATUS and HEATMAP (base64 of a PNG) of one image, with a single statement.

    Three times as fast as `ModelVersion.run`, which uploads a table and calls the model twice.
    """
    given = [base64.b64encode(data).decode()]
    answer = session.sql(f"SELECT {service or as_sql(version)}!EXPLAIN(?)", params=given).collect()
    return json.loads(answer[0][0])


def batch_specification(target: str) -> str:
    """The YAML specification of an inference job whose input column IMAGE has stage paths of the files.

    Args:
        target: stage folder for the results; it must be empty.
    """
    return f"""
output: {{stage_location: "{target}", mode: error}}
input: {{column_handling: {{IMAGE: {{input_format: full_stage_path, convert_to: base64}}}}}}
"""


def read_batch(project: Project, target: str) -> pd.DataFrame:
    """Read an inference job's results from `target`, then empty it: P_PNEUMONIA, LABEL and STATUS by IMAGE_ID."""
    with tempfile.TemporaryDirectory(prefix="cxr-batch-") as folder:
        # The folder also has a marker file, _SUCCESS.
        project.session.file.get(target, folder, pattern=".*[.]parquet")
        answers = pd.concat([pd.read_parquet(path) for path in Path(folder).rglob("*.parquet")])
    project.session.sql(f"REMOVE {target}").collect()
    return answers.set_index("IMAGE_ID")[ANSWER].sort_index()


@dataclass(frozen=True)
class Timed:
    """The predictions of one path, and how long they took in seconds."""

    answers: pd.DataFrame
    seconds: float


def timed(ask: Callable[[], pd.DataFrame]) -> Timed:
    """Call `ask` and measure its time."""
    start = time.perf_counter()
    answers = ask()
    return Timed(answers, time.perf_counter() - start)

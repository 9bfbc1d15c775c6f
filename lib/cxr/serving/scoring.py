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

from cxr import earlier_versions
from cxr.account.project import Project
from cxr.serving.rest_client import ANSWER

ROWS_PER_CALL = 64
# A STRING in Snowflake has at most 16 MB, and base64 adds a third. A batch job reads larger files.
LARGEST_IN_SQL = 16 * 2**20 * 3 // 4
TOO_LARGE = f"too_large: more than {LARGEST_IN_SQL / 1e6:.1f} MB; score it in a batch job"


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
    """Run a query with the columns IMAGE_ID and ANSWER. Returns the columns of `ANSWER` by IMAGE_ID."""
    rows = query.collect()
    answers = pd.DataFrame([earlier_versions.read_answer(json.loads(row["ANSWER"])) for row in rows], columns=ANSWER)
    return answers.set_index(pd.Index([row["IMAGE_ID"] for row in rows], name="IMAGE_ID")).sort_index()


def score(
    version: ModelVersion, files: Sequence[bytes], service: str | None = None, rows_per_call: int = ROWS_PER_CALL
) -> pd.DataFrame:
    """Score image files: [N] rows with the columns of `ANSWER`, in the order of `files`.

    Args:
        files: the bytes of image files. One that is too large for SQL gets a STATUS and no probability.
        service: name of a service; without it, a warehouse runs the model.
    """
    asked = [number for number, data in enumerate(files) if len(data) <= LARGEST_IN_SQL]
    answers = {number: {"STATUS": TOO_LARGE} for number in range(len(files))}
    for start in range(0, len(asked), rows_per_call):
        part = asked[start : start + rows_per_call]
        found = version.run(encode([files[number] for number in part]), function_name="predict", service_name=service)
        answers |= zip(part, earlier_versions.read_answers(found).to_dict("records"), strict=True)
    return pd.DataFrame([answers[number] for number in range(len(files))], columns=ANSWER)


def add_too_large(answers: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The answers in the order of `rows`, with a STATUS for images that SQL was not asked about: they are too large.

    Args:
        answers: by IMAGE_ID, as :func:`read_answers` gives them.
        rows: of the catalog, with IMAGE_ID and BYTES.
    """
    every = answers.reindex(pd.Index(rows["IMAGE_ID"], name="IMAGE_ID"))
    every.loc[(rows["BYTES"] > LARGEST_IN_SQL).to_numpy(), "STATUS"] = TOO_LARGE
    return every


def encode(files: Sequence[bytes]) -> pd.DataFrame:
    """The model's input: a column IMAGE with the files as base64 text."""
    return pd.DataFrame({"IMAGE": [base64.b64encode(data).decode() for data in files]})


def explain(session: Session, version: ModelVersion, data: bytes, service: str | None = None) -> dict:
    """P_POSITIVE, LABEL, STATUS, PROBABILITIES, TRIAGE and HEATMAP (base64 of a PNG) of one image, in one statement.

    Three times as fast as `ModelVersion.run`, which uploads a table and calls the model twice.
    """
    given = [base64.b64encode(data).decode()]
    answer = session.sql(f"SELECT {service or as_sql(version)}!EXPLAIN(?)", params=given).collect()
    return earlier_versions.read_answer(json.loads(answer[0][0]))


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
    """Read an inference job's results from `target`, then empty it. Returns the columns of `ANSWER` by IMAGE_ID."""
    with tempfile.TemporaryDirectory(prefix="cxr-batch-") as folder:
        # The folder also has a marker file, _SUCCESS.
        project.session.file.get(target, folder, pattern=".*[.]parquet")
        answers = pd.concat([pd.read_parquet(path) for path in Path(folder).rglob("*.parquet")])
    project.session.sql(f"REMOVE {target}").collect()
    return earlier_versions.read_answers(answers).set_index("IMAGE_ID")[ANSWER].sort_index()


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

"""The statements that each SDK call sends, held against the log in golden/: an SDK upgrade shows its drift here.

To renew the log after looking at the difference:
``RENEW_GOLDEN=1 python -m pytest tests/local_account/statements/test_golden.py``
"""

import os
import re
from pathlib import Path

import pandas as pd
import pytest
from snowflake.ml.model import custom_model, model_signature
from snowflake.ml.registry import Registry

GOLDEN = Path(__file__).parent / "golden" / "sdk_calls.log"
FRAME = pd.DataFrame({"X": ["a"]})


# Sent once in the life of a process, by whichever test comes first.
ONCE = ("SELECT SYSTEM$ML_PLATFORM_CAPABILITIES()", "SELECT PACKAGE_NAME, VERSION FROM information_schema.packages")


class Echo(custom_model.CustomModel):
    """The smallest model."""

    @custom_model.inference_api
    def predict(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"Y": X["X"]})


class Recorder:
    """Runs calls and notes, in order, what each one sends."""

    def __init__(self, session):
        self.session = session
        self.lines: list[str] = []

    def __call__(self, title, function):
        with self.session.query_history() as history:
            result = function()
        self.lines.append(f"### {title}")
        sent = [normalize(query.sql_text) for query in history.queries]
        self.lines += [line for line in sent if not line.startswith(ONCE)]
        return result


def normalize(sql: str) -> str:
    """A statement on one line, without what differs from run to run."""
    sql = re.sub(r"\s+", " ", sql).strip()
    sql = re.sub(r"(SNOWPARK_TEMP_[A-Z_]+?_|SNOWPARK_ML_MODEL_INFERENCE_INPUT_|TMP_RESULT_)[A-Z0-9]{8,}", r"\1X", sql)
    sql = re.sub(r"(SYSTEM_STATUS|SNOWPARK_ML_MODEL_INFERENCE_INPUT|TMP_RESULT)_?[A-Z0-9]{8,}", r"\1_X", sql)
    sql = re.sub(r"file:///[^']*/", "file:///X/", sql)
    return re.sub(r"runtime_version = '3\.\d+'", "runtime_version = '3.X'", sql)


@pytest.fixture(scope="module")
def recorded(session, tracking) -> str:
    record = Recorder(session)
    registry = record("Registry()", lambda: Registry(session, database_name="TEST_GOLDEN", schema_name="PUBLIC"))
    signature = model_signature.infer_signature(FRAME, pd.DataFrame({"Y": ["a"]}))
    version = record(
        "log_model",
        lambda: registry.log_model(
            Echo(custom_model.ModelContext()),
            model_name="ECHO",
            version_name="V1",
            signatures={"predict": signature},
            conda_dependencies=["pandas"],
            target_platforms=["WAREHOUSE", "SNOWPARK_CONTAINER_SERVICES"],
            options={"relax_version": True},
        ),
    )
    model = record("get_model", lambda: registry.get_model("ECHO"))
    record("model.versions", model.versions)
    record("model.default", lambda: model.default)
    record("version.set_alias", lambda: version.set_alias("PROD"))
    record("version.set_metric", lambda: version.set_metric("auroc", 0.5))
    record("version.comment", lambda: setattr(version, "comment", "c"))
    record("version.load", lambda: version.load(force=True))
    record("delete_model", lambda: registry.delete_model("ECHO"))
    record.session = tracking.session
    record("set_experiment", lambda: tracking.set_experiment("E"))
    record("start_run", lambda: tracking.start_run("R"))
    record("log_params", lambda: tracking.log_params({"lr": 0.1}))
    record("log_metric", lambda: tracking.log_metric("loss", 0.5, step=1))
    record("end_run", lambda: tracking.end_run())
    record("delete_experiment", lambda: tracking.delete_experiment("E"))
    return re.sub(r"SOURCE_INFO = \$\$.*?\$\$", "SOURCE_INFO = $$X$$", "\n".join(record.lines) + "\n")


def test_the_sdk_sends_what_it_sent(recorded):
    if os.environ.get("RENEW_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(recorded)
    assert recorded.splitlines() == GOLDEN.read_text().splitlines()

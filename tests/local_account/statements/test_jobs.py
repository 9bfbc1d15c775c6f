"""Experiments, batch inference, code bundles, tasks and apps."""

import io

import nbformat
import pandas as pd
import pytest
from snowflake.ml.model import custom_model, model_signature
from snowflake.ml.model.batch_inference import FileEncoding, InputFormat, InputSpec, OutputSpec, SaveMode
from snowflake.ml.registry import Registry
from snowflake.ml.utils.stage_file import list_stage_files
from snowflake.snowpark.exceptions import SnowparkSQLException


def test_an_experiment_keeps_what_its_runs_log(tracking, tmp_path):
    session = tracking.session
    tracking.set_experiment("TRIAL")
    (tmp_path / "note.txt").write_text("hello")
    with tracking.start_run("R1"):
        tracking.log_params({"lr": 0.1})
        for step, loss in enumerate((0.5, 0.4)):
            tracking.log_metric("loss", loss, step=step)
        tracking.log_artifact(str(tmp_path / "note.txt"))
    assert [(row["name"], row["value"]) for row in session.sql("SHOW RUN METRICS IN EXPERIMENT TRIAL").collect()] == [
        ("loss", "0.4")
    ]
    history = tracking.get_metric_history("R1").collect()
    assert [tuple(row)[1:3] for row in history] == [(0, 0.5), (1, 0.4)]
    tracking.download_artifacts("R1", target_path=str(tmp_path / "back"))
    assert (tmp_path / "back" / "note.txt").read_text() == "hello"
    tracking.delete_experiment("TRIAL")
    assert session.sql("SHOW EXPERIMENTS").collect() == []


class Sizes(custom_model.CustomModel):
    """How long the text is."""

    @custom_model.inference_api
    def predict(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"SIZE": X["IMAGE"].str.len()})


def test_a_batch_job_reads_files_and_writes_parquet(session):
    signature = model_signature.infer_signature(pd.DataFrame({"IMAGE": ["x"]}), pd.DataFrame({"SIZE": [1]}))
    registry = Registry(session, database_name="TEST_JOBS", schema_name="PUBLIC")
    version = registry.log_model(
        Sizes(custom_model.ModelContext()),
        model_name="SIZES",
        version_name="V1",
        signatures={"predict": signature},
        conda_dependencies=["pandas"],
        target_platforms=["SNOWPARK_CONTAINER_SERVICES"],
    )
    session.sql("CREATE STAGE IMAGES").collect()
    session.sql("CREATE STAGE OUTPUT").collect()
    for i in range(3):
        session.file.put_stream(io.BytesIO(b"abc" * (i + 1)), f"@IMAGES/x/{i}.jpeg", auto_compress=False)
    job = version.run_batch(
        list_stage_files(session, "@TEST_JOBS.PUBLIC.IMAGES/x", pattern=r".*\.jpeg", column_name="IMAGE"),
        compute_pool="SYSTEM_COMPUTE_POOL_CPU",
        input_spec=InputSpec(
            column_handling={
                "IMAGE": {"input_format": InputFormat.FULL_STAGE_PATH, "convert_to": FileEncoding.BASE64},
            }
        ),
        output_spec=OutputSpec(stage_location="@TEST_JOBS.PUBLIC.OUTPUT/scores/", mode=SaveMode.ERROR),
    )
    job.wait()
    assert job.status == "DONE"
    folder = f"@OUTPUT/scores/{job.id.rsplit('.', 1)[-1]}"
    assert len(session.sql(f"LIST {folder}/_SUCCESS").collect()) == 1
    assert sorted(row["SIZE"] for row in session.read.parquet(f"{folder}/part_0.parquet").collect()) == [4, 8, 12]


SPECIFICATION = b"""
bundle:
  type: custom
  compute_type: compute_pool
  language: python
  compute_options: {compute_pool: SYSTEM_COMPUTE_POOL_CPU}
"""
CELL = """
import sys
from snowflake.snowpark.context import get_active_session
session = get_active_session()
session.use_schema("TEST_JOBS.PUBLIC")
session.create_dataframe([[sys.argv[1]]], schema=["A"]).write.mode("append").save_as_table("WRITTEN")
"""


@pytest.mark.parametrize(
    "specification, words",
    [
        ("output: {stage_location: '@OUTPUT/no'}\ninpt: {}", "inpt in an inference job"),
        (
            "output: {stage_location: '@OUTPUT/no'}\ninput: {partition_column: IMAGE}",
            "partition_column in an inference",
        ),
        ("output: {stage_location: '@OUTPUT/no'}\ninference: {engine_options: {engine: vllm}}", "engine_options in an"),
        ("output: {stage_location: '@OUTPUT/no', mode: append}", "mode error or overwrite"),
        ("output: {stage_location: '@OUTPUT/no'}\ninput: {params: {zz: 1}}", "no parameter zz"),
        ("input: {}", "needs output.stage_location"),
        ("input: [}", "cannot be read"),
        ("output: {stage_location: '@OUTPUT/no'}", "column IMAGE is missing"),
    ],
)
def test_what_a_job_would_not_heed_is_refused(query, specification, words):
    job = (
        f"EXECUTE INFERENCE JOB SERVICE IN COMPUTE POOL SYSTEM_COMPUTE_POOL_CPU WITH SPECIFICATION $${specification}$$"
    )
    with pytest.raises(SnowparkSQLException, match=words):
        query(f"{job} FROM (SELECT 1 AS A) MODEL = SIZES VERSION = V1 FUNCTION = 'predict' ASYNC = FALSE")


def test_a_task_keeps_what_comes_before_it_and_refuses_conditions(query):
    query("CREATE TASK LATER WAREHOUSE = COMPUTE_WH AFTER EARLIER AS SELECT 1")
    (shown,) = query("SHOW TASKS LIKE 'LATER'")
    assert "EARLIER" in shown
    with pytest.raises(SnowparkSQLException, match="near .WHEN"):
        query("CREATE TASK NEVER WAREHOUSE = COMPUTE_WH WHEN 1 = 0 AS SELECT 1")


def test_a_dependent_task_is_resumed_only_while_its_root_is_suspended(query):
    query("CREATE TASK ROOT WAREHOUSE = COMPUTE_WH SCHEDULE = '60 MINUTE' AS SELECT 1")
    query("CREATE TASK CHILD WAREHOUSE = COMPUTE_WH AFTER ROOT AS SELECT 1")
    query("ALTER TASK CHILD RESUME")
    query("ALTER TASK ROOT RESUME")
    with pytest.raises(SnowparkSQLException, match="091421.*(.|\n)*root task is not suspended"):
        query("ALTER TASK CHILD RESUME")
    query("ALTER TASK ROOT SUSPEND")
    query("ALTER TASK CHILD RESUME")


def test_a_bundles_notebook_runs_with_its_arguments(session, query, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbformat.write(notebook, tmp_path / "x.ipynb")
    query("CREATE STAGE CODE")
    session.file.put(str(tmp_path / "x.ipynb"), "@CODE/notebooks", auto_compress=False)
    session.file.put_stream(io.BytesIO(SPECIFICATION), "@CODE/code_bundle.yml", auto_compress=False)
    query("CREATE CODE BUNDLE IF NOT EXISTS B FROM '@TEST_JOBS.PUBLIC.CODE'")
    query("CREATE TASK NIGHTLY WAREHOUSE = COMPUTE_WH SCHEDULE = 'USING CRON 0 3 * * * UTC' AS "
          "EXECUTE CODE BUNDLE B ENTRYPOINT = 'notebooks/x.ipynb' ARGUMENTS = ('hello')")  # fmt: skip
    assert "not executed" in query("ALTER TASK NIGHTLY RESUME")[0][0]
    query("EXECUTE TASK NIGHTLY")
    assert query("SELECT A FROM WRITTEN") == [("hello",)]
    with pytest.raises(SnowparkSQLException, match="is not in the bundle"):
        query("EXECUTE CODE BUNDLE B ENTRYPOINT = 'notebooks/y.ipynb'")
    run = "EXECUTE CODE BUNDLE B ENTRYPOINT = 'notebooks/x.ipynb' WITH SPECIFICATION"
    with pytest.raises(SnowparkSQLException, match=r"unknown fields \['requirements'\]"):
        query(f"{run} 'bundle: {{requirements: r.txt, compute_options: {{compute_pool: SYSTEM_COMPUTE_POOL_CPU}}}}'")


def test_a_tasks_statement_may_bring_its_own_specification(query):
    """As documented: `EXECUTE CODE BUNDLE ... WITH SPECIFICATION $$ ... $$` stands in for code_bundle.yml."""
    query("""CREATE TASK DAILY WAREHOUSE = COMPUTE_WH COMMENT = 'has as its aim as few words as it needs' AS
        EXECUTE CODE BUNDLE B ENTRYPOINT = 'notebooks/x.ipynb' ARGUMENTS = ('other') WITH SPECIFICATION $$
        bundle: {type: custom, compute_type: compute_pool, language: python, compute_options: {compute_pool: NOWHERE}}
        $$""")
    with pytest.raises(SnowparkSQLException, match="Compute pool 'NOWHERE' does not exist"):
        query("EXECUTE TASK DAILY")
    assert "successfully" in query("ALTER TASK IF EXISTS NO_SUCH_TASK SUSPEND")[0][0]
    assert "already dropped" in query("DROP TASK IF EXISTS NO_SUCH_TASK")[0][0]


def test_an_app_needs_its_main_file(session, query):
    query("CREATE OR REPLACE STAGE APP")
    create = "CREATE STREAMLIT A FROM '@TEST_JOBS.PUBLIC.APP' MAIN_FILE = 'app/main.py' COMPUTE_POOL = "
    with pytest.raises(SnowparkSQLException, match="Main file app/main.py was not found"):
        query(create + "SYSTEM_COMPUTE_POOL_CPU")
    session.file.put_stream(io.BytesIO(b"import streamlit"), "@APP/app/main.py", auto_compress=False)
    with pytest.raises(SnowparkSQLException, match="Compute pool 'NOWHERE' does not exist"):
        query(create + "NOWHERE")
    query(create + "SYSTEM_COMPUTE_POOL_CPU")
    assert query("SHOW STREAMLITS")[0][1] == "A"

"""snowflake.ml.jobs, unmodified: files, folders and functions as jobs, their results, logs and end."""

import time

import pytest
from snowflake.ml import jobs
from snowflake.snowpark.exceptions import SnowparkSQLException

POOL = "SYSTEM_COMPUTE_POOL_CPU"


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch):
    """The client asks every five seconds whether a job that failed has ended; here it has."""
    monkeypatch.setattr("snowflake.ml.jobs._utils.constants.JOB_POLL_INITIAL_DELAY_SECONDS", 0.1)


@pytest.fixture
def write(tmp_path):
    def file(name: str, text: str):
        path = tmp_path / "payload" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return file


def test_a_file_runs_with_its_arguments_and_is_listed(session, write):
    script = write("hello.py", """
import os, sys
from snowflake.snowpark.context import get_active_session
print("hello", *sys.argv[1:], os.environ["GREETING"])
session = get_active_session()
session.sql("CREATE TABLE WRITTEN AS SELECT CURRENT_WAREHOUSE() AS W").collect()
__return__ = {"answer": 42}
""")  # fmt: skip
    job = jobs.submit_file(
        script, POOL, stage_name="PAYLOADS", args=["a", "--b=c"], env_vars={"GREETING": "salut"}, session=session,
        query_warehouse="COMPUTE_WH", comment="first",
    )  # fmt: skip
    assert job.wait() == "DONE"
    assert job.get_logs() == "hello a --b=c salut"
    assert "is only a name here" in job.get_logs(verbose=True) and len(job.get_logs(as_list=True)) == 1
    assert job.result() == {"answer": 42}
    assert session.table("WRITTEN").collect()[0][0] == "COMPUTE_WH"
    assert (job.target_instances, job.min_instances, job.name) == (1, 1, job.id.split(".")[-1])
    listed = jobs.list_jobs(session=session)
    assert listed["name"].tolist()[0] == job.name and listed["status"].tolist()[0] == "DONE"
    again = jobs.get_job(job.id, session=session)
    assert again.status == "DONE" and again.result() == {"answer": 42}
    jobs.delete_job(again)
    assert job.name not in jobs.list_jobs(session=session)["name"].tolist()
    assert session.sql("LIST @PAYLOADS").collect() == []
    with pytest.raises(SnowparkSQLException, match="does not exist"):
        jobs.get_job(job.id, session=session)


def test_a_folder_runs_from_its_entrypoint_with_its_modules_and_requirements(session, write, tmp_path):
    write("helpers/words.py", "def greet(name): return f'hello {name}'")
    write("main.py", "import pathlib; from helpers.words import greet; print(greet('folder'), pathlib.Path.cwd().name)")
    job = jobs.submit_directory(
        str(tmp_path / "payload"), POOL, entrypoint="main.py", stage_name="@PAYLOADS/folders", session=session,
        pip_requirements=["numpy>=1"],
    )  # fmt: skip
    assert job.wait() == "DONE", job.get_logs(verbose=True)
    assert job.get_logs() == "hello folder app"


def test_a_function_runs_remotely_and_answers(session):
    import numpy as np

    @jobs.remote(POOL, stage_name="PAYLOADS", session=session)
    def scale(values, by: int = 2):
        print("scaling")
        return values * by

    job = scale(np.arange(3), by=3)
    assert job.result().tolist() == [0, 3, 6]
    assert job.status == "DONE" and job.get_logs() == "scaling"


def test_a_job_that_fails_says_why(session, write):
    job = jobs.submit_file(
        write("bad.py", "print('before'); raise KeyError('lost')"), POOL, stage_name="PAYLOADS", session=session
    )
    assert job.wait() == "FAILED"
    assert "KeyError: 'lost'" in job.get_logs() and job.get_logs().startswith("before")
    with pytest.raises(RuntimeError, match=r"KeyError\('lost'\)"):
        job.result()


def test_a_job_is_cancelled(session, write):
    job = jobs.submit_file(
        write("long.py", "import time; print('asleep', flush=True); time.sleep(300)"), POOL,
        stage_name="PAYLOADS", session=session,
    )  # fmt: skip
    assert job.status == "RUNNING"
    with pytest.raises(TimeoutError):
        job.wait(timeout=0)
    while "asleep" not in job.get_logs():
        time.sleep(0.1)
    job.cancel()
    assert job.wait() == "CANCELLED"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target_instances": 2, "min_instances": 1}, "target_instances = 2 of an ML Job: several instances need Ray"),
        ({"external_access_integrations": ["NOWHERE"]}, "NOWHERE' does not exist"),
        ({"artifact_repositories": ["NO.SUCH.REPOSITORY"]}, "REPOSITORY' does not exist"),
        ({"spec_overrides": {"spec": {"endpoints": [{"name": "e", "port": 80}]}}}, "endpoints in spec"),
    ],
)
def test_what_a_process_cannot_give_is_refused_by_name(session, write, options, words):
    with pytest.raises(SnowparkSQLException, match=words):
        jobs.submit_file(write("x.py", "pass"), POOL, stage_name="PAYLOADS", session=session, **options)


def test_a_requirement_that_is_not_installed_fails_the_job_by_its_name(session, write):
    job = jobs.submit_file(
        write("x.py", "pass"), POOL, stage_name="PAYLOADS", session=session, pip_requirements=["numpy<1", "no-such-one"]
    )
    assert job.wait() == "FAILED"
    log = job.get_logs()
    assert "numpy<1: version" in log and "no-such-one: not installed where the local account runs" in log

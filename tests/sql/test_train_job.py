"""`python3 ci deploy --as job`: a job service from a staged specification trains, logs and registers a model."""

import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snowflake.snowpark import Session
from tests.sql.deployments import deploy, run

from cxr.account.session import start_local_account
from cxr.settings import load

ROOT = Path(__file__).resolve().parents[2]
JOB = "MEDICAL_IMAGES.CHEST_XRAY.TRAIN_JOB"


@pytest.fixture(scope="module")
def session(place):
    opened = Session.builder.configs(
        start_local_account(load(argv=[], environ={}, account_dir=str(place / "account")))
    ).create()
    yield opened
    opened.close()


def job_log(session: Session) -> str:
    return session.sql(f"SELECT SYSTEM$GET_SERVICE_LOGS('{JOB}', 0, 'main')").collect()[0][0]


def test_the_uploaded_specification_has_the_names_of_the_settings(place):
    own = {"CXR_DATABASE": "RADIOLOGY", "CXR_JOB_GPUS": "1", "CXR_JOB_POOL": "CXR_GPU"}
    done = deploy(place, "--dry-run", "--as", "job", "--profile", "full", "--build", "own", **own)
    assert "EXECUTE JOB SERVICE IN COMPUTE POOL CXR_GPU" in done.stdout, done.stderr
    spec = yaml.safe_load((place / "own" / "deploy" / "jobs" / "train_job.yaml").read_text())["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "/radiology/chest_xray/image_repository/cxr:1"
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 1} and container["env"]["CXR_PROFILE"] == "full"
    assert spec["volumes"][0]["stageConfig"] == {"name": "@RADIOLOGY.CHEST_XRAY.CODE"}
    chosen = deploy(place, "--dry-run", "--build", "own", CXR_JOB_IMAGE="/a/b/c/d:2")
    assert chosen.returncode == 0 and "EXECUTE JOB" not in chosen.stdout
    assert "/a/b/c/d:2" in (place / "own" / "deploy" / "jobs" / "train_job.yaml").read_text()


@pytest.fixture(scope="module")
def trained(place):
    done = deploy(place, "--as", "job", "--profile", "smoke")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    return done


def test_the_job_trains_logs_and_registers_a_model(trained, session):
    assert "Job TRAIN_JOB completed successfully with status: DONE." in trained.stdout
    assert trained.stdout.splitlines()[-1].endswith("schedule, job")
    session.sql("USE SCHEMA MEDICAL_IMAGES.CHEST_XRAY").collect()
    (model,) = session.sql("SHOW MODELS LIKE 'PNEUMONIA%'").collect()
    assert model["name"] == "PNEUMONIA_CLASSIFIER" and model["owner"] == "CXR_ENGINEER"
    (container,) = session.sql(f"SHOW SERVICE CONTAINERS IN SERVICE {JOB}").collect()
    assert (container["status"], container["last_exit_code"]) == ("DONE", 0)
    log = job_log(session)
    assert all(f"== {notebook}" in log for notebook in ("02_data_ingest", "03_train", "04_register"))
    assert session.sql("SELECT COUNT(DISTINCT RUN_ID) FROM TRAINING_LOG").collect()[0][0] == 1
    assert not session.sql("LIST @ARTIFACTS/checkpoints").collect(), "the run is saved"
    # The code's stage is as it was deployed: a container that writes beside the code would change it.
    assert not [row for row in session.sql("LIST @CODE").collect() if row["name"].endswith(".pyc")]


def test_a_training_that_fails_ends_as_failed_with_its_last_lines(trained, place, session):
    failed = deploy(place, "--as", "job", "--from", "upload", "--data", "@MEDICAL_IMAGES.CHEST_XRAY.NOWHERE")
    assert failed.returncode == 1 and "of step job failed" in failed.stdout
    assert "status: FAILED" in failed.stdout and "== 02_data_ingest failed with exit code 1" in failed.stdout
    assert session.sql(f"DESCRIBE SERVICE {JOB}").collect()[0]["status"] == "FAILED"
    assert "NOWHERE' does not exist" in job_log(session)


@pytest.mark.parametrize("images", [0, 3])
def test_after_an_ingest_the_notebooks_do_not_read_an_older_mount(monkeypatch, images):
    job = runpy.run_path(str(ROOT / "jobs" / "train_job.py"))
    mount = load(argv=[], environ={}).images_mount
    monkeypatch.setenv("CXR_IMAGES_MOUNT", mount)
    session = SimpleNamespace(table=lambda name: SimpleNamespace(count=lambda: images))
    project = SimpleNamespace(settings=load(argv=[]), session=session, catalog="CATALOG")
    monkeypatch.setattr("cxr.open_project", lambda: project)
    mounts = []
    monkeypatch.setattr(
        subprocess, "call", lambda command, env: mounts.append(load(argv=[], environ=env).images_mount) or 0
    )
    assert job["main"]([]) == 0
    assert [each == mount for each in mounts] == ([True] * 2 if images else [False] * 3)
    assert images or not any(Path(each).is_dir() for each in mounts)


def test_an_ml_job_runs_the_same_training_and_fails_as_it_does(trained, place):
    """With images that exist it trains as the job service does; that takes as long again, so here it fails early."""
    script, nowhere = str(ROOT / "jobs" / "train_as_ml_job.py"), "@MEDICAL_IMAGES.CHEST_XRAY.NOWHERE"
    failed = run(place, script, "--profile", "smoke", "--data", nowhere)
    assert failed.returncode == 1, failed.stderr
    assert "== 02_data_ingest" in failed.stdout and "NOWHERE' does not exist" in failed.stdout
    assert failed.stdout.splitlines()[-1].endswith(": FAILED")

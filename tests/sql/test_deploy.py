"""`python3 ci deploy`: dry run, real run on a local account, a failure in the middle, teardown."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from snowflake.snowpark import Session
from tests.sql.deployments import deploy

from cxr.account.session import start_local_account
from cxr.settings import load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def deploy_here(tmp_path, monkeypatch, capsys):
    """Runs it in this process, for arguments that connect to no account. Returns (exit code, printed text)."""
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cxr.account.session._active_session", lambda: None)  # those of other tests
    main = runpy.run_path(str(ROOT / "ci" / "__main__.py"), run_name="ci")["main"]

    def run(*arguments: str, **variables: str) -> tuple[int, str]:
        for name, value in ({"CXR_ACCOUNT_DIR": str(tmp_path / "account")} | variables).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["ci", "deploy", *arguments])
        return main(), capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def session(place):
    settings = load(argv=[], environ={}, account_dir=str(place / "account"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_ACCOUNT_DIR", settings.account_dir)  # for what runs in the account: patients' key
        opened = Session.builder.configs(start_local_account(settings)).create()
    yield opened
    opened.close()


def test_a_dry_run_prints_every_statement_needs_no_account_and_shows_what_would_be_uploaded(tmp_path, deploy_here):
    code, printed = deploy_here("--connection", "nowhere", "--dry-run", "--egress", "--run", "--start-schedule")
    assert code == 0
    assert not (tmp_path / "account").exists()
    check_payload(tmp_path / "build" / "deploy")
    assert "<%" not in printed
    steps = re.findall(r"^-- (\w+): ", printed, re.MULTILINE)
    assert steps == ["account", "objects", "egress", "upload", "deploy", "schedule", "run", "start"]
    for statement in (
        "CREATE COMPUTE POOL IF NOT EXISTS CXR_GPU",
        'GRANT ROLE CXR_ENGINEER TO USER "<you>";',
        "CREATE TABLE IF NOT EXISTS MEDICAL_IMAGES.CHEST_XRAY.IMAGE_CATALOG",
        "ENTRYPOINT = 'notebooks/05_deploy.ipynb' ARGUMENTS = ('--profile', 'default', '--keep-service', 'True')",
        "ALTER TASK MEDICAL_IMAGES.CHEST_XRAY.RETRAIN RESUME;",
    ):
        assert statement in printed


def test_without_git_all_files_are_uploaded(tmp_path, deploy_here):
    code, _ = deploy_here("--dry-run", PATH=str(tmp_path))
    assert code == 0
    assert (tmp_path / "build" / "deploy" / "notebooks" / "01_setup.ipynb").is_file()


def test_an_option_that_is_given_beats_the_environment_and_one_that_is_not_leaves_it(deploy_here):
    own = {"CXR_DATA": "@PACS.PUBLIC.OLD/x", "CXR_PROFILE": "full"}
    _, printed = deploy_here("--dry-run", "--run", **own)
    assert "('--profile', 'full', '--data', '@PACS.PUBLIC.OLD/x')" in printed
    _, printed = deploy_here("--dry-run", "--run", "--profile", "smoke", "--data", "@PACS.PUBLIC.NEW/x", **own)
    assert "('--profile', 'smoke', '--data', '@PACS.PUBLIC.NEW/x')" in printed
    assert "OLD" not in printed


def check_payload(payload: Path) -> None:
    """Only tracked files that are needed."""
    files = {path.relative_to(payload).as_posix() for path in payload.rglob("*") if path.is_file()}
    assert {
        "code_bundle.yml",
        "requirements.txt",
        "notebooks/03_train.ipynb",
        "lib/cxr/model/preprocessing.py",
    } <= files
    assert {"sql/20_objects.sql", "streamlit/requirements.txt", "streamlit/.streamlit/config.toml"} <= files
    assert not [name for name in files if name.startswith(("tests", "ci", "lib/local_account", "."))]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    assert files <= set(tracked) or tracked == [""]
    assert "settings.json" not in files  # every name is the default


def test_own_names_reach_the_statements_the_bundle_and_the_code_in_the_account(tmp_path, deploy_here):
    own = {"CXR_DATABASE": "RADIOLOGY", "CXR_GPU_POOL": "BIG", "CXR_GPU_RUNTIME": "V3.0-GPU-PY3.12"}
    own["CXR_PATIENT_KEY_SECRET"] = "VAULT.KEYS.PATIENT_KEY"
    _, printed = deploy_here("--dry-run", "--egress", "--run", "--data", "@PACS.PUBLIC.EXPORT/2026", **own)
    assert "'--data', '@PACS.PUBLIC.EXPORT/2026')" in printed
    assert "MEDICAL_IMAGES" not in printed and "CREATE COMPUTE POOL IF NOT EXISTS BIG" in printed
    payload = tmp_path / "build" / "deploy"
    bundle = yaml.safe_load((payload / "code_bundle.yml").read_text())["bundle"]
    assert bundle["compute_options"]["compute_pool"] == "BIG"
    assert bundle["compute_options"]["runtime_version"] == "V3.0-GPU-PY3.12"
    assert bundle["stage_mounts"]["images"]["stage_url"] == "@RADIOLOGY.CHEST_XRAY.IMAGES"
    assert bundle["external_access_integrations"] == ["CXR_WEIGHTS_ACCESS"]
    assert bundle["secrets"] == ["VAULT.KEYS.PATIENT_KEY"]
    written = json.loads((payload / "settings.json").read_text())
    names = {"database": "RADIOLOGY", "gpu_pool": "BIG", "gpu_runtime": "V3.0-GPU-PY3.12"}
    assert written == names | {"patient_key_secret": "VAULT.KEYS.PATIENT_KEY"}
    # The app and the notebooks read them from there.
    code = "import cxr; s = cxr.load(argv=[]); print(s.database, s.gpu_pool, s.schema)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CXR_")}
    environment["PYTHONPATH"] = str(payload / "lib")
    read = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert read.stdout.split() == ["RADIOLOGY", "BIG", "CHEST_XRAY"], read.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--connection", "nowhere"), "No connection to nowhere"),
        (("--run", "--data", "images"), "an account can only read stages. Nothing was done."),
        (("--teardown", "OTHER"), "this project's database is MEDICAL_IMAGES. Nothing was done."),
    ],
)
def test_invalid_arguments_give_a_sentence(deploy_here, arguments, said):
    code, printed = deploy_here(*arguments)
    assert code == 1 and said in printed


def test_a_connection_that_the_environment_names_is_named_if_it_fails(deploy_here):
    code, printed = deploy_here(CXR_CONNECTION="nowhere")
    assert code == 1 and printed.startswith("No connection to nowhere")


@pytest.fixture(scope="module")
def deployed(place, session):
    weights = place / "resnet18-f37072fd.pth"
    weights.write_bytes(b"stands for the weights")
    done = deploy(place, "--egress", "--weights", str(weights), "--start-schedule")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_whole_deployment_runs_and_prints_each_statement_before_its_answer(deployed, session):
    lines = deployed.stdout.splitlines()
    assert lines[0] == "-- on account LOCAL_ACCOUNT, as LOCAL_USER"
    asked = lines.index("ALTER TASK MEDICAL_IMAGES.CHEST_XRAY.RETRAIN RESUME;")
    assert "recorded, not executed" in lines[asked + 1]
    assert lines[-1] == "Done: account, objects, egress, weights, upload, deploy, schedule, start"
    session.sql("USE SCHEMA MEDICAL_IMAGES.CHEST_XRAY").collect()
    tasks = {row["name"]: row["state"] for row in session.sql("SHOW TASKS").collect()}
    assert tasks.keys() == {"RETRAIN", "REGISTER", "INGEST_NEW_IMAGES", "SCORE_NEW_IMAGES"}
    assert set(tasks.values()) == {"started"}
    assert session.sql("SHOW STREAMLITS").collect()[0]["main_file"] == "streamlit/streamlit_app.py"
    assert [row["name"] for row in session.sql("LIST @ARTIFACTS/weights").collect()] == [
        "artifacts/weights/resnet18-f37072fd.pth"
    ]
    mine = session.sql('SHOW GRANTS TO USER "LOCAL_USER"').collect()
    assert [row["name"] for row in mine] == ["CXR_ENGINEER"]


def test_what_was_deployed_runs_headless_with_arguments(deployed, session):
    bundle = "EXECUTE CODE BUNDLE MEDICAL_IMAGES.CHEST_XRAY.PNEUMONIA_BUNDLE ENTRYPOINT ="
    answer = session.sql(f"{bundle} 'notebooks/01_setup.ipynb' ARGUMENTS = ('--profile', 'smoke')").collect()
    assert "executed successfully" in answer[0][0]
    unheeded = "artifact_repositories, external_access_integrations, stage_mounts"
    assert answer[0][0].endswith(f"Ignored: {unheeded}.")
    script = session.sql(f"{bundle} 'jobs/run_notebook.py' ARGUMENTS = ('notebooks/01_setup.ipynb')").collect()
    assert "executed successfully" in script[0][0]


def test_the_task_catalogs_what_arrived_on_the_landing_stage_before_the_scoring_task_looks(deployed, session, tmp_path):
    session.sql("USE SCHEMA MEDICAL_IMAGES.CHEST_XRAY").collect()
    first = {row["name"]: row["predecessors"] for row in session.sql("SHOW TASKS").collect()}
    assert first["SCORE_NEW_IMAGES"].endswith("INGEST_NEW_IMAGES") and not first["INGEST_NEW_IMAGES"]
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "new.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    session.file.put(f"file://{tmp_path}/*.png", "@LANDING/monday", auto_compress=False)
    for _ in range(2):
        session.sql("EXECUTE TASK INGEST_NEW_IMAGES").collect()
        found = session.sql("SELECT SOURCE_NAME, VANISHED_AT FROM IMAGE_CATALOG").collect()
        assert [tuple(row) for row in found] == [("monday/new.png", None)]
        session.sql("REMOVE @LANDING/monday/new.png").collect()  # the second run does not find it
    refused = session.sql("SELECT SOURCE_NAME, REASON FROM REJECTED_IMAGES").collect()
    assert [tuple(row) for row in refused] == [("monday/bad.png", "unreadable")]


def test_a_failed_step_stops_and_can_be_continued(deployed, place, session):
    session.sql("DROP COMPUTE POOL CXR_APP").collect()
    failed = deploy(place, "--from", "deploy")
    assert failed.returncode == 1
    assert "of step deploy failed" in failed.stdout and "Compute pool 'CXR_APP' does not exist" in failed.stdout
    assert failed.stdout.splitlines()[-1].endswith("--from deploy")
    assert "-- schedule" not in failed.stdout and "Traceback" not in failed.stderr
    session.sql("CREATE COMPUTE POOL CXR_APP MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = CPU_X64_XS").collect()
    done = deploy(place, "--from", "deploy")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "Done: deploy, schedule"
    running = {row["name"]: row["state"] for row in session.sql("SHOW TASKS").collect()}
    assert set(running.values()) == {"started"}  # a schedule that runs goes on running


def test_the_teardown_leaves_nothing(deployed, place, session):
    done = deploy(place, "--teardown", "MEDICAL_IMAGES")
    assert done.returncode == 0 and "DROP DATABASE IF EXISTS MEDICAL_IMAGES;" in done.stdout, done.stdout
    assert not session.sql("SHOW DATABASES LIKE 'MEDICAL_IMAGES'").collect()
    assert not session.sql("SHOW COMPUTE POOLS LIKE 'CXR%'").collect()
    assert not session.sql("SHOW ROLES LIKE 'CXR%'").collect()
    assert not session.sql("SHOW GRANTS").collect()

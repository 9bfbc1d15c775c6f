"""`python3 ci deploy`: run the scripts of `sql/` and upload the repository, to your account or the local account."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from snowflake.connector.errors import Error as ConnectorError
from snowflake.snowpark import Session
from snowflake.snowpark.exceptions import SnowparkClientException

from cxr.account.scripts import read_sql_file, run
from cxr.account.session import connect, use_schema
from cxr.settings import NAMES, Settings, load
from environment import ROOT
from ownership import ADMINISTRATOR, refusal

UPLOADED = ("notebooks", "jobs", "lib/cxr", "sql", "streamlit", "code_bundle.yml", "requirements.txt")
JOB = "jobs/train_job.yaml"
YOU = '"<you>"'  # placeholder for the user's name, until there is a connection


@dataclass(frozen=True)
class Step:
    name: str
    does: str
    statements: list[str]


def deploy(arguments: argparse.Namespace) -> int:
    """Returns 0 if every step is done. The first failing statement ends the deployment, which then returns 1."""
    # As arguments, because a keyword of `load` is weaker than the environment.
    given = [f"--{name}={value}" for name in ("profile", "data") if (value := getattr(arguments, name)) is not None]
    settings = replace(load(argv=given), keep_service=True)
    if (arguments.run or arguments.run_as == "job") and settings.data and not settings.data.startswith("@"):
        print(f"--data {settings.data}: an account can only read stages. Nothing was done. Put the images on a stage,")
        print("as docs/data.md describes, and name it: --data @DATABASE.SCHEMA.STAGE/path")
        return 1
    schema = f"{settings.database}.{settings.schema}"
    if arguments.teardown and arguments.teardown not in (settings.database, schema):
        wanted = f"this project's schema is {schema}, this project's database is {settings.database}"
        print(f"--teardown {arguments.teardown}: {wanted}. Nothing was done.")
        return 1
    if arguments.weights and not Path(arguments.weights).is_file():
        print(f"--weights {arguments.weights}: there is no such file. Nothing was done.")
        return 1
    if arguments.teardown:
        steps = teardown(settings) if arguments.teardown == settings.database else teardown_schema(settings, schema)
    else:
        steps = plan(settings, arguments)
    names = [step.name for step in steps]
    if arguments.start and arguments.start not in names:
        print(f"--from {arguments.start}: there is no such step. The steps are {', '.join(names)}.")
        return 1
    steps = steps[names.index(arguments.start) if arguments.start else 0 :]
    if arguments.dry_run:
        for step in steps:
            print(f"\n-- {step.name}: {step.does}")
            print("\n".join(f"{statement};" for statement in step.statements))
        return 0
    try:
        session = connect(arguments.connection, settings)
    except (ConnectorError, RuntimeError) as error:
        named = arguments.connection or os.environ.get("CXR_CONNECTION")
        print(f"No connection to {named or 'the local account'}: {error}")
        return 1
    if reason := refusal(session, settings, [step.name for step in steps]):
        print(reason)
        return 1
    if arguments.teardown and not use_schema(session, settings):
        # As after a teardown that was interrupted. IF EXISTS may not hold for the schema or database around a name.
        steps = [replace(step, statements=[text for text in step.statements if f" {schema}" not in text])
                 for step in steps]  # fmt: skip
    return execute(session, steps)


def execute(session: Session, steps: list[Step]) -> int:
    account, user = session.sql("SELECT CURRENT_ACCOUNT(), CURRENT_USER()").collect()[0]
    print(f"-- on account {account}, as {user}")
    for step in steps:
        print(f"\n-- {step.name}: {step.does}", flush=True)
        for number, statement in enumerate(step.statements, 1):
            text = statement.replace(YOU, '"' + user.replace('"', '""') + '"')
            print(f"{text};", flush=True)
            try:
                print(f"--   {run(session, text)}", flush=True)
            except (SnowparkClientException, ConnectorError, OSError) as error:
                print(f"\nStatement {number} of {len(step.statements)} of step {step.name} failed:\n{error}")
                print("\nThe statements before it took effect, and every statement can run again. Fix the cause, then")
                print(f"run the same command with --from {step.name}")
                return 1
    print("\nDone: " + ", ".join(step.name for step in steps))
    return 0


def plan(settings: Settings, arguments: argparse.Namespace) -> list[Step]:
    def script(stem: str) -> list[str]:
        return read_sql_file(ROOT / "sql" / f"{stem}.sql", settings)

    def engineer(statements: list[str]) -> list[str]:
        # The connection's warehouse, if it has one, may be one that this role may not use.
        return as_role(settings.engineer_role, [f"USE WAREHOUSE {settings.warehouse}", *statements])

    account = [*script("10_account"), f"GRANT ROLE {settings.engineer_role} TO USER {YOU}"]
    stage = f"@{settings.qualified(settings.code_stage)}"
    uploads = [
        f"REMOVE {stage}",
        *put_statements(write_payload(Path(arguments.build).resolve() / "deploy", settings, arguments.egress), stage),
    ]
    wanted = [
        Step("account", "roles, compute, privileges", as_role(ADMINISTRATOR, account)),
        Step("objects", "schema, stages, tables", engineer(script("20_objects"))),
    ]
    if arguments.egress:
        wanted.append(Step("egress", "external access to one host", as_role(ADMINISTRATOR, script("25_egress"))))
    if arguments.weights:
        source = Path(arguments.weights).resolve()
        weights = [put(source.as_posix(), f"{settings.artifacts}/weights")]
        wanted.append(Step("weights", "ImageNet weights", engineer(weights)))
    wanted += [
        Step("upload", f"this repository's files to {stage}", engineer(uploads)),
        Step("deploy", "code bundle and app", engineer(script("30_deploy"))),
        Step("schedule", "tasks and alert, suspended", engineer(script("40_schedule"))),
    ]
    if arguments.run_as == "job":
        wanted.append(Step("job", "train as a job service", engineer(script("37_train_job"))))
    elif arguments.run:
        wanted.append(Step("run", "the five notebooks, in the account", engineer(script("35_run"))))
    if arguments.start_schedule:
        wanted.append(Step("start", "start the schedule", engineer(script("45_start_schedule"))))
    return wanted


def teardown(settings: Settings) -> list[Step]:
    statements = read_sql_file(ROOT / "sql" / "90_teardown.sql", settings)
    return [Step("teardown", "remove everything", as_role(ADMINISTRATOR, statements))]


def teardown_schema(settings: Settings, schema: str) -> list[Step]:
    """What others may share stays: database, roles, pools, the integration."""
    statements = read_sql_file(ROOT / "sql" / "90_teardown.sql", settings)
    inside = [text for text in statements if f" {schema}." in text]
    wanted = as_role(ADMINISTRATOR, [*inside, f"DROP SCHEMA IF EXISTS {schema}"])
    return [Step("schema", f"remove {schema} and what is in it", wanted)]


def as_role(role: str, statements: list[str]) -> list[str]:
    return [f"USE ROLE {role}", *statements]


# ---------------------------------------------------------------- uploaded files


def write_payload(folder: Path, settings: Settings, egress: bool) -> Path:
    """Copy the files that the account needs to the folder, with the names of these settings. Returns the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in needed_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    (folder / "code_bundle.yml").write_text(bundle_specification(settings, egress))
    (folder / JOB).write_text(job_specification(settings))
    if own := own_names(settings):
        (folder / "settings.json").write_text(json.dumps(own, indent=2) + "\n")
    return folder


def needed_files() -> list[str]:
    """Paths relative to the repository: the tracked files in a git clone, else all files."""
    try:
        listed = subprocess.run(["git", "ls-files", *UPLOADED], cwd=ROOT, capture_output=True, text=True)
        if listed.returncode == 0 and listed.stdout:
            return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
        why = "This is not a git clone"
    except OSError:
        why = "git cannot be run here"
    print(f"{why}: all files of the folders are uploaded.", file=sys.stderr)
    found = [
        path for name in UPLOADED for path in ((ROOT / name).rglob("*") if (ROOT / name).is_dir() else [ROOT / name])
    ]
    return sorted(
        path.relative_to(ROOT).as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts
    )


def bundle_specification(settings: Settings, egress: bool) -> str:
    """`code_bundle.yml` with the names of these settings."""
    bundle = yaml.safe_load((ROOT / "code_bundle.yml").read_text())["bundle"]
    bundle["compute_options"] = {
        "compute_pool": settings.gpu_pool,
        "query_warehouse": settings.warehouse,
        "runtime_version": settings.gpu_runtime,
    }
    bundle["stage_mounts"]["images"] = {"stage_url": settings.images, "mount_path": f"{settings.images_mount}/"}
    if settings.patient_key_secret:
        bundle["secrets"] = [settings.patient_key_secret]
    if egress:
        bundle["external_access_integrations"] = [settings.egress_integration]
    return yaml.safe_dump({"bundle": bundle}, sort_keys=False)


def job_specification(settings: Settings) -> str:
    """`jobs/train_job.yaml` with the image, the names and the training of these settings."""
    spec = yaml.safe_load((ROOT / JOB).read_text())["spec"]
    (container,) = spec["containers"]
    repository = f"/{settings.database}/{settings.schema}/IMAGE_REPOSITORY".lower()
    container["image"] = settings.job_image or f"{repository}/cxr:1"
    container["env"] |= {"CXR_PROFILE": settings.profile, "CXR_WEIGHTS": settings.weights}
    if settings.data:
        container["env"]["CXR_DATA"] = settings.data
    if settings.job_gpus:
        container["resources"]["requests"]["nvidia.com/gpu"] = settings.job_gpus
        container["resources"]["limits"] = {"nvidia.com/gpu": settings.job_gpus}
    stages = {"code": settings.qualified(settings.code_stage), "images": settings.qualified(settings.images_stage)}
    for volume in spec["volumes"]:
        volume["stageConfig"]["name"] = f"@{stages[volume['name']]}"
    return yaml.safe_dump({"spec": spec}, sort_keys=False)


def own_names(settings: Settings) -> dict[str, str]:
    """Names that differ from the defaults, for settings.json: app and notebooks in the account need them too."""
    defaults = Settings()
    named = (*NAMES, "patient_key_secret")
    return {name: value for name in named if (value := getattr(settings, name)) != getattr(defaults, name)}


def put_statements(folder: Path, stage: str) -> Iterator[str]:
    """One PUT for each folder and suffix, and for each file without one, so that no pattern matches a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for parent, pattern in sorted({(path.parent, f"*{path.suffix}" if path.suffix else path.name) for path in files}):
        relative = parent.relative_to(folder).as_posix()
        yield put(f"{parent.as_posix()}/{pattern}", stage if relative == "." else f"{stage}/{relative}")


def put(source: str, target: str) -> str:
    quoted = source.replace("'", "\\'")
    return f"PUT 'file://{quoted}' '{target}' AUTO_COMPRESS = FALSE OVERWRITE = TRUE"

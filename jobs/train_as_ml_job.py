"""Train and register as an ML Job, from a laptop or a CI runner.

    CXR_CONNECTION=NAME CXR_JOB_POOL=CXR_GPU .venv/bin/python jobs/train_as_ml_job.py [--epochs 5 ...]

Snowflake runs the uploaded folder on Container Runtime: there is no container image to build. Arguments are settings of
the notebooks; `--nodes 2` trains on two machines, which `job_pool` must have (MAX_NODES). The local account runs the
job as a process, and refuses several. In SQL, `EXECUTE CODE BUNDLE` does the same on one machine (sql/35_run.sql).

First run `python3 ci deploy --connection NAME`. Without `CXR_CONNECTION` the job runs on the local account. It was
tested there, never on a real one.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))

from snowflake.ml.jobs import MLJob, submit_directory

import cxr

PAYLOAD = Path("build") / "deploy"  # `python3 ci deploy` writes it


def submit(arguments: list[str]) -> MLJob:
    """Upload the payload and start the job.

    Raises:
        SystemExit: there is no payload.
    """
    if not PAYLOAD.is_dir():
        raise SystemExit(f"{PAYLOAD} does not exist here. Run python3 ci deploy, which writes it.")
    settings = cxr.load(argv=arguments)
    return submit_directory(
        str(PAYLOAD),
        settings.job_pool,
        entrypoint="jobs/train_job.py",
        stage_name=settings.qualified("JOBS"),
        args=arguments,
        target_instances=settings.nodes,
        session=cxr.connect(settings=settings),
        query_warehouse=settings.warehouse,
        artifact_repositories=["snowflake.snowpark.pypi_shared_repository"],
        database=settings.database,
        schema=settings.schema,
    )


def main() -> int:
    """Returns 0 if the job is done, 1 if it failed."""
    job = submit(sys.argv[1:])
    print(job.id, flush=True)
    status = job.wait()
    print(job.get_logs())
    print(f"{job.id}: {status}")
    return 0 if status == "DONE" else 1


if __name__ == "__main__":
    sys.exit(main())

"""Train as an ML Job, from a laptop or a CI runner: `python jobs/train_as_ml_job.py [--epochs 5 ...]`.

This stands where older guides built a Docker image by hand, pushed it to an image repository and wrote a service
specification: Snowflake runs this folder as it is, on Container Runtime. Arguments go to notebook 03's settings.
For those who prefer SQL, `EXECUTE CODE BUNDLE` does the same (sql/35_run.sql).

Named connection: `CXR_CONNECTION`. It was never run against an account.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))

from snowflake.ml.jobs import submit_directory

import cxr

PAYLOAD = ROOT / "build" / "deploy"  # `python3 ci deploy --dry-run` writes it


def main() -> None:
    if not PAYLOAD.is_dir():
        raise SystemExit("There is no build/deploy: python3 ci deploy --dry-run writes it.")
    settings = cxr.load()
    job = submit_directory(
        str(PAYLOAD),
        settings.gpu_pool,
        entrypoint="jobs/run_notebook.py",
        stage_name=settings.qualified("JOBS"),
        args=["notebooks/03_train.ipynb", *sys.argv[1:]],
        session=cxr.connect(settings=settings),
        query_warehouse=settings.warehouse,
        artifact_repositories=["snowflake.snowpark.pypi_shared_repository"],
        database=settings.database,
        schema=settings.schema,
    )
    print(job.id)
    job.wait()
    print(job.get_logs())


if __name__ == "__main__":
    main()

"""Train as an ML Job, from a laptop or a CI runner: `python jobs/train_as_ml_job.py [--epochs 5 ...]`.

Snowflake runs the uploaded folder on Container Runtime: there is no container image to build. Arguments are settings of
notebook 03. In SQL, `EXECUTE CODE BUNDLE` does the same (sql/35_run.sql).

Set the environment variable `CXR_CONNECTION` to the name of the connection. Never tested on a real account.
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
        raise SystemExit("build/deploy does not exist. Run python3 ci deploy --dry-run, which writes it.")
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

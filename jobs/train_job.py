"""Train and register: notebooks 03 and 04 as one job, after 02 where the catalog is empty or `--data` names images.

`train_job.yaml` runs it in a container of your own, `train_as_ml_job.py` as an ML Job. Arguments are settings. The exit
code is that of the first notebook that fails, so that a failed training is a failed job.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))

import cxr


def main(arguments: list[str]) -> int:
    """Returns an exit code."""
    project = cxr.open_project()
    ingest = bool(project.settings.data) or project.session.table(project.catalog).count() == 0
    for notebook in ("02_data_ingest", "03_train", "04_register")[0 if ingest else 1 :]:
        print(f"== {notebook}", flush=True)
        command = [sys.executable, str(ROOT / "jobs" / "run_notebook.py"), f"notebooks/{notebook}.ipynb", *arguments]
        # A mount that was made before may lack what is ingested now. An empty variable would mean the default's mount.
        environment = {"CXR_IMAGES_MOUNT": os.devnull} if ingest else {}
        if code := subprocess.call(command, env=os.environ | environment):
            print(f"== {notebook} failed with exit code {code}", flush=True)
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

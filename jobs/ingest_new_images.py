"""Catalog the images that arrived on the stage LANDING.

The task INGEST_NEW_IMAGES runs this job once a day, before the task that scores new images (sql/40_schedule.sql). It
can be interrupted and run again at any time: an image is cataloged once. A file that cannot be used is recorded in
REJECTED_IMAGES with the reason, and the job goes on. Files may be removed from the stage after the job.
"""

import logging
import sys
from pathlib import Path

places = (Path(__file__).resolve(), Path.cwd() / "here")
sys.path.insert(0, str(next(p / "lib" for start in places for p in start.parents if (p / "lib" / "cxr").is_dir())))

import cxr
from cxr.data.landing import ingest_landing

log = logging.getLogger("cxr.jobs")


def main() -> dict[str, int]:
    """Returns the counts of what was found; none if the stage is empty."""
    return ingest_landing(cxr.open_project())


if __name__ == "__main__":
    # Snowflake keeps log messages, but not printed text. The clients log their statements, hence only their warnings.
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    counts = main()
    log.info("%s", ", ".join(f"{count} {name}" for name, count in counts.items()) or "no new images")

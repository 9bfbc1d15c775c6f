"""Ask the version in production (else the default) about every cataloged image that it has not answered for.

The task SCORE_NEW_IMAGES runs it once a day (sql/40_schedule.sql). It can run any number of times and be ended at any
moment (`cxr.serving.scoring_job`).
"""

import logging
import sys
from pathlib import Path

places = (Path(__file__).resolve(), Path.cwd() / "here")
sys.path.insert(0, str(next(p / "lib" for start in places for p in start.parents if (p / "lib" / "cxr").is_dir())))

import cxr
from cxr.lifecycle.promotion import version_in_use
from cxr.serving.scoring_job import score_new_images

log = logging.getLogger("cxr.jobs")


def main() -> int:
    """The number of images that were scored."""
    project = cxr.open_project()
    version, in_words = version_in_use(project)
    log.info("version %s", in_words)
    return score_new_images(project, version)


if __name__ == "__main__":
    # Snowflake keeps what is logged, not what is printed. The clients' own messages hold statements: warnings only.
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    log.info("done: %d images", main())

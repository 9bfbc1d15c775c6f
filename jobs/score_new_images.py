"""Score every cataloged image that the version in production (else the default version) has not scored yet.

The task SCORE_NEW_IMAGES runs this job once a day (sql/40_schedule.sql). The warehouse scores few images; from the
setting `scoring_job_from` on, an inference job does. It can be interrupted and run again at any time.
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
    """Returns the number of scored images.

    Raises:
        LookupError: no model is registered.
    """
    project = cxr.open_project()
    version, in_words = version_in_use(project)
    log.info("version %s", in_words)
    return score_new_images(project, version)


if __name__ == "__main__":
    # Snowflake keeps log messages, but not printed text. The clients log their statements, hence only their warnings.
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    log.info("done: %d images", main())

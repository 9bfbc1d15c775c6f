"""Score every cataloged image that the version in production (else the default version) has not scored yet.

The task SCORE_NEW_IMAGES runs this job once a day (sql/40_schedule.sql). It can be interrupted and run again at any
time: predictions are written every 512 images, and the next run continues from there.
"""

import logging
import sys
from pathlib import Path

places = (Path(__file__).resolve(), Path.cwd() / "here")
sys.path.insert(0, str(next(p / "lib" for start in places for p in start.parents if (p / "lib" / "cxr").is_dir())))

import cxr
from cxr.data.catalog import usable
from cxr.data.pixels import fetch_files
from cxr.lifecycle.promotion import version_in_use
from cxr.serving import scoring
from cxr.serving.predictions import write_predictions

IMAGES_AT_ONCE = 512
log = logging.getLogger("cxr.jobs")


def main() -> int:
    """Returns the number of scored images.

    Raises:
        LookupError: no model is registered.
    """
    project = cxr.open_project()
    settings = project.settings
    if scoring.find_version(scoring.open_registry(project), settings.model_name) is None:
        raise LookupError(f"{settings.model_name} has no version yet: run notebooks 03_train and 04_register")
    version, in_words = version_in_use(project)
    new = project.session.sql(
        f"""SELECT IMAGE_ID, RELATIVE_PATH FROM {project.catalog} C
        WHERE C.VANISHED_AT IS NULL AND {usable(project)} AND NOT EXISTS (SELECT * FROM {project.predictions} P
            WHERE P.IMAGE_ID = C.IMAGE_ID AND P.MODEL_NAME = ? AND P.MODEL_VERSION = ?)
        ORDER BY IMAGE_ID""",
        params=[settings.model_name, version.version_name],
    ).to_pandas()
    log.info("%d images are new to version %s", len(new), in_words)
    for start in range(0, len(new), IMAGES_AT_ONCE):
        part = new.iloc[start : start + IMAGES_AT_ONCE]
        files = [path.read_bytes() for path in fetch_files(project, part)]
        answers = scoring.score(version, files)
        write_predictions(project, list(part["IMAGE_ID"]), answers, version.version_name, "WAREHOUSE")
        log.info("%d of %d scored", start + len(part), len(new))
    return len(new)


if __name__ == "__main__":
    # Snowflake keeps log messages, but not printed text. The clients log their statements, hence only their warnings.
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    log.info("done: %d images", main())

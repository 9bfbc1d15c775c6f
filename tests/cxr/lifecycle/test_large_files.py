"""With a DICOM of 20 MB and a TIFF of 30 MB among 50 images, every path answers the other 48."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.dicom_files import chest, dicom
from tests.registration import ensure_service

from cxr.data import ingest
from cxr.data.pixels import fetch_files
from cxr.phantoms import dataset
from cxr.serving import scoring
from cxr.serving.predictions import write_predictions
from cxr.serving.scoring_job import score_new_images
from cxr.serving.service import connect_client


@pytest.fixture(scope="module")
def all_rows(account, rows, tmp_path_factory) -> pd.DataFrame:
    """The 30 phantoms of `rows`, 18 more, and the two large files."""
    folder = tmp_path_factory.mktemp("large") / "set"
    dataset.write_phantoms(folder, patients=18, images_per_patient=1, size=128, seed=8)
    (folder / "large.dcm").write_bytes(dicom(chest(3300, 3200) * 4095))
    Image.fromarray((chest(5500, 5500) * 255).astype(np.uint8)).save(folder / "large.tiff")
    assert [round((folder / name).stat().st_size / 1e6) for name in ("large.dcm", "large.tiff")] == [21, 30]
    counts = ingest.ingest(account, folder)
    assert counts["cataloged"] == 20
    # One set of phantoms replaces another; here all are to be scored.
    account.session.sql(f"UPDATE {account.catalog} SET VANISHED_AT = NULL").collect()
    every = account.session.table(account.catalog).sort("IMAGE_ID").to_pandas()
    assert len(every) == 50
    return every


def ask_in_sql(project, asked: str, rows: pd.DataFrame) -> pd.DataFrame:
    """As notebook 05 does: the statement is not asked about files that a text cannot hold."""
    image = f"{project.qualified('IMAGE_BASE64')}(BUILD_SCOPED_FILE_URL({project.images_stage}, RELATIVE_PATH))"
    query = f"""SELECT IMAGE_ID, {asked}!PREDICT({image}) AS ANSWER FROM {project.catalog}
        WHERE BYTES <= {scoring.LARGEST_IN_SQL}"""
    return scoring.add_too_large(scoring.read_answers(project.session.sql(query)), rows)


def ask_in_batch(project, version) -> pd.DataFrame:
    target = f"{project.artifacts_stage}/batch/large/"
    project.session.sql(f"""
        EXECUTE INFERENCE JOB SERVICE IN COMPUTE POOL {project.settings.service_pool}
        WITH SPECIFICATION $${scoring.batch_specification(target)}$$
        FROM (SELECT IMAGE_ID, '{project.images_stage}/' || RELATIVE_PATH AS IMAGE FROM {project.catalog})
        MODEL = {version.fully_qualified_model_name} VERSION = {version.version_name} FUNCTION = 'predict'
        ASYNC = FALSE""").collect()
    return scoring.read_batch(project, target)


def daily_job(project, version, rows: pd.DataFrame) -> pd.DataFrame:
    """The large files go to a job, also where another path said that they are too large."""
    large = rows.loc[rows["BYTES"] > scoring.LARGEST_IN_SQL, "IMAGE_ID"]
    before = pd.DataFrame({"STATUS": [scoring.TOO_LARGE] * len(large)})
    write_predictions(project, large, before, version.version_name, "WAREHOUSE")
    assert score_new_images(project, version) == 50
    assert score_new_images(project, version) == 0, "the large files do not come back every day"
    answers = project.session.table(project.predictions).to_pandas()
    assert len(answers) == 52
    answers = answers[answers["STATUS"] != scoring.TOO_LARGE].set_index("IMAGE_ID")
    assert (answers["PATH_TAKEN"] == np.where(answers.index.isin(large), "BATCH", "WAREHOUSE")).all()
    return answers.loc[rows["IMAGE_ID"]]


def test_every_path_answers_the_others_and_gives_the_two_a_status(account, first, all_rows):
    project, (version, _) = account, first
    files = [path.read_bytes() for path in fetch_files(project, all_rows)]
    service = ensure_service(project, version)
    answers = {
        "WAREHOUSE": ask_in_sql(project, scoring.as_sql(version), all_rows),
        "RUN": scoring.score(version, files),
        "SERVICE": ask_in_sql(project, service, all_rows),
        "daily job": daily_job(project, version, all_rows),
        "REST": connect_client(project.session, service).predict(files),
        "BATCH": ask_in_batch(project, version),
    }
    large = (all_rows["BYTES"] > scoring.LARGEST_IN_SQL).to_numpy()
    assert large.sum() == 2
    for path, answer in answers.items():
        status = answer["STATUS"].str.split(":").str[0].to_numpy()
        assert (status[~large] == "ok").all() and answer["P_POSITIVE"].notna().to_numpy()[~large].all(), path
        expected = (
            "ok" if path in ("daily job", "REST", "BATCH") else "too_large"
        )  # these take any size that ingest takes
        assert (status[large] == expected).all(), path

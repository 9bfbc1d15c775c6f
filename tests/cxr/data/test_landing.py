"""The landing stage: what arrived is cataloged once, what is removed afterwards has not vanished."""

import pytest
from tests.cxr.data.test_any_labels import draw, rows_of

from cxr.data.ingest import ingest
from cxr.data.landing import ingest_landing


@pytest.fixture
def landing(empty):
    """An empty landing stage, beside a catalog that knows two classes."""
    empty.session.sql(f"REMOVE {empty.landing_stage}").collect()
    return empty


def arrive(project, folder, *names: str) -> None:
    """Put files of a folder onto the landing stage, under the same names."""
    for name in names:
        target = f"{project.landing_stage}/{name}".rpartition("/")[0]
        project.session.file.put(f"file://{folder / name}", target, auto_compress=False)


@pytest.fixture
def folder(landing, tmp_path):
    ingest(landing, draw(tmp_path / "training", "NORMAL/n.png", "TB/t.png"))
    folder = draw(tmp_path / "new", "monday/a.png", "TB/b.png", "tuesday/c.png")
    (folder / "monday" / "bad.png").write_bytes(b"no image")
    return folder


def test_new_files_are_cataloged_and_a_bad_one_is_recorded(landing, folder):
    arrive(landing, folder, "monday/a.png", "TB/b.png", "monday/bad.png")
    counts = ingest_landing(landing)
    assert (counts["found"], counts["cataloged"], counts["rejected"]) == (3, 2, 1)
    rows = rows_of(landing)
    assert rows.loc["TB/b.png", "LABEL"] == "TB", "a folder that is a class of the catalog is a label"
    assert rows.loc["monday/a.png", "LABEL"] is None and rows.loc["monday/a.png", "SPLIT"] is None
    refused = landing.session.sql(f"SELECT SOURCE, SOURCE_NAME, REASON FROM {landing.rejected}").collect()
    assert [tuple(row) for row in refused] == [(landing.landing_stage, "monday/bad.png", "unreadable")]


def test_what_was_removed_after_ingest_has_not_vanished_and_its_record_stays(landing, folder):
    arrive(landing, folder, "monday/a.png", "monday/bad.png")
    ingest_landing(landing)
    landing.session.sql(f"REMOVE {landing.landing_stage}").collect()
    assert ingest_landing(landing) == {}, "an empty stage is no error"
    arrive(landing, folder, "tuesday/c.png")
    for expected in (1, 0):  # a second run is harmless
        counts = ingest_landing(landing)
        assert (counts["found"], counts["cataloged"], counts["vanished"]) == (1, expected, 0)
    rows = rows_of(landing)
    assert rows["VANISHED_AT"].isna().all() and len(rows) == 4
    assert landing.session.table(landing.rejected).count() == 1


def test_a_rejected_file_that_arrives_again_in_good_order_is_off_the_list(landing, folder):
    arrive(landing, folder, "monday/bad.png")
    assert ingest_landing(landing)["rejected"] == 1
    (folder / "monday" / "bad.png").write_bytes((folder / "tuesday" / "c.png").read_bytes())
    landing.session.sql(f"REMOVE {landing.landing_stage}").collect()
    arrive(landing, folder, "monday/bad.png")
    assert ingest_landing(landing)["cataloged"] == 1 and landing.session.table(landing.rejected).count() == 0


def test_any_other_stage_tells_what_it_holds_no_more(landing, folder):
    """The exception is for the landing stage alone."""
    session, other = landing.session, landing.qualified("OTHER")
    encryption = "ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')"
    session.sql(f"CREATE STAGE IF NOT EXISTS {other} DIRECTORY = (ENABLE = TRUE) {encryption}").collect()
    for name in ("TB/b.png", "tuesday/c.png"):
        session.file.put(f"file://{folder / name}", f"@{other}/TB", auto_compress=False)
    ingest(landing, f"@{other}")
    session.sql(f"REMOVE @{other}/TB/c.png").collect()
    assert ingest(landing, f"@{other}")["vanished"] == 1

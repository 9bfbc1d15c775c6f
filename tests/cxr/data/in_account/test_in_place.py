"""A stage is checked where it is: what a folder gives, no image on the client, a fixed number of statements."""

import builtins
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.broken_files import write_broken_files
from tests.cxr.data.test_any_labels import with_settings
from tests.cxr.data.test_ingest import add_up, staged
from tests.cxr.data.test_patient_ids import write_dicom
from tests.pictures import encoded

from cxr.data import catalog, ingest
from cxr.data.in_account import functions, in_place
from cxr.data.pixels import decoded
from cxr.phantoms.dataset import phantom, write_phantoms

STAGE = "@MEDICAL_IMAGES.CHEST_XRAY.IN_PLACE"
OPTIONS = "DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')"
KEY = "a key that nobody may read"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Phantoms, DICOM, odd and broken files, twins in one class and in two, odd names, a table beside them."""
    home = tmp_path_factory.mktemp("odd")
    write_phantoms(home, patients=5, size=96, seed=8)
    (home / "phantoms.json").unlink()
    write_broken_files(home / "NORMAL" / "broken")
    for number in range(4):
        write_dicom(home / "PNEUMONIA" / f"scan {number}", f"10{number // 2}", number, study=f"1.2.{number // 2}")
    first, second = sorted((home / "NORMAL").glob("*.jpeg"))[:2]
    shutil.copyfile(first, home / "NORMAL" / 'a, "copy" of it\'s.jpeg')
    shutil.copyfile(second, home / "PNEUMONIA" / "the same.jpeg")
    (home / "elsewhere").mkdir()
    shutil.copyfile(sorted((home / "PNEUMONIA").glob("*.jpeg"))[0], home / "elsewhere" / "Röntgen.jpeg")
    (home / "NORMAL" / "TB").mkdir()
    (home / "TB").mkdir()
    for place in (home / "TB", home / "NORMAL" / "TB"):
        shutil.copyfile(sorted((home / "PNEUMONIA").glob("*.jpeg"))[1], place / "two folders.jpeg")
    return home


@pytest.fixture
def stage(empty, folder):
    """The stage with the same files, under a path."""
    session = empty.session
    session.sql(f"CREATE OR REPLACE STAGE {STAGE[1:]} {OPTIONS}").collect()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        put(empty, file.read_bytes(), f"{STAGE}/in/{file.relative_to(folder).as_posix()}")
    yield f"{STAGE}/in"
    session.sql(f"DROP STAGE {STAGE[1:]}").collect()


def put(project, data: bytes, place: str) -> None:
    project.session.file.put_stream(io.BytesIO(data), place, auto_compress=False, overwrite=True)


def cleared(project):
    for table in (project.catalog, project.rejected, project.facts, project.pixels):
        project.session.sql(f"DELETE FROM {table}").collect()
    project.session.sql(f"REMOVE {project.images_stage}").collect()
    return project


def state(project) -> dict:
    """Catalog, rejections and stage, but for the source's name and the times."""
    rows, rejected = (
        project.session.table(name).sort(*order).to_pandas().drop(columns=drop).astype(object)
        for name, order, drop in (
            (project.catalog, ["IMAGE_ID"], ["SOURCE", "CATALOGED_AT", "SPLIT_AT"]),
            (project.rejected, ["SOURCE_NAME"], ["SOURCE", "REJECTED_AT"]),
        )
    )
    rows["VANISHED_AT"] = rows["VANISHED_AT"].notna()
    return {
        "catalog": rows.where(rows.notna(), None).to_dict("records"),
        "rejected": rejected.to_dict("records"),
        "staged": sorted(staged(project)),
    }


def test_a_stage_gives_what_the_folder_gives_to_the_last_column(empty, folder, stage):
    project = with_settings(empty, patient_key=KEY)
    results = []
    for source in (folder, stage):
        found = []
        counts = ingest.ingest(cleared(project), source, on_found=found.extend)
        assert add_up(counts)
        results.append((counts, state(project), sorted(found, key=lambda file: file.source_name)))
    (counts, tables, found), (others, their_tables, their_found) = results
    for name, rows in tables.items():
        assert len(rows) == len(their_tables[name])
        for row, other in zip(rows, their_tables[name], strict=True):
            assert row == other, name
    assert counts == others and found == their_found
    reasons = {row["REASON"] for row in tables["rejected"]}
    assert {"two_classes", "duplicate", "unreadable", "truncated", "not_greyscale", "empty"} <= reasons
    assert {row["PATIENT_FROM"] for row in tables["catalog"]} == {"name", "header", "none"}


def test_a_table_tells_labels_and_patients_of_a_stage_too(empty, folder, stage, tmp_path):
    table = tmp_path / "told.csv"
    names = sorted(path.relative_to(folder).as_posix() for path in (folder / "NORMAL").glob("*.jpeg"))
    told = {"file": names[1:], "label": "NORMAL", "patient_id": [f"P{number // 2}" for number in range(len(names) - 1)]}
    pd.DataFrame(told).to_csv(table, index=False)
    project = with_settings(empty, patient_key=KEY, data_csv=str(table))
    states = []
    for source in (folder, stage):
        counts = ingest.ingest(cleared(project), source)
        states.append((counts, state(project)))
    assert states[0] == states[1] and states[0][0]["patients_by_table"] > 1


def test_a_second_run_looks_at_nothing_twice_and_places_nothing(empty, stage, monkeypatch):
    project = with_settings(empty, patient_key=KEY)
    first = ingest.ingest(cleared(project), stage)
    before = state(project)
    monkeypatch.setattr(in_place._Look, "_place", lambda *_: pytest.fail("placed again"))
    second = ingest.ingest(project, stage)
    assert second == first | {"cataloged": 0, "already_there": first["cataloged"] + first["already_there"]}
    assert state(project) == before


def test_an_image_that_the_stage_has_lost_comes_back(empty, stage):
    project = with_settings(empty, patient_key=KEY)
    ingest.ingest(cleared(project), stage)
    before = state(project)
    project.session.sql(f"REMOVE {project.images_stage}/{before['staged'][0]}").collect()
    ingest.ingest(project, stage)
    assert state(project) == before


def test_parts_give_what_one_part_gives(empty, stage, monkeypatch):
    project = with_settings(empty, patient_key=KEY)
    counts = ingest.ingest(cleared(project), stage)
    before = state(project)
    monkeypatch.setattr(in_place, "AT_ONCE", 7)
    assert ingest.ingest(cleared(project), stage) == counts and state(project) == before


def images_read_here(monkeypatch, project) -> list[str]:
    """Every image that this process opens or fetches from now on."""
    seen, opened = [], builtins.open

    def watched(file, mode="r", *arguments, **options):
        path = Path(file) if isinstance(file, (str, os.PathLike)) else Path()
        copied = path.parent.name == "files" or "cxr-images-" in str(path) and path.name != "rows.csv"
        if "r" in mode and (copied or path.suffix in (".jpeg", ".png", ".dcm", ".tiff")):
            seen.append(str(path))
        return opened(file, mode, *arguments, **options)

    def fetched(way):
        return lambda self, place, *arguments, **options: seen.append(place) or way(self, place, *arguments, **options)

    monkeypatch.setattr(builtins, "open", watched)
    monkeypatch.setattr(io, "open", watched)
    for way in ("get", "get_stream"):
        kind = type(project.session.file)
        monkeypatch.setattr(kind, way, fetched(getattr(kind, way)))
    return seen


def test_from_a_stage_to_pixels_no_image_comes_here(empty, stage, monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    project = with_settings(empty, patient_key=KEY, decode_in="account")
    seen = images_read_here(monkeypatch, project)
    assert ingest.ingest(cleared(project), stage)["cataloged"] > 10
    rows = catalog.read_catalog(project)
    assert len(decoded(project, rows)) == len(rows)
    assert not seen
    decoded(with_settings(project, decode_in="client", image_size=32), rows)
    assert len([place for place in seen if place[0] == "/"]) >= len(rows) and [place for place in seen if "@" in place]


def test_the_number_of_statements_does_not_depend_on_the_number_of_files(empty, stage, monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    project, counts = with_settings(empty, patient_key=KEY, decode_in="account"), []
    for name in ("NORMAL/1.jpeg", "PNEUMONIA/1.jpeg"):
        picture = phantom("NORMAL", rng=np.random.default_rng(len(name)), size=96)
        put(project, encoded(picture, "JPEG"), f"{STAGE}/less/{name}")
    for path in (f"{STAGE}/less", stage):
        with cleared(project).session.query_history() as history:
            cataloged = ingest.ingest(project, path)["cataloged"]
            decoded(project, catalog.read_catalog(project))
        counts.append((cataloged, len(history.queries)))
    assert counts[0][0] == 2 and counts[1][0] > 10 and counts[0][1] == counts[1][1]


def test_the_key_is_in_no_statement_and_in_no_log(empty, stage):
    project = with_settings(empty, patient_key=KEY)
    with project.session.query_history() as history:
        ingest.ingest(cleared(project), stage)
    assert history.queries and not [query.sql_text for query in history.queries if KEY in query.sql_text]
    account = Path(project.settings.account_dir)
    logs = [path for path in account.rglob("*.log*") if path.is_file()]
    assert logs and not [path.name for path in logs if KEY.encode() in path.read_bytes()]
    assert KEY.encode() not in b"".join(path.read_bytes() for path in account.rglob("*.py"))


def test_a_file_that_is_overwritten_after_the_look_never_comes_under_the_old_id(empty, folder, stage, monkeypatch):
    project = with_settings(empty, patient_key=KEY)
    name = sorted(path.relative_to(folder).as_posix() for path in (folder / "PNEUMONIA").glob("*.jpeg"))[0]
    place = in_place._Look._place

    def late(self, names):
        put(project, b"other bytes", f"{stage}/{name}")
        place(self, names)

    monkeypatch.setattr(in_place._Look, "_place", late)
    counts = ingest.ingest(cleared(project), stage)
    changed = project.session.sql(
        f"SELECT SOURCE_NAME, DETAIL FROM {project.rejected} WHERE REASON = 'changed'"
    ).collect()
    assert name in {row[0] for row in changed} and "next run looks at it again" in changed[0][1]
    assert add_up(counts)
    monkeypatch.undo()
    rows = project.session.table(project.catalog).to_pandas()
    assert name not in set(rows["SOURCE_NAME"]) and set(rows["RELATIVE_PATH"]) == staged(project)


def test_nothing_changes_if_no_file_of_the_stage_can_be_read(empty, stage, monkeypatch):
    project = with_settings(empty, patient_key=KEY)
    ingest.ingest(cleared(project), stage)
    before = state(project)
    nowhere = in_place._HASH.replace("T.PLACE),", "'nowhere/' || T.PLACE),")
    monkeypatch.setattr(in_place, "_HASH", nowhere)
    with pytest.raises(ValueError, match=r"None of the \d+ files .*IN_PLACE/in can be read .*FileNotFoundError"):
        ingest.ingest(project, stage)
    assert state(project) == before
    # A single file that can be read is enough, whatever it holds; an unreadable one is only listed.
    monkeypatch.setattr(
        in_place, "_HASH", nowhere.replace("'nowhere/'", "IFF(T.PLACE LIKE '%broken%', '', 'nowhere/')")
    )
    assert ingest.ingest(project, stage)["vanished"] > 0


def test_a_function_that_is_not_there_is_said(empty, stage, monkeypatch):
    monkeypatch.setattr(functions, "_PACKAGES", ("no-such-package",))
    with pytest.raises(Exception, match="no-such-package"):
        ingest.ingest(with_settings(empty, patient_key=KEY), stage)

"""Images in folders by their ids, beside those of earlier versions, which lie in one folder."""

from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest
from tests.cxr.data.test_ingest import copied, mount_of, phantoms, rows_of, staged  # noqa: F401 - a fixture

from cxr.account import staged_images
from cxr.data import catalog, ingest, sources
from cxr.data.pixels import cache_directory, decoded, fetch_files
from cxr.lifecycle.forgetting import find_patient, forget


@pytest.fixture
def mixed(empty, phantoms, tmp_path, monkeypatch):  # noqa: F811
    """(project, folder): half of the images were cataloged by an earlier version and lie flat, the others as now."""
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    files = sorted(phantoms.rglob("*.jpeg"))[::2]
    folder = copied(files[::2], phantoms, tmp_path / "images")
    ingest.ingest(empty, folder)
    lay_flat(empty, list(rows_of(empty, "catalog_table")["RELATIVE_PATH"]))
    copied(files, phantoms, folder)
    ingest.ingest(empty, folder)
    return empty, folder


def lay_flat(project, places: list[str]) -> None:
    flat = [(place, f"xrays/{PurePosixPath(place).name}") for place in places]
    sources.copy_files(project.session, f"{project.images_stage}/", project.images_stage, flat)
    project.session.sql(f"REMOVE {project.images_stage} PATTERN = 'xrays/[0-9a-f]{{2}}/.*'").collect()
    changed = "RELATIVE_PATH = 'xrays/' || SPLIT_PART(RELATIVE_PATH, '/', -1)"
    project.session.sql(f"UPDATE {project.catalog} SET {changed}").collect()
    sources.refresh(project.session, project.images_stage[1:])


def test_new_images_lie_by_the_first_two_digits_of_their_ids(empty, phantoms):  # noqa: F811
    ingest.ingest(empty, phantoms)
    for row in rows_of(empty, "catalog_table").itertuples():
        assert row.RELATIVE_PATH == f"xrays/{row.IMAGE_ID[:2]}/{row.IMAGE_ID}.jpeg"


def test_images_that_lie_flat_are_neither_moved_nor_doubled(mixed):
    project, folder = mixed
    before = rows_of(project, "catalog_table")
    assert {place.count("/") for place in before["RELATIVE_PATH"]} == {1, 2}, "both layouts"
    assert staged(project) == set(before["RELATIVE_PATH"])
    assert ingest.ingest(project, folder)["already_there"] == len(before)
    assert rows_of(project, "catalog_table").equals(before)
    assert staged(project) == set(before["RELATIVE_PATH"])


@pytest.mark.parametrize("mounted", [False, True])
def test_pixels_are_those_of_the_rows_in_either_layout(mixed, tmp_path, mounted):
    project, folder = mixed
    if mounted:
        project = replace(project, settings=replace(project.settings, images_mount=str(mount_of(project, tmp_path))))
    rows = catalog.read_catalog(project)
    for file, name in zip(fetch_files(project, rows), rows["SOURCE_NAME"], strict=True):
        assert file.read_bytes() == (folder / name).read_bytes()
    assert len(np.unique(decoded(project, rows), axis=0)) == len(rows)


def test_what_a_mount_does_not_show_yet_is_fetched(mixed, tmp_path):
    project, folder = mixed
    mount = mount_of(project, tmp_path / "mount")
    project = replace(project, settings=replace(project.settings, images_mount=str(mount)))
    rows = catalog.read_catalog(project)
    (mount / rows["RELATIVE_PATH"].iloc[0]).unlink()
    files = fetch_files(project, rows)
    assert [mount in file.parents for file in files] == [False] + [True] * (len(rows) - 1)
    assert files[0].read_bytes() == (folder / rows["SOURCE_NAME"].iloc[0]).read_bytes()
    project.session.sql(f"REMOVE {project.images_stage}/{rows['RELATIVE_PATH'].iloc[0]}").collect()
    files[0].unlink()
    with pytest.raises(FileNotFoundError, match=f"1 of {len(rows)} cataloged images are not on @"):
        fetch_files(project, rows)


@pytest.mark.parametrize("work", [1, 10_000])
def test_only_the_wanted_files_are_fetched(mixed, monkeypatch, work):
    """Folder by folder, and through all at once."""
    monkeypatch.setattr(staged_images, "_FEW_FOLDERS", 2)
    monkeypatch.setattr(staged_images, "_FILES_LIKE_A_GET", work)
    project, _ = mixed
    rows = catalog.read_catalog(project)
    layouts = rows.groupby(rows["RELATIVE_PATH"].str.count("/"))
    some = layouts.head(2)
    assert set(fetch_files(project, some)) == set((cache_directory() / "files").iterdir())
    later = layouts.head(3)
    kept = {file: file.stat().st_mtime_ns for file in (cache_directory() / "files").iterdir()}
    fetch_files(project, later)
    assert len(list((cache_directory() / "files").iterdir())) == len(later)
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items()), "what is here is not fetched again"


def test_a_flat_file_that_the_stage_has_lost_comes_back_in_its_folder(mixed):
    project, folder = mixed
    before = rows_of(project, "catalog_table").set_index("IMAGE_ID")
    lost = before[before["RELATIVE_PATH"].str.count("/") == 1].iloc[0]
    project.session.sql(f"REMOVE {project.images_stage}/{lost['RELATIVE_PATH']}").collect()
    ingest.ingest(project, folder)
    after = rows_of(project, "catalog_table").set_index("IMAGE_ID").loc[before.index]
    assert after.loc[lost.name, "RELATIVE_PATH"] == f"xrays/{lost.name[:2]}/{lost.name}.jpeg"
    assert after.drop(columns="RELATIVE_PATH").equals(before.drop(columns="RELATIVE_PATH"))
    sources.refresh(project.session, project.images_stage[1:])
    assert staged(project) == set(after["RELATIVE_PATH"])


def test_a_patient_is_forgotten_wherever_a_file_lies(mixed):
    """Also where a run of an earlier version was killed before it cataloged the image that a later one cataloged."""
    project, _ = mixed
    rows = catalog.read_catalog(project)
    row = rows[rows["RELATIVE_PATH"].str.count("/") == 2].iloc[0]
    left = (row["RELATIVE_PATH"], f"xrays/{row['IMAGE_ID']}.jpeg")
    sources.copy_files(project.session, f"{project.images_stage}/", project.images_stage, [left])
    forget(project, find_patient(project, row["PATIENT_ID"]))
    others = rows[rows["PATIENT_ID"] != row["PATIENT_ID"]]
    assert staged(project) == set(others["RELATIVE_PATH"])

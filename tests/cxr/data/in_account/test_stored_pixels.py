"""PIXELS: the warehouse decodes each image once, and whoever reads gets what the files give."""

import numpy as np
import pytest
from tests.cxr.data.test_any_labels import with_settings
from tests.cxr.data.test_ingest import phantoms  # noqa: F401 - a fixture

from cxr.account import migrate
from cxr.data import catalog, ingest, pixels
from cxr.data.in_account import functions, handlers, stored_pixels
from cxr.data.pixels import decoded
from cxr.model.preprocessing import PREPROCESSING_VERSION, BadImage


@pytest.fixture
def cataloged(empty, phantoms, tmp_path, monkeypatch):  # noqa: F811
    """(project that decodes in the account, catalog)."""
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    project = with_settings(empty, decode_in="account")
    project.session.sql(f"DELETE FROM {project.pixels}").collect()
    ingest.ingest(project, phantoms)
    return project, catalog.read_catalog(project)


def another_cache(monkeypatch, tmp_path, name: str) -> None:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / name))


def rows_of(project):
    return project.session.table(project.pixels).sort("IMAGE_ID").to_pandas()


def test_both_ways_give_the_same_pixels_and_only_one_needs_files(cataloged, monkeypatch, tmp_path):
    project, rows = cataloged
    monkeypatch.setattr(pixels, "fetch_files", lambda *_: pytest.fail("files were fetched"))
    there = decoded(project, rows)
    assert not there.flags.writeable and there.shape == (len(rows), 64, 64)
    assert not list(pixels.cache_directory().glob("files/*"))
    monkeypatch.undo()
    another_cache(monkeypatch, tmp_path, "client")
    here = decoded(with_settings(project, decode_in="client"), rows)
    assert np.array_equal(here, there) and len(np.unique(here, axis=0)) == len(rows)
    kept = rows_of(project)
    assert set(kept["DECODERS"]) == {handlers.DECODERS} and set(kept["SIDE"]) == {64}
    assert set(kept["PREPROCESSING_VERSION"]) == {PREPROCESSING_VERSION}
    by_id = dict(zip(rows["IMAGE_ID"], here, strict=True))
    assert {row.IMAGE_ID: row.PIXELS for row in kept.itertuples()} == {k: v.tobytes() for k, v in by_id.items()}


def test_what_is_decoded_is_read_and_only_the_rest_is_decoded(cataloged, monkeypatch, tmp_path):
    project, rows = cataloged
    first = decoded(project, rows.head(10))
    marked = rows["IMAGE_ID"][3]
    change = f"UPDATE {project.pixels} SET PIXELS = TO_BINARY(REPEAT('00', 64 * 64), 'HEX') WHERE IMAGE_ID = ?"
    project.session.sql(change, params=[marked]).collect()
    stack = decoded(project, rows)
    assert not stack[3].any() and np.array_equal(np.delete(stack[:10], 3, 0), np.delete(first, 3, 0))
    assert len(rows_of(project)) == len(rows)
    another_cache(monkeypatch, tmp_path, "container")
    monkeypatch.setattr(functions, "define", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(decoded(project, rows), stack), "a second container only reads"
    backwards = rows.iloc[::-1]
    assert np.array_equal(decoded(project, backwards), stack[::-1]), "in the order of the catalog that is given"


def test_each_size_has_rows_of_its_own(cataloged):
    project, rows = cataloged
    for size in (64, 96):
        assert decoded(with_settings(project, image_size=size), rows).shape[1] == size
    assert rows_of(project)["SIDE"].value_counts().to_dict() == {64: len(rows), 96: len(rows)}


def overwrite(project, place: str, data: bytes, tmp_path) -> None:
    home, _, name = place.rpartition("/")
    (tmp_path / name).write_bytes(data)
    project.session.file.put(
        f"file://{tmp_path / name}", f"{project.images_stage}/{home}", auto_compress=False, overwrite=True
    )


def test_a_file_that_does_not_decode_is_named_and_the_others_are_kept(cataloged, tmp_path):
    project, rows = cataloged
    overwrite(project, rows["RELATIVE_PATH"][2], b"no image", tmp_path)
    name = rows["RELATIVE_PATH"][2].rpartition("/")[2]
    with pytest.raises(BadImage, match=f"changed: {name}: .* run notebooks/02_data_ingest"):
        decoded(project, rows)
    assert len(rows_of(project)) == len(rows) - 1
    assert not list(pixels.cache_directory().glob("*decoded-*")), "nothing half-built is left"
    assert len(decoded(project, rows.drop(2))) == len(rows) - 1


def test_an_account_of_before_gets_the_table(cataloged):
    project, rows = cataloged
    project.session.sql(f"DROP TABLE {project.pixels}").collect()
    assert migrate.upgrade(project) == ["PIXELS: created"] and migrate.upgrade(project) == []
    project.session.sql(f"DROP TABLE {project.pixels}").collect()
    assert len(decoded(project, rows)) == len(rows), "also where nobody upgraded it before"


def test_rows_that_another_session_removed_meanwhile_are_missed(cataloged, monkeypatch):
    project, rows = cataloged
    fill = stored_pixels.fill

    def then_removed(project, *arguments):
        fill(project, *arguments)
        project.session.sql(f"DELETE FROM {project.pixels} WHERE IMAGE_ID = ?", params=[rows["IMAGE_ID"][0]]).collect()

    monkeypatch.setattr(stored_pixels, "fill", then_removed)
    with pytest.raises(RuntimeError, match=f"lacks 1 of {len(rows)} images"):
        decoded(project, rows)


def test_the_account_decodes_unless_a_laptop_has_few_images_or_the_setting_says_otherwise(cataloged, monkeypatch):
    project, _ = cataloged
    unset = with_settings(project, decode_in="")
    assert [pixels.decodes_in_account(unset, images) for images in (pixels.FEW - 1, pixels.FEW)] == [False, True]
    assert pixels.decodes_in_account(project, 1)
    assert not pixels.decodes_in_account(with_settings(project, decode_in="client"), 10**6)
    monkeypatch.setattr(pixels, "is_local", lambda session: False)
    assert pixels.decodes_in_account(unset, 1)
    with pytest.raises(ValueError, match="decode_in='moon'"):
        with_settings(project, decode_in="moon")

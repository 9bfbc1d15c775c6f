"""Ingest into an account, and images back out of it: nothing lost, nothing twice."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from cxr import catalog, dataset, images, objects, runs, serving, tables
from cxr.broken_files import write_broken_files
from cxr.phantoms import write_phantoms


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), patients=12, size=128, seed=3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))


def staged(session, settings) -> set[str]:
    rows = session.sql(f"SELECT RELATIVE_PATH FROM DIRECTORY({settings.images})").collect()
    return {row[0] for row in rows}


def test_the_catalog_and_the_stage_hold_every_image_under_its_hash(empty, phantoms):
    session, settings = empty
    counts = catalog.ingest(session, phantoms, settings)
    rows = catalog.read_catalog(session, settings)
    assert counts["found"] == counts["cataloged"] == len(rows)
    assert set(rows["RELATIVE_PATH"]) == staged(session, settings)
    for row in rows.itertuples():
        data = (phantoms / row.SOURCE_NAME).read_bytes()
        assert row.IMAGE_ID == hashlib.sha256(data).hexdigest() and row.BYTES == len(data)
    assert rows.groupby("PATIENT_ID")["SPLIT"].nunique().max() == 1


def test_a_second_run_adds_nothing_and_a_later_one_only_what_is_new(empty, phantoms, tmp_path):
    session, settings = empty
    files = sorted(phantoms.rglob("*.jpeg"))
    part = tmp_path / "part"
    for file in files[::2]:
        (part / file.parent.name).mkdir(parents=True, exist_ok=True)
        (part / file.parent.name / file.name).write_bytes(file.read_bytes())
    first = catalog.ingest(session, part, settings)
    splits = catalog.read_catalog(session, settings).set_index("IMAGE_ID")["SPLIT"]
    assert catalog.ingest(session, part, settings) == {
        "found": first["found"], "cataloged": 0, "rejected": 0, "already_there": first["found"],
    }  # fmt: skip
    rest = catalog.ingest(session, phantoms, settings)
    assert rest["cataloged"] == len(files) - first["found"] and rest["already_there"] == first["found"]
    after = catalog.read_catalog(session, settings)
    assert after.groupby("PATIENT_ID")["SPLIT"].nunique().max() == 1
    assert after.set_index("IMAGE_ID")["SPLIT"].loc[splits.index].equals(splits)


def test_broken_files_are_rejected_with_their_reasons_and_the_run_goes_on(empty, tmp_path):
    session, settings = empty
    (tmp_path / "data" / "NORMAL").mkdir(parents=True)
    expected = write_broken_files(tmp_path / "data" / "NORMAL", seed=0)
    counts = catalog.ingest(session, tmp_path / "data", settings)
    assert counts["found"] == counts["cataloged"] + counts["rejected"] == len(expected)
    rejected = session.table(settings.qualified(settings.rejected_table)).to_pandas()
    reasons = {
        name.removeprefix("NORMAL/"): reason
        for name, reason in zip(rejected["SOURCE_NAME"], rejected["REASON"], strict=True)
    }
    bad = {name: reason for name, reason in expected.items() if reason not in ("ok", "duplicate")}
    assert {name: reasons.get(name) for name in bad} == bad
    assert list(reasons.values()).count("duplicate") == list(expected.values()).count("duplicate")


def test_decoded_images_are_those_of_the_preprocessing_and_are_built_once(empty, phantoms):
    session, settings = empty
    catalog.ingest(session, phantoms, settings)
    rows = catalog.read_catalog(session, settings)
    stack = dataset.decoded(session, rows, settings)
    for pixels, name in zip(stack, rows["SOURCE_NAME"], strict=True):
        assert np.array_equal(pixels, images.load((phantoms / name).read_bytes(), settings.image_size))
    (cached,) = dataset.cache_directory().glob("decoded-*.npy")
    before = cached.stat().st_mtime_ns
    dataset.decoded(session, rows, settings)
    assert cached.stat().st_mtime_ns == before
    half = cached.with_suffix(".half")
    half.write_bytes(cached.read_bytes()[:1000])
    half.replace(cached)
    assert np.array_equal(dataset.decoded(session, rows, settings), stack)
    assert len(dataset.decoded(session, rows.head(3), settings)) == 3


def test_files_that_vanished_from_the_stage_are_missed_by_number(empty, phantoms):
    session, settings = empty
    catalog.ingest(session, phantoms, settings)
    rows = catalog.read_catalog(session, settings)
    session.sql(f"REMOVE {settings.images}/{rows['RELATIVE_PATH'].iloc[0]}").collect()
    with pytest.raises(FileNotFoundError, match=f"1 of {len(rows)} cataloged images"):
        dataset.decoded(session, rows, settings)


def test_an_empty_catalog_says_which_notebook_to_run(empty):
    session, settings = empty
    with pytest.raises(LookupError, match="02_data_ingest"):
        catalog.read_catalog(session, settings)
    with pytest.raises(LookupError, match="03_train"):
        runs.latest(session, settings)


def test_rows_are_appended_with_the_tables_types_even_when_a_column_is_empty(empty):
    session, settings = empty
    answers = pd.DataFrame({"P_PNEUMONIA": [np.nan, 0.25], "LABEL": [None, "NORMAL"], "STATUS": ["blank: x", "ok"]})
    for part in (answers.head(1), answers):
        serving.write_predictions(session, settings, ["a", "b"][: len(part)], part, "V1", "WAREHOUSE")
    table = session.table(settings.qualified(settings.predictions_table)).to_pandas()
    assert len(table) == 3 and table["P_PNEUMONIA"].notna().sum() == 1
    assert table["SCORED_AT"].notna().all()
    with pytest.raises(KeyError, match="NO_SUCH"):
        tables.append(session, settings.qualified(settings.predictions_table), pd.DataFrame({"NO_SUCH": [1]}))


def test_set_up_can_run_again_and_says_what_is_ready(account):
    session, settings = account
    from cxr.session import PROJECT

    objects.run_sql_file(session, PROJECT / "sql" / "20_objects.sql", settings)
    ready = objects.readiness(session, settings)
    assert ready["ready"].all() and set(ready["kind"]) == {"WAREHOUSE", "COMPUTE POOL", "STAGE", "TABLE"}

"""Ingest into an account, and images back out of it: nothing lost, nothing twice."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.broken_files import DUPLICATE, write_broken_files
from tests.cxr.data.test_any_labels import with_settings

from cxr.account import scripts, tables
from cxr.account.readiness import readiness
from cxr.account.session import PROJECT
from cxr.data import catalog, ingest, overview
from cxr.data.pixels import cache_directory, decoded
from cxr.lifecycle import runs
from cxr.model import preprocessing
from cxr.phantoms.dataset import write_phantoms
from cxr.serving.predictions import write_predictions


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), patients=12, size=128, seed=3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))


def staged(project) -> set[str]:
    rows = project.session.sql(f"SELECT RELATIVE_PATH FROM DIRECTORY({project.images_stage})").collect()
    return {row[0] for row in rows}


def copied(files, phantoms, folder):
    for file in files:
        place = folder / file.relative_to(phantoms)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return folder


def rows_of(project, name) -> pd.DataFrame:
    return project.session.table(project.qualified(getattr(project.settings, name))).to_pandas()


def mount_of(project, folder):
    """A folder with the files of the images stage, as its mount shows them."""
    for place in staged(project):
        project.session.file.get(f"{project.images_stage}/{place}", (folder / place).parent.as_posix())
    return folder


def add_up(counts) -> bool:
    return counts["found"] == counts["cataloged"] + counts["rejected"] + counts["already_there"]


def test_the_catalog_and_the_stage_hold_every_image_under_its_hash(empty, phantoms):
    project = empty
    counts = ingest.ingest(project, phantoms)
    rows = catalog.read_catalog(project)
    assert counts["found"] == counts["cataloged"] == len(rows)
    assert set(rows["RELATIVE_PATH"]) == staged(project)
    for row in rows.itertuples():
        data = (phantoms / row.SOURCE_NAME).read_bytes()
        assert row.IMAGE_ID == hashlib.sha256(data).hexdigest() and row.BYTES == len(data)
    assert rows.groupby("PATIENT_ID")["SPLIT"].nunique().max() == 1
    assert set(rows.groupby("SPLIT")["LABEL"].nunique()) == {2}, "each split holds both labels"


def test_a_second_run_adds_nothing_and_a_later_one_only_what_is_new(empty, phantoms, tmp_path):
    project = empty
    files = sorted(phantoms.rglob("*.jpeg"))
    part = copied(files[::2], phantoms, tmp_path / "part")
    first = ingest.ingest(project, part)
    splits = catalog.read_catalog(project).set_index("IMAGE_ID")["SPLIT"]
    again = ingest.ingest(project, part)
    assert again == first | {"cataloged": 0, "already_there": first["found"]}
    rest = ingest.ingest(project, copied(files, phantoms, part))
    assert rest["cataloged"] == len(files) - first["found"] and rest["already_there"] == first["found"]
    after = catalog.read_catalog(project)
    assert after.groupby("PATIENT_ID")["SPLIT"].nunique().max() == 1
    assert after.set_index("IMAGE_ID")["SPLIT"].loc[splits.index].equals(splits)


def test_broken_files_are_rejected_with_their_reasons_and_the_run_goes_on(empty, tmp_path):
    project = empty
    home = tmp_path / "data" / "NORMAL"
    expected = write_broken_files(home, seed=0)
    counts = ingest.ingest(project, tmp_path / "data")
    assert add_up(counts) and counts["found"] == len(expected)
    rejected = rows_of(project, "rejected_table")
    reasons = dict(zip(rejected["SOURCE_NAME"].str.removeprefix("NORMAL/"), rejected["REASON"], strict=True))
    # Of twins the first by name is kept.
    twins = {DUPLICATE, "plain.jpeg"}
    assert {n: r for n, r in reasons.items() if n not in twins} == {
        name: reason for name, reason in expected.items() if reason != "ok" and name not in twins
    }
    assert [reasons.get(name) for name in sorted(twins)] == [None, "duplicate"]
    for name in reasons:
        (home / name).unlink()
    assert ingest.ingest(project, tmp_path / "data")["rejected"] == 0
    assert rows_of(project, "rejected_table").empty, "what is no longer there is no longer rejected"


def test_a_changed_file_is_a_new_version_and_a_vanished_one_is_marked(empty, phantoms, tmp_path):
    project = empty
    files = sorted(phantoms.rglob("*.jpeg"))
    folder = copied(files[:6], phantoms, tmp_path / "changing")
    here = [folder / file.relative_to(phantoms) for file in files]
    ingest.ingest(project, folder)
    kept = here[2].read_bytes()
    here[0].unlink()
    shutil.copyfile(files[7], here[1])
    here[2].rename(here[2].with_name("IM-9999-0001.jpeg"))
    counts = ingest.ingest(project, folder)
    assert add_up(counts)
    assert {n: counts[n] for n in ("cataloged", "vanished", "changed", "rejected")} == {
        "cataloged": 1, "vanished": 2, "changed": 1, "rejected": 0,
    }  # fmt: skip
    rows = rows_of(project, "catalog_table").set_index("SOURCE_NAME")
    assert rows.loc[[file.relative_to(folder).as_posix() for file in here[:2]], "VANISHED_AT"].notna().sum() == 2
    moved = rows.loc["NORMAL/IM-9999-0001.jpeg"]
    assert moved["IMAGE_ID"] == hashlib.sha256(kept).hexdigest() and pd.isna(moved["VANISHED_AT"])
    assert len(catalog.read_catalog(project)) == 5, "training sees what is there"
    copied(files[:2], phantoms, folder)
    assert ingest.ingest(project, folder)["vanished"] == 1, "the old content is back, the new one gone"
    assert len(catalog.read_catalog(project)) == 6


def test_another_source_neither_hides_images_nor_doubles_them(empty, phantoms, tmp_path):
    project = empty
    files = sorted(phantoms.rglob("*.jpeg"))
    one, two = (copied(part, phantoms, tmp_path / name) for name, part in (("1", files[:4]), ("2", files[2:6])))
    ingest.ingest(project, one)
    assert add_up(counts := ingest.ingest(project, two)) and counts["already_there"] == 2
    assert len(catalog.read_catalog(project)) == 6
    for file in files[:4]:
        (one / file.relative_to(phantoms)).unlink()
    copied(files[6:7], phantoms, one)
    assert ingest.ingest(project, one)["vanished"] == 4
    ingest.ingest(project, two)
    assert len(catalog.read_catalog(project)) == 5, "what the second source holds too is taken over by it"


def test_the_same_bytes_under_two_classes_are_refused_by_name_wherever_they_lie(empty, phantoms, tmp_path):
    project = empty
    (sick, *_), (healthy, *_) = (sorted(phantoms.glob(f"{label}/*")) for label in ("PNEUMONIA", "NORMAL"))
    folder = copied([sick, healthy], phantoms, tmp_path)
    assert ingest.ingest(project, folder)["cataloged"] == 2
    shutil.copyfile(sick, folder / "NORMAL" / "IM-0900-0001.jpeg")
    counts = ingest.ingest(project, folder)
    assert add_up(counts) and (counts["rejected"], counts["already_there"], counts["vanished"]) == (2, 1, 1)
    rejected = rows_of(project, "rejected_table")
    assert set(rejected["REASON"]) == {"two_classes"}
    assert set(rejected["SOURCE_NAME"]) == {"NORMAL/IM-0900-0001.jpeg", f"PNEUMONIA/{sick.name}"}
    assert "NORMAL and PNEUMONIA" in rejected["DETAIL"][0] and "several findings" in rejected["DETAIL"][0]
    assert catalog.read_catalog(project)["SOURCE_NAME"].tolist() == [f"NORMAL/{healthy.name}"]
    (folder / "NORMAL" / "IM-0900-0001.jpeg").unlink()
    assert ingest.ingest(project, folder)["labelled"] == 1 and len(catalog.read_catalog(project)) == 2


def test_of_twins_the_one_that_is_cataloged_already_stays(empty, phantoms, tmp_path):
    project = empty
    (healthy, *_) = sorted(phantoms.glob("NORMAL/*"))
    folder = copied([healthy], phantoms, tmp_path)
    ingest.ingest(project, folder)
    shutil.copyfile(healthy, folder / "NORMAL" / "A-0001.jpeg")  # first by name
    assert ingest.ingest(project, folder)["rejected"] == 1
    assert rows_of(project, "rejected_table")["SOURCE_NAME"].tolist() == ["NORMAL/A-0001.jpeg"]
    assert catalog.read_catalog(project)["SOURCE_NAME"].tolist() == [f"NORMAL/{healthy.name}"]


def test_what_one_source_has_rejected_is_no_business_of_another(empty, phantoms, tmp_path):
    project = empty
    one, two = (copied(sorted(phantoms.rglob("*.jpeg"))[:1], phantoms, tmp_path / name) for name in ("1", "2"))
    for folder in (one, two):
        (folder / "NORMAL" / "IM-0900-0001.jpeg").write_text("no image")
        ingest.ingest(project, folder)
    rejected = rows_of(project, "rejected_table")
    assert len(rejected) == rejected["SOURCE"].nunique() == 2
    (two / "NORMAL" / "IM-0900-0001.jpeg").unlink()
    ingest.ingest(project, two)
    assert len(rows_of(project, "rejected_table")) == 1


def test_phantoms_leave_when_other_images_come_and_the_reverse(empty, phantoms, tmp_path):
    project = empty
    files = sorted(phantoms.rglob("*.jpeg"))
    made, real = (copied(part, phantoms, tmp_path / name) for name, part in (("made", files[:3]), ("real", files[3:8])))
    shutil.copyfile(phantoms / "phantoms.json", made / "phantoms.json")
    for folder, count in ((made, 3), (real, 5), (made, 3)):
        ingest.ingest(project, folder)
        assert len(catalog.read_catalog(project)) == count


def test_near_duplicates_are_flagged_not_dropped(empty, phantoms, tmp_path):
    project = empty
    first, second, *_ = sorted(phantoms.glob("NORMAL/*"))
    folder = copied([first, second], phantoms, tmp_path)
    Image.open(first).resize((200, 200)).save(folder / "NORMAL" / "IM-0900-0001.png")
    assert ingest.ingest(project, folder)["cataloged"] == 3
    rows = rows_of(project, "catalog_table").set_index("SOURCE_NAME")
    pair = rows.loc[[f"NORMAL/{first.name}", "NORMAL/IM-0900-0001.png"], "IMAGE_ID"].tolist()
    (flagged,) = rows[rows["NEAR_DUPLICATE_OF"].notna()].itertuples()
    assert [flagged.NEAR_DUPLICATE_OF, flagged.IMAGE_ID] == sorted(pair)
    (row,) = catalog.near_duplicates(project).itertuples()
    splits = rows["SPLIT"].to_dict()
    assert (row.SPLIT, row.LIKE_SPLIT) == (splits[row.SOURCE_NAME], splits[row.LIKE_NAME])


def test_a_table_gives_labels_and_patients(empty, phantoms, tmp_path):
    project = empty
    for number, file in enumerate(sorted(phantoms.rglob("*.jpeg"))[:3]):
        shutil.copyfile(file, tmp_path / f"{number}.jpeg")
    table = tmp_path / "told.csv"
    table.write_text("file,label,patient_id\n0.jpeg,NORMAL,A\n1.jpeg,PNEUMONIA,A\n5.jpeg,NORMAL,B\n")
    counts = ingest.ingest(with_settings(project, data_csv=str(table)), tmp_path)
    assert add_up(counts) and (counts["cataloged"], counts["rejected"], counts["documents"]) == (3, 0, 1)
    assert (counts["table_rows_left"], counts["files_without_row"], counts["unlabelled"]) == (1, 1, 1)
    assert (counts["patients_by_table"], counts["patients_by_none"]) == (2, 1)
    rows = catalog.read_catalog(project)
    assert set(rows["LABEL"]) == {"NORMAL", "PNEUMONIA"} and rows["PATIENT_ID"].nunique() == 1


INGEST = """
import json, sys
from snowflake.snowpark import Session
from cxr.account import session
from cxr.account.project import Project
from cxr.data import checking, ingest
from cxr.settings import load
account, folder = sys.argv[1:]
checking.BATCH = 4
settings = load(argv=[], environ={}, account_dir=account, profile="smoke")
opened = Session.builder.configs(session.start_local_account(settings)).create()
session.use_schema(opened, settings)
print(json.dumps(ingest.ingest(Project(opened, settings), folder)))
"""


def test_a_killed_run_is_completed_by_the_next(empty, phantoms):
    """The long form, with twenty kills, is `python3 ci soak kills`."""
    project = empty
    columns = ["IMAGE_ID", "SOURCE_NAME", "PATIENT_ID", "SPLIT", "NEAR_DUPLICATE_OF", "RELATIVE_PATH"]
    ingest.ingest(project, phantoms)
    undisturbed = rows_of(project, "catalog_table").sort_values("IMAGE_ID", ignore_index=True)[columns]
    project.session.sql(f"DELETE FROM {project.catalog}").collect()
    project.session.sql(f"REMOVE {project.images_stage}").collect()
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "lib")}
    command = [sys.executable, "-c", INGEST, project.settings.account_dir, str(phantoms)]
    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    table = project.session.table(project.catalog)
    while not 0 < (count := table.count()) < len(undisturbed):
        assert running.poll() is None, f"ended with {count} rows before it could be killed"
    running.kill()
    running.wait()
    with pytest.raises(LookupError):
        catalog.read_catalog(project)  # no image has a split yet
    assert add_up(counts := ingest.ingest(project, phantoms))
    assert counts["already_there"] > 0 and counts["cataloged"] > 0
    assert rows_of(project, "catalog_table").sort_values("IMAGE_ID", ignore_index=True)[columns].equals(undisturbed)
    assert staged(project) == set(undisturbed["RELATIVE_PATH"])


def patients(project, labels: Iterable[tuple[str, str]], source: str = "x") -> None:
    """Catalog an image of each pair of patient and label, without files."""
    rows = pd.DataFrame(labels, columns=["PATIENT_ID", "LABEL"])
    rows = rows.assign(
        IMAGE_ID=source + rows["PATIENT_ID"] + rows["LABEL"],
        RELATIVE_PATH="x",
        SOURCE=source,
        SOURCE_NAME="x",
        FORMAT="PNG",
    )
    rows = rows.assign(WIDTH=1, HEIGHT=1, BYTES=1, PERCEPTUAL_HASH="0")
    tables.append(project.session, project.catalog, rows)
    catalog.assign_splits(project)


def test_splits_hold_their_share_of_each_label_and_nobody_moves_when_others_come(empty):
    project = with_settings(empty, test_share=0.2, validation_share=0.1)
    patients(project, [(f"p{i}", ("NORMAL", "PNEUMONIA", "PNEUMONIA")[i % 3]) for i in range(90)])
    before = catalog.read_catalog(project).set_index("PATIENT_ID")["SPLIT"]
    patients(project, [(f"q{i}", ("NORMAL", "PNEUMONIA")[i % 2]) for i in range(60)])
    after = catalog.read_catalog(project)
    assert after.set_index("PATIENT_ID")["SPLIT"].loc[before.index].equals(before)
    for rows, counts in ((after, (60, 90)), (after[after["PATIENT_ID"].isin(before.index)], (30, 60))):
        for label, count in zip(("NORMAL", "PNEUMONIA"), counts, strict=True):
            splits = rows[rows["LABEL"] == label]["SPLIT"].value_counts()
            assert splits.to_dict() == {"train": 7 * count // 10, "test": count // 5, "validation": count // 10}


def test_phantoms_that_have_left_count_in_no_split_of_patients_even_under_their_names(empty):
    project, labels = empty, ("NORMAL", "PNEUMONIA")
    images = [(f"person{number}", labels[number % 2]) for number in range(80)]
    patients(project, images)
    alone = catalog.read_catalog(project).groupby("LABEL")["SPLIT"].value_counts().to_dict()
    project.session.sql(f"DELETE FROM {project.catalog}").collect()
    patients(project, images, "phantoms/made")
    project.session.sql(f"UPDATE {project.catalog} SET VANISHED_AT = SYSDATE()").collect()
    patients(project, images)
    rows = catalog.read_catalog(project)
    assert rows.groupby("LABEL")["SPLIT"].value_counts().to_dict() == alone
    proof = next(cell for cell in cells_of("02_data_ingest") if cell["metadata"]["name"] == "prove_split")
    exec("".join(proof["source"]), {"project": project, "rows": rows})


def cells_of(notebook: str) -> list[dict]:
    return json.loads((PROJECT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]


def test_a_patient_counts_for_the_rarest_class_that_is_not_the_negative_one(empty):
    """Ten who have images of both labels, among ninety healthy ones: the splits share out the ten."""
    project = empty
    both = [(f"p{i}", label) for i in range(10) for label in ("NORMAL", "PNEUMONIA")]
    healthy = [(f"n{i}", "NORMAL") for i in range(90)]
    patients(with_settings(project, test_share=0.2, validation_share=0.1), both + healthy)
    rows = catalog.read_catalog(project)
    ill = rows[rows["LABEL"] == "PNEUMONIA"]["SPLIT"].value_counts()
    assert ill.to_dict() == {"train": 7, "test": 2, "validation": 1}
    assert rows.groupby("PATIENT_ID")["SPLIT"].nunique().max() == 1


def test_when_test_has_more_than_its_share_validation_still_gets_its_own(empty):
    project = empty
    patients(with_settings(project, test_share=0.5, validation_share=0.1), [(f"p{i}", "NORMAL") for i in range(20)])
    patients(with_settings(project, test_share=0.1, validation_share=0.2), [(f"q{i}", "NORMAL") for i in range(10)])
    splits = catalog.read_catalog(project)["SPLIT"].value_counts()
    assert splits.to_dict() == {"test": 10, "train": 14, "validation": 6}


def test_a_split_follows_from_patients_and_seed_and_few_patients_fill_every_split(empty):
    project = empty
    labels = [(f"{label}{i}", label) for label in ("NORMAL", "PNEUMONIA") for i in range(3)]
    splits = []
    for seed in (0, 0, 1, 2):
        project.session.sql(f"DELETE FROM {project.catalog}").collect()
        patients(with_settings(project, seed=seed), labels)
        rows = catalog.read_catalog(project)
        assert set(rows.groupby("LABEL")["SPLIT"].nunique()) == {3}
        splits.append(tuple(rows["SPLIT"]))
    assert splits[0] == splits[1] and len(set(splits)) > 1


def test_decoded_images_are_those_of_the_preprocessing_and_are_built_once(empty, phantoms):
    project = empty
    ingest.ingest(project, phantoms)
    rows = catalog.read_catalog(project)
    stack = decoded(project, rows)
    for pixels, name in zip(stack, rows["SOURCE_NAME"], strict=True):
        assert np.array_equal(pixels, preprocessing.load((phantoms / name).read_bytes(), 64))
    (cached,) = cache_directory().glob("decoded-*.npy")
    before = cached.stat().st_mtime_ns
    decoded(project, rows)
    assert cached.stat().st_mtime_ns == before
    whole = cached.read_bytes()
    for damaged in (whole[:1000], whole[:-1] + bytes([whole[-1] ^ 1])):
        other = cached.with_suffix(".other")
        other.write_bytes(damaged)
        other.replace(cached)
        assert np.array_equal(decoded(project, rows), stack)
    assert len(decoded(project, rows.head(3))) == 3


def test_what_is_read_of_an_image_is_enough_for_the_figures_of_notebook_02(empty, phantoms):
    project = empty
    ingest.ingest(project, phantoms)
    rows = catalog.read_catalog(project)
    assert overview.distributions(rows, decoded(project, rows), ("NORMAL", "PNEUMONIA")).axes
    assert len(overview.split_table(rows)) == 3


def test_files_that_vanished_from_the_stage_are_missed_by_number(empty, phantoms):
    project = empty
    ingest.ingest(project, phantoms)
    rows = catalog.read_catalog(project)
    project.session.sql(f"REMOVE {project.images_stage}/{rows['RELATIVE_PATH'].iloc[0]}").collect()
    with pytest.raises(FileNotFoundError, match=f"1 of {len(rows)} cataloged images"):
        decoded(project, rows)


def test_a_file_that_the_stage_has_lost_is_brought_back_by_the_next_ingest_and_nothing_else_changes(empty, phantoms):
    project = empty
    ingest.ingest(project, phantoms)
    before = rows_of(project, "catalog_table")
    lost = before.iloc[0]
    project.session.sql(f"REMOVE {project.images_stage}/{lost['RELATIVE_PATH']}").collect()
    project.session.sql(
        f"UPDATE {project.catalog} SET PATIENT_ID = 'kept' WHERE IMAGE_ID = '{lost['IMAGE_ID']}'"
    ).collect()
    before = rows_of(project, "catalog_table")
    ingest.ingest(project, phantoms)
    assert rows_of(project, "catalog_table").equals(before)
    assert len(decoded(project, catalog.read_catalog(project))) == len(before)


@pytest.mark.parametrize("mounted", [False, True])
def test_a_staged_image_with_other_content_than_its_name_says_is_never_used(empty, phantoms, tmp_path, mounted):
    project = empty
    ingest.ingest(project, phantoms)
    rows = catalog.read_catalog(project)
    wrong, other = rows["RELATIVE_PATH"].iloc[:2]
    mount = tmp_path / "mount"
    mount_of(project, mount)
    shutil.copyfile(mount / other, mount / wrong)
    if mounted:
        project = with_settings(project, images_mount=str(mount))
    else:
        target = f"{project.images_stage}/{os.path.dirname(wrong)}"  # noqa: PTH120
        project.session.file.put(f"file://{mount / wrong}", target, auto_compress=False, overwrite=True)
    with pytest.raises(ValueError, match="what (their|its) names? says?"):
        decoded(project, rows)
    assert mounted or not (cache_directory() / "files" / os.path.basename(wrong)).exists()  # noqa: PTH119


def test_an_empty_catalog_says_which_notebook_to_run(empty):
    project = empty
    with pytest.raises(LookupError, match="02_data_ingest"):
        catalog.read_catalog(project)
    with pytest.raises(LookupError, match="03_train"):
        runs.latest(project)


def test_rows_are_appended_with_the_tables_types_even_when_a_column_is_empty(empty):
    project = empty
    answers = pd.DataFrame({"P_POSITIVE": [np.nan, 0.25], "LABEL": [None, "NORMAL"], "STATUS": ["blank: x", "ok"]})
    for part in (answers.head(1), answers):
        write_predictions(project, ["a", "b"][: len(part)], part, "V1", "WAREHOUSE")
    table = project.session.table(project.predictions).to_pandas()
    assert len(table) == 2 and table["P_POSITIVE"].notna().sum() == 1, "an answer that is written twice stands once"
    assert table["SCORED_AT"].notna().all()
    other = answers.tail(1).assign(P_POSITIVE=0.75)
    for path in ("WAREHOUSE", "REST"):
        write_predictions(project, ["b"], other, "V1", path)
    table = project.session.table(project.predictions).to_pandas().set_index("PATH_TAKEN")
    assert table["P_POSITIVE"].dropna().to_dict() == {"WAREHOUSE": 0.25, "REST": 0.75}, "kept as it was, by each path"
    with pytest.raises(KeyError, match="NO_SUCH"):
        tables.append(project.session, project.predictions, pd.DataFrame({"NO_SUCH": [1]}))


def test_set_up_can_run_again_and_says_what_is_ready(account):
    project = account
    scripts.run_sql_file(project, PROJECT / "sql" / "20_objects.sql")
    ready = readiness(project)
    made = ready[ready["kind"].isin(["STAGE", "TABLE"])]
    assert made["ready"].all() and set(made["kind"]) == {"STAGE", "TABLE"}

"""Patient ids in the account: under a key, by rules that stay, changed all at once; and what the split is worth."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from snowflake.snowpark import secrets
from tests.cxr.data.test_any_labels import draw, rows_of, with_settings
from tests.dicom_files import dicom

from cxr.account import tables
from cxr.account.patient_key import PatientKey, find_patient_key
from cxr.data import catalog, facts, ingest, notices
from cxr.data.patient_ids.rekey import rekey
from cxr.data.patient_ids.rules import key_check, patient_of_table, pseudonym
from cxr.data.splits import take_split
from cxr.data.survey import survey
from cxr.data.truth import add_truth
from cxr.lifecycle.description import describe


def write_dicom(path: Path, patient: str, seed: int, study: str = "") -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dicom(pixels, 8, 8, PatientID=patient, StudyInstanceUID=study))


@pytest.fixture
def scans(tmp_path):
    """Twelve people with two DICOM images each, in two classes."""
    for number in range(24):
        write_dicom(tmp_path / ("NORMAL" if number % 4 < 2 else "TB") / f"{number}", f"10000{number // 2:02}", number)
    return tmp_path


def test_on_a_laptop_a_key_is_made_and_kept_where_only_its_owner_can_read_it(account):
    key = find_patient_key(account)
    assert not key.chosen and len(key.value) == 64 and key.value not in repr(key)
    file = Path(account.settings.account_dir) / "patient.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert find_patient_key(account) == key
    assert find_patient_key(with_settings(account, patient_key="mine")).value == "mine"


def test_a_key_can_stand_in_a_file(account, tmp_path):
    (tmp_path / "key").write_text("from a file\n")
    assert find_patient_key(with_settings(account, patient_key_file=str(tmp_path / "key"))).value == "from a file"
    (tmp_path / "key").write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        find_patient_key(with_settings(account, patient_key_file=str(tmp_path / "key")))


@pytest.mark.skipif(
    not hasattr(secrets, "_SnowflakeSecretsSPCS"), reason="this Snowpark cannot read secrets in a container"
)
def test_a_key_can_be_the_bundles_secret(account, tmp_path, monkeypatch):
    # The place in a container that the documentation gives (notebooks-in-workspaces-using-secrets).
    place = tmp_path / "vault" / "keys" / "patient_key"
    place.mkdir(parents=True)
    (place / "secret_string").write_text("from a secret")
    monkeypatch.setenv("SNOWFLAKE_CONTAINER_SERVICES_SECRET_PATH_PREFIX", str(tmp_path))
    monkeypatch.setattr("cxr.account.patient_key.is_local", lambda session: False)
    assert find_patient_key(account) is None
    named = with_settings(account, patient_key_secret="VAULT.KEYS.PATIENT_KEY")
    assert find_patient_key(named) == PatientKey("from a secret", chosen=True)


def test_in_an_account_without_a_key_the_error_names_the_setting_that_headless_runs_get_one_by(
    account, scans, monkeypatch
):
    monkeypatch.setattr("cxr.account.patient_key.is_local", lambda session: False)
    for given in ("", "VAULT.KEYS.PATIENT_KEY"):  # a secret that the run was not given
        with pytest.raises(ValueError, match="CXR_PATIENT_KEY_SECRET=DATABASE.SCHEMA.SECRET and deploy again"):
            survey(with_settings(account, patient_key_secret=given), scans)


def test_without_a_key_ids_of_headers_and_files_are_refused_with_what_to_do(empty, scans, monkeypatch, tmp_path):
    monkeypatch.setattr("cxr.data.patient_ids.keys.find_patient_key", lambda project: None)
    with pytest.raises(ValueError, match="CXR_PATIENT_KEY"):
        ingest.ingest(empty, scans)
    assert rows_of(empty).empty
    named = draw(tmp_path / "named", "NORMAL/IM-0001-0001.png", "TB/person1_virus_1.png")
    assert ingest.ingest(empty, named)["cataloged"] == 2, "names that are no one's id need none"


def test_another_key_is_refused_and_rekey_changes_all_ids_at_once(empty, scans):
    project = empty
    ingest.ingest(project, scans)
    before = rows_of(project)
    assert before["PATIENT_ID"].nunique() == 12 and set(before["PATIENT_FROM"]) == {"header"}
    other = with_settings(project, patient_key="open sesame")
    with pytest.raises(ValueError, match=r"made under another key.*ci rekey"):
        ingest.ingest(other, scans)
    counts = rekey(other)
    assert counts == {"images": 24, "changed": 24, "moved": 0, "patients_before": 12, "patients_after": 12}
    after = rows_of(project)
    assert after["SPLIT"].equals(before["SPLIT"]), "the same people in the same splits"
    assert ingest.ingest(other, scans)["already_there"] == 24
    with pytest.raises(ValueError, match="another key"):
        ingest.ingest(project, scans)
    assert "sesame" not in str(facts.read_all(project))


def test_studies_are_told_by_the_header_under_the_same_key(empty, tmp_path):
    project = empty
    for number, study in enumerate(("1.2.826.1", "1.2.826.1", "1.2.826.2", "")):
        write_dicom(tmp_path / ("NORMAL" if number % 2 else "TB") / f"{number}.dcm", "7", number, study)
    ingest.ingest(project, tmp_path)
    before = rows_of(project).sort_values("SOURCE_NAME")["STUDY_ID"]
    first, last = before[["TB/0.dcm", "NORMAL/1.dcm"]], before["TB/2.dcm"]
    assert first.nunique() == 1 and last not in set(first) and pd.isna(before["NORMAL/3.dcm"])
    key = find_patient_key(project).value
    assert last == pseudonym(hashlib.sha256(b"1.2.826.2").hexdigest(), key, "study")
    rekey(with_settings(project, patient_key="open sesame"))
    after = rows_of(project)["STUDY_ID"]
    assert after["TB/0.dcm"] == after["NORMAL/1.dcm"] not in (None, *first) and pd.isna(after["NORMAL/3.dcm"])


def test_a_name_that_tells_a_patient_needs_a_key_where_a_header_may_tell_another(empty, tmp_path, monkeypatch):
    write_dicom(tmp_path / "NORMAL" / "IM-0001-0001", "1000000", 0)
    monkeypatch.setattr("cxr.data.patient_ids.keys.find_patient_key", lambda project: None)
    with pytest.raises(ValueError, match="CXR_PATIENT_KEY"):
        ingest.ingest(empty, tmp_path)


def begun_before(project, key=""):
    """A catalog as an earlier version of this project left it: the first rules, ids under a key that nobody wrote down.

    It holds one image, which has vanished since.
    """
    rows = pd.DataFrame({"IMAGE_ID": ["0" * 64], "PATIENT_ID": [patient_of_table("somebody", key, version=1)]}).assign(
        RELATIVE_PATH="x", SOURCE="old", SOURCE_NAME="old.png", LABEL="TB", WIDTH=1, HEIGHT=1, BYTES=1, FORMAT="PNG",
        PERCEPTUAL_HASH="0" * 64, SPLIT="train", PATIENT_FROM="table", VANISHED_AT=pd.Timestamp(2026, 1, 1),
    )  # fmt: skip
    tables.append(project.session, project.catalog, rows)
    project.session.sql(f"DELETE FROM {project.facts}").collect()


def test_a_person_in_the_table_is_the_same_person_in_a_header(empty, scans, tmp_path):
    table = tmp_path / "people.csv"
    table.write_text("file,patient_id\nNORMAL/0,1000000\n")
    ingest.ingest(with_settings(empty, data_csv=str(table)), scans)
    rows = rows_of(empty)
    assert rows.loc["NORMAL/0", "PATIENT_FROM"] == "table" and rows.loc["NORMAL/1", "PATIENT_FROM"] == "header"
    assert rows.loc["NORMAL/0", "PATIENT_ID"] == rows.loc["NORMAL/1", "PATIENT_ID"]


def test_a_catalog_that_was_begun_without_a_key_keeps_its_ids_says_so_and_can_be_rekeyed(empty, scans):
    project = empty
    begun_before(project)
    draw(scans, "TB/VIRUS-77-0001.png", "TB/BACTERIA-77-0002.png", "NORMAL/own.png")
    ingest.ingest(project, scans)
    before = rows_of(project)
    assert before["PATIENT_ID"].nunique() == 16, "the first rules know no Mendeley name"
    draw(scans, "NORMAL/own2.png")
    write_dicom(scans / "NORMAL" / "99", "1000000", 99)
    with pytest.raises(ValueError, match=r"under no key.*ci rekey"):
        ingest.ingest(with_settings(project, patient_key="mine"), scans)
    ingest.ingest(project, scans)
    rows = rows_of(project)
    assert rows.loc["NORMAL/99", "PATIENT_ID"] == before.loc["NORMAL/0", "PATIENT_ID"], "a known person keeps the id"
    said = " ".join(notices.notices(project))
    assert "under no key" in said and "rules of version 1" in said
    (scans / "people.csv").write_text("file,patient_id\nold.png,somebody\n")
    counts = rekey(with_settings(project, data_csv=str(scans / "people.csv")))
    assert counts["patients_before"] - counts["patients_after"] == 1
    rows = rows_of(project)
    assert rows.loc["TB/VIRUS-77-0001.png", "PATIENT_ID"] == rows.loc["TB/BACTERIA-77-0002.png", "PATIENT_ID"]
    assert rows.groupby("PATIENT_ID")["SPLIT"].nunique().max() == 1, "nobody stands in two splits"
    assert not set(before["PATIENT_ID"]) & set(rows["PATIENT_ID"])
    assert "key" not in " ".join(notices.notices(project))


def test_a_catalog_that_was_begun_under_a_key_that_was_not_written_down_goes_on_with_it(empty, scans, tmp_path):
    project = with_settings(empty, patient_key="the old one")
    begun_before(project, "the old one")
    table = tmp_path / "people.csv"
    table.write_text("file,patient_id\nNORMAL/0,somebody\n")
    assert ingest.ingest(with_settings(project, data_csv=str(table)), scans)["patients_by_table"] == 1
    assert facts.read(project).key_check == key_check("the old one")
    project.session.sql(f"DELETE FROM {project.facts}").collect()
    assert ingest.ingest(project, scans)["already_there"] == 24, "a header tells it too"
    project.session.sql(f"DELETE FROM {project.facts}").collect()
    with pytest.raises(ValueError, match="ci rekey"):
        ingest.ingest(with_settings(project, patient_key="a new one"), scans)


def test_someone_who_comes_into_two_splits_goes_where_a_model_may_have_learnt(empty, tmp_path):
    project = empty
    draw(tmp_path, *(f"{'TB' if i % 2 else 'NORMAL'}/{i}.png" for i in range(30)))
    ingest.ingest(project, tmp_path)
    splits = rows_of(project)["SPLIT"]
    train, test = (splits[splits == name].index[0] for name in ("train", "test"))
    validation, test2 = splits[splits == "validation"].index[0], splits[splits == "test"].index[1]
    table = tmp_path / "people.csv"
    table.write_text(f"file,patient_id\n{train},A\n{test},A\n{validation},B\n{test2},B\n")
    counts = rekey(with_settings(project, data_csv=str(table)))
    assert counts["moved"] == 2
    after = rows_of(project)["SPLIT"]
    assert (after[test], after[test2]) == ("train", "validation")
    with pytest.raises(ValueError, match="4 images have their patient from a table: give it again"):
        rekey(project)


def test_a_split_of_images_that_are_patients_of_their_own_is_not_to_be_trusted(empty, tmp_path):
    project = empty
    draw(tmp_path, "NORMAL/IM-0001-0001.png", "TB/a.png", "TB/b.png")
    counts = ingest.ingest(project, tmp_path)
    assert (counts["patients_by_name"], counts["patients_by_none"]) == (1, 2)
    found = notices.patient_yield(project)
    assert not found.trusted and found == replace(found, table=0, header=0, name=1, none=2)
    assert any(line.startswith("The split cannot be trusted") for line in notices.notices(project))
    assert facts.read_all(project)["last_ingest"]["counts"]["patients_by_none"] == 2
    (tmp_path / "p.csv").write_text("file,patient_id\na.png,1\nb.png,2\n")
    ingest.ingest(project, draw(tmp_path, "TB/person1_virus_1.png", "TB/person2_virus_1.png"))
    assert notices.patient_yield(project).trusted
    assert not any("trusted" in line for line in notices.notices(project))


def test_a_table_that_comes_after_the_split_is_counted_as_ignored_and_rekey_uses_it(empty, tmp_path):
    project = empty
    draw(tmp_path, "NORMAL/a.png", "NORMAL/b.png", "TB/c.png")
    ingest.ingest(project, tmp_path)
    assert any("ci rekey --data-csv" in line for line in notices.notices(project))
    table = tmp_path / "people.csv"
    table.write_text("file,label,patient_id\na.png,NORMAL,A\nb.png,NORMAL,A\n")
    told = with_settings(project, data_csv=str(table))
    assert add_truth(project, table)["table_patients_ignored"] == 2
    counts = ingest.ingest(told, tmp_path)
    assert (counts["patients_by_table"], counts["table_patients_ignored"]) == (0, 2)
    (said,) = (line for line in notices.notices(told, counts) if line.startswith("2 images keep their patient"))
    assert "python3 ci rekey --data-csv" in said
    rekey(told)
    counts = ingest.ingest(told, tmp_path)
    assert (counts["patients_by_table"], counts["table_patients_ignored"]) == (2, 0)
    assert add_truth(project, table)["table_patients_ignored"] == 0


def test_a_patient_in_two_splits_is_brought_into_one_by_rekey(empty, tmp_path):
    project = empty
    ingest.ingest(project, draw(tmp_path, "TB/person1_virus_1.png", "TB/person1_virus_2.png", "NORMAL/a.png"))
    one = f"UPDATE {project.catalog} SET SPLIT = '{{}}' WHERE SOURCE_NAME = 'TB/person1_virus_{{}}.png'"
    for split, number in (("test", 1), ("train", 2)):
        project.session.sql(one.format(split, number)).collect()
    rows = catalog.read_catalog(project)
    with pytest.raises(ValueError, match="1 patients stand in more than one split.*ci rekey"):
        take_split(np.zeros((3, 8, 8), np.uint8), rows, "train", ("NORMAL", "TB"))
    rekey(project)
    assert catalog.read_catalog(project).groupby("PATIENT_ID")["SPLIT"].nunique().max() == 1


def test_images_outside_the_split_say_nothing_about_it(empty, tmp_path):
    project = empty
    draw(tmp_path, "set/NORMAL/a.png", "set/NORMAL/b.png", "set/TB/c.png")
    for number in range(5):
        write_dicom(tmp_path / "incoming" / str(number), f"10{number}", number)
    ingest.ingest(project, tmp_path)
    assert notices.patient_yield(project) == notices.PatientYield(table=0, header=0, name=0, none=3)
    assert any(line.startswith("The split cannot be trusted") for line in notices.notices(project))
    said = describe(project, catalog.read_catalog(project))
    assert (said["patients_by"]["none"], said["split_trusted"]) == (3, False)
    project.session.sql(f"UPDATE {project.catalog} SET LABEL = NULL, SPLIT = NULL").collect()
    assert notices.patient_yield(project).header == 5, "without a split all images count"


def test_a_phantom_with_the_id_of_a_patient_is_somebody_else(empty):
    rows = pd.DataFrame({"SOURCE": ["phantoms/made", "here"], "SPLIT": ["train", "test"]}).assign(
        IMAGE_ID=["0" * 64, "1" * 64], PATIENT_ID="person1", PATIENT_FROM="name", SOURCE_NAME="TB/person1_virus_1.png",
        RELATIVE_PATH="x", LABEL="TB", WIDTH=1, HEIGHT=1, BYTES=1, FORMAT="PNG", PERCEPTUAL_HASH="0",
    )  # fmt: skip
    tables.append(empty.session, empty.catalog, rows)
    assert rekey(empty)["moved"] == 0

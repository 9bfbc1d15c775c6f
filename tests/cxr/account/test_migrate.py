"""Accounts that earlier versions of this project made are upgraded in place, keeping every row."""

import pytest

from cxr.account import migrate
from cxr.account.project import Project
from cxr.data import catalog, facts, ingest
from cxr.settings import load

# As sql/20_objects.sql had it before labels could be unknown.
BEFORE = """
CREATE TABLE {catalog} (
    IMAGE_ID STRING NOT NULL, RELATIVE_PATH STRING NOT NULL, SOURCE STRING NOT NULL, SOURCE_NAME STRING NOT NULL,
    LABEL STRING NOT NULL COMMENT 'NORMAL or PNEUMONIA', CAUSE STRING, PATIENT_ID STRING NOT NULL, SPLIT STRING,
    SPLIT_SEED NUMBER(38, 0), WIDTH NUMBER(38, 0) NOT NULL, HEIGHT NUMBER(38, 0) NOT NULL,
    BYTES NUMBER(38, 0) NOT NULL, FORMAT STRING NOT NULL, VIEW_POSITION STRING, LATERALITY STRING, SEX STRING,
    AGE_BAND STRING, PERCEPTUAL_HASH STRING NOT NULL, NEAR_DUPLICATE_OF STRING, VANISHED_AT TIMESTAMP_NTZ,
    CATALOGED_AT TIMESTAMP_NTZ DEFAULT CURRENT_TIMESTAMP()::TIMESTAMP_NTZ, PRIMARY KEY (IMAGE_ID))"""
ROWS = [
    ("a", "NORMAL", "IM-0001", "JPEG", "PA", "train"),
    ("b", "PNEUMONIA", "person1", "JPEG", None, "test"),
    ("c", "PNEUMONIA", "patient-0011223344556677", "DICOM", "LL", "train"),
    ("d", "NORMAL", "patient-8899aabbccddeeff", "PNG", None, "validation"),
    ("e", "NORMAL", "file-0011223344556677", "PNG", None, "train"),
]


@pytest.fixture
def old(account):
    """The same account, with a schema as it was before."""
    settings = load(argv=[], environ={}, account_dir=account.settings.account_dir, profile="smoke", schema="OLD_SCHEMA")
    project, home = Project(account.session, settings), f"{settings.database}.{settings.schema}"
    account.session.sql(f"CREATE OR REPLACE SCHEMA {home}").collect()
    account.session.sql(
        f"CREATE STAGE {home}.IMAGES DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')"
    ).collect()
    account.session.sql(BEFORE.format(catalog=project.catalog)).collect()
    for image, label, patient, kind, view, split in ROWS:
        account.session.sql(
            f"INSERT INTO {project.catalog} (IMAGE_ID, RELATIVE_PATH, SOURCE, SOURCE_NAME, LABEL, PATIENT_ID, WIDTH, "
            "HEIGHT, BYTES, FORMAT, VIEW_POSITION, SPLIT, PERCEPTUAL_HASH) "
            "SELECT ?, 'x', 'old', ?, ?, ?, 1, 1, 1, ?, ?, ?, '0'",
            params=[image, image, label, patient, kind, view, split],
        ).collect()
    yield project
    account.session.sql(f"DROP SCHEMA {home}").collect()
    account.session.use_schema(account.settings.schema)


def table(project):
    return project.session.table(project.catalog).to_pandas().set_index("IMAGE_ID").sort_index()


def test_every_row_is_kept_and_the_new_columns_are_filled(old):
    before = table(old)
    assert migrate.upgrade(old)
    after = table(old)
    assert after[list(before.columns)].equals(before)
    assert after["PATIENT_FROM"].to_dict() == {"a": "name", "b": "name", "c": "header", "d": "table", "e": "none"}
    assert after["SET_ASIDE"].dropna().to_dict() == {"c": "lateral"}
    old.session.sql(f"UPDATE {old.catalog} SET LABEL = NULL WHERE IMAGE_ID = 'a'").collect()
    assert migrate.upgrade(old) == [], "the second time there is nothing to do"


def test_answers_of_before_triage_are_kept_and_the_views_count_them(old):
    migrate.upgrade(old)
    old.session.sql(f"ALTER TABLE {old.predictions} DROP COLUMN TRIAGE").collect()
    old.session.sql(
        f"INSERT INTO {old.predictions} (SCORING_ID, IMAGE_ID, MODEL_NAME, MODEL_VERSION, P_POSITIVE, LABEL, STATUS, "
        "PATH_TAKEN) SELECT '1', 'a', ?, 'V', 0.5, 'NORMAL', 'ok', 'REST'",
        params=[old.settings.model_name],
    ).collect()
    # As they were made before: without what triage added.
    drift = old.qualified(old.settings.drift_view)
    old.session.sql(f"CREATE OR REPLACE VIEW {drift} AS SELECT MODEL_VERSION FROM {old.predictions}").collect()
    said = migrate.upgrade(old)
    assert "TRIAGE" in said[0] and said[1:] == ["views: replaced"] and migrate.upgrade(old) == []
    (row,) = old.session.table(old.qualified(old.settings.monitoring_view)).collect()
    assert (row["IMAGES"], row["SHARE_UNCERTAIN"], row["SHARE_UNLIKE"]) == (1, None, 0)
    old.session.sql(f"DROP VIEW {drift}").collect()
    assert migrate.upgrade(old), "as after an upgrade that was broken off between the column and the views"
    assert old.session.table(drift).count() == 0


@pytest.mark.parametrize("statements", [1, 2, 3, 4])
def test_an_upgrade_that_is_broken_off_goes_on_where_it_stopped(old, statements, monkeypatch):
    before, run = table(old), []

    class Broken(Exception):
        pass

    def breaking(self, text, *arguments, **options):
        if text.lstrip().startswith(("ALTER", "UPDATE")) and "LABEL" in text:
            run.append(text)
            if len(run) == statements:
                raise Broken
        return sql(self, text, *arguments, **options)

    kind = type(old.session)
    sql = kind.sql
    monkeypatch.setattr(kind, "sql", breaking)
    with pytest.raises(Broken):
        migrate.upgrade(old)
    monkeypatch.undo()
    migrate.upgrade(old)
    after = table(old)
    assert after[list(before.columns)].equals(before) and "LABEL_BEFORE" not in after.columns


def test_classes_rules_and_key_of_a_catalog_of_before_are_told_from_its_rows(old):
    migrate.upgrade(old)
    found = facts.read(old)
    assert found.label_set.names == ("NORMAL", "PNEUMONIA") and found.patient_rules == 1 and found.fixed
    assert found.key_check is not None, "its ids are under the empty key"
    assert catalog.label_set(old) == found.label_set
    assert len(catalog.read_catalog(old)) == 4, "the lateral view is set aside"


def test_an_account_without_a_catalog_is_left_alone(old):
    old.session.sql(f"DROP TABLE {old.catalog}").collect()
    assert migrate.upgrade(old) == []


def test_ingest_upgrades_by_itself(old, tmp_path):
    with pytest.raises(FileNotFoundError):
        ingest.ingest(old, tmp_path)
    assert "PATIENT_FROM" in table(old).columns

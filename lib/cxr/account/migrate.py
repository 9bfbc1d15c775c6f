"""Upgrade the tables of an account that an earlier version of this project created, keeping every row.

Each step checks what exists, so it runs once, and an interrupted upgrade can be continued.
"""

from cxr.account.project import Project
from cxr.account.scripts import read_sql_file, run
from cxr.account.session import PROJECT, use_schema
from cxr.earlier_versions import OLD_LABELS, OLD_PROBABILITY

_ADDED = ("PATIENT_FROM", "STUDY_ID", "SET_ASIDE", "BURNED_IN")


def upgrade(project: Project) -> list[str]:
    """Upgrade the account. Returns one line for each change; nothing if it is up to date or has no catalog yet."""
    if not use_schema(project.session, project.settings):
        return []
    done = []
    columns = _columns(project, project.settings.catalog_table)
    facts = _columns(project, project.settings.facts_table)
    if columns and (not facts or not set(_ADDED) <= columns.keys()):
        for statement in read_sql_file(PROJECT / "sql" / "20_objects.sql", project.settings):
            if statement.startswith(("ALTER TABLE", "CREATE TABLE")):
                run(project.session, statement)
        project.session.sql(_FILL.format(catalog=project.catalog)).collect()
        done.append(f"{project.settings.catalog_table}: columns {', '.join(_ADDED)}; {project.settings.facts_table}")
    done += _upgrade_answers(project)
    if columns and (columns.get("LABEL") is False or "LABEL_BEFORE" in columns):
        _let_labels_be_null(project, columns)
        done.append(f"{project.settings.catalog_table}: LABEL may be null")
    return done + _add_triage(project)


def _upgrade_answers(project: Project) -> list[str]:
    """PREDICTIONS gets P_POSITIVE and PROBABILITIES; the validation baseline gets NEGATIVE_LABEL."""
    done, names = [], project.settings
    if OLD_PROBABILITY in _columns(project, names.predictions_table):
        project.session.sql(
            f"ALTER TABLE {project.predictions} RENAME COLUMN {OLD_PROBABILITY} TO P_POSITIVE"
        ).collect()
        project.session.sql(
            f"ALTER TABLE {project.predictions} ADD COLUMN IF NOT EXISTS PROBABILITIES STRING"
        ).collect()
        done.append(f"{names.predictions_table}: {OLD_PROBABILITY} is P_POSITIVE; column PROBABILITIES")
    baseline = _columns(project, names.baseline_table)
    if baseline and "NEGATIVE_LABEL" not in baseline:
        table = project.validation_baseline
        project.session.sql(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS NEGATIVE_LABEL STRING").collect()
        project.session.sql(f"UPDATE {table} SET NEGATIVE_LABEL = ?", params=[OLD_LABELS[0]]).collect()
        done.append(f"{names.baseline_table}: column NEGATIVE_LABEL")
    return done


def _add_triage(project: Project) -> list[str]:
    """PREDICTIONS gets TRIAGE, and then the views that count it are made anew."""
    known = _columns(project, project.settings.predictions_table)
    if not known or "TRIAGE" in known and _views_know_triage(project):
        return []
    project.session.sql(f"ALTER TABLE {project.predictions} ADD COLUMN IF NOT EXISTS TRIAGE STRING").collect()
    for statement in read_sql_file(PROJECT / "sql" / "20_objects.sql", project.settings):
        if statement.startswith("CREATE OR REPLACE VIEW"):
            run(project.session, statement)
    return [f"{project.settings.predictions_table}: column TRIAGE; the views of monitoring count it"]


def _views_know_triage(project: Project) -> bool:
    """False where an upgrade was broken off before the views, and where there are none."""
    names, view = project.settings, project.settings.drift_view
    found = project.session.sql(f"SHOW VIEWS LIKE '{view}' IN SCHEMA {names.database}.{names.schema}").collect()
    return bool(found) and "SIGNAL" in project.session.table(project.qualified(view)).columns


def _columns(project: Project, table: str) -> dict[str, bool]:
    """Column -> whether it can be null; empty if the table does not exist."""
    if not project.session.sql(
        f"SHOW TABLES LIKE '{table}' IN SCHEMA {project.settings.database}.{project.settings.schema}"
    ).collect():
        return {}
    rows = project.session.sql(f"DESCRIBE TABLE {project.qualified(table)}").collect()
    return {row["name"]: row["null?"] == "Y" for row in rows}


# The earlier format of PATIENT_ID: 'patient-' for a keyed id, 'file-' for a file without a patient.
_FILL = """
UPDATE {catalog} SET
    PATIENT_FROM = CASE WHEN STARTSWITH(PATIENT_ID, 'file-') THEN 'none'
        WHEN NOT STARTSWITH(PATIENT_ID, 'patient-') THEN 'name'
        WHEN FORMAT = 'DICOM' THEN 'header' ELSE 'table' END,
    SET_ASIDE = IFF(VIEW_POSITION IN ('LL', 'RL', 'LATERAL'), 'lateral', NULL)
WHERE PATIENT_FROM IS NULL"""


def _let_labels_be_null(project: Project, columns: dict[str, bool]) -> None:
    """Make LABEL nullable by way of a second column: at any interruption, one of the two has every label."""
    alter = f"ALTER TABLE {project.catalog}"
    if "LABEL" in columns and columns["LABEL"] is False:
        project.session.sql(f"{alter} ADD COLUMN IF NOT EXISTS LABEL_BEFORE STRING").collect()
        project.session.sql(f"UPDATE {project.catalog} SET LABEL_BEFORE = LABEL").collect()
        project.session.sql(f"{alter} DROP COLUMN LABEL").collect()
    project.session.sql(f"{alter} RENAME COLUMN LABEL_BEFORE TO LABEL").collect()

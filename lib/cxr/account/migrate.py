"""Upgrade the tables of an account that an earlier version of this project created, keeping every row.

Each step checks what exists, so it runs once, and an interrupted upgrade can be continued.
"""

from cxr.account.project import Project
from cxr.account.scripts import read_sql_file, run
from cxr.account.session import PROJECT, use_schema
from cxr.earlier_versions import OLD_LABELS, OLD_PROBABILITY

_ADDED = ("PATIENT_FROM", "STUDY_ID", "SET_ASIDE", "BURNED_IN", "SPLIT_AT")


def upgrade(project: Project) -> list[str]:
    """Upgrade the account. Returns one line for each change; nothing if it is up to date or has no catalog yet."""
    if not use_schema(project.session, project.settings):
        return []
    done = []
    columns = _columns(project, project.settings.catalog_table)
    facts = _columns(project, project.settings.facts_table)
    if columns and (not facts or not set(_ADDED) <= columns.keys()):
        _run_those_of_the_script(project, "ALTER TABLE", "CREATE TABLE")
        project.session.sql(_FILL.format(catalog=project.catalog)).collect()
        done.append(f"{project.settings.catalog_table}: columns {', '.join(_ADDED)}; {project.settings.facts_table}")
    done += _upgrade_answers(project)
    if columns and (columns.get("LABEL") is False or "LABEL_BEFORE" in columns):
        _let_labels_be_null(project, columns)
        done.append(f"{project.settings.catalog_table}: LABEL may be null")
    done += _add_triage(project)
    if columns and (done or _has_old_views(project)):
        _run_those_of_the_script(project, "CREATE OR REPLACE VIEW")
        done.append("views: replaced")
    if columns and not _columns(project, project.settings.pixels_table):
        _run_those_of_the_script(project, f"CREATE TABLE IF NOT EXISTS {project.pixels} ")
        done.append(f"{project.settings.pixels_table}: created")
    return done


def _run_those_of_the_script(project: Project, *starts: str) -> None:
    """Run the statements of `sql/20_objects.sql` that begin so."""
    for statement in read_sql_file(PROJECT / "sql" / "20_objects.sql", project.settings):
        if statement.startswith(starts):
            run(project.session, statement)


def _upgrade_answers(project: Project) -> list[str]:
    """PREDICTIONS gets P_POSITIVE and PROBABILITIES; the validation baseline gets NEGATIVE_LABEL."""
    done, names = [], project.settings
    if OLD_PROBABILITY in _columns(project, names.predictions_table):
        alter = f"ALTER TABLE {project.predictions}"
        project.session.sql(f"{alter} RENAME COLUMN {OLD_PROBABILITY} TO P_POSITIVE").collect()
        project.session.sql(f"{alter} ADD COLUMN IF NOT EXISTS PROBABILITIES STRING").collect()
        done.append(f"{names.predictions_table}: {OLD_PROBABILITY} is P_POSITIVE; column PROBABILITIES")
    if baseline := _columns(project, names.baseline_table):
        table = project.validation_baseline
        if "NEGATIVE_LABEL" not in baseline:
            project.session.sql(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS NEGATIVE_LABEL STRING").collect()
        # Versions whose class is unknown were logged before there was a column for it.
        if project.session.sql(f"SELECT 1 FROM {table} WHERE NEGATIVE_LABEL IS NULL LIMIT 1").collect():
            fill = f"UPDATE {table} SET NEGATIVE_LABEL = ? WHERE NEGATIVE_LABEL IS NULL"
            project.session.sql(fill, params=[OLD_LABELS[0]]).collect()
            done.append(f"{names.baseline_table}: NEGATIVE_LABEL is {OLD_LABELS[0]} where it was unknown")
    return done


def _add_triage(project: Project) -> list[str]:
    known = _columns(project, project.settings.predictions_table)
    if not known or "TRIAGE" in known:
        return []
    project.session.sql(f"ALTER TABLE {project.predictions} ADD COLUMN IF NOT EXISTS TRIAGE STRING").collect()
    return [f"{project.settings.predictions_table}: column TRIAGE"]


def _has_old_views(project: Project) -> bool:
    """Whether the views are missing or lack a column of today's, as where an upgrade was interrupted before them."""
    names = project.settings
    for view, column in ((names.counts_view, "COUNTED"), (names.drift_view, "SIGNAL")):
        found = project.session.sql(f"SHOW VIEWS LIKE '{view}' IN SCHEMA {names.database}.{names.schema}").collect()
        if not found or column not in project.session.table(project.qualified(view)).columns:
            return True
    return False


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

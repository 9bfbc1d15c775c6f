"""The key of a catalog's patient ids, and the check that the present key is the same."""

from collections.abc import Collection

from cxr.account.patient_key import HOW_TO_GIVE_ONE, find_patient_key
from cxr.account.project import Project
from cxr.data.facts import Facts
from cxr.data.patient_ids.headers import read_digests
from cxr.data.patient_ids.rules import key_check, pseudonym


def key_for(project: Project, facts: Facts, needed: bool, told: Collection[str] = ()) -> str:
    """The key to make ids with; the empty one where none is needed.

    Args:
        facts: of the catalog.
        needed: the source has files whose patient is not in their name.
        told: patients as the table writes them.

    Raises:
        ValueError: there is no key, or it is not the one that the catalog's ids are under.
    """
    if not needed:
        return ""
    found = find_patient_key(project)
    if facts.key_check == key_check("") and not (found and found.chosen):
        return ""  # made before there were keys: the same people keep their ids
    if found is None:
        raise ValueError(
            "Patient ids from a table or a header, and ids of files without a patient, are stored only under a secret "
            f"key, and there is none: {HOW_TO_GIVE_ONE}"
        )
    if facts.key_check in (None, key_check(found.value)):
        return found.value
    if facts.guessed and _made_under(project, found.value, told):
        return found.value
    before = "no key" if facts.key_check == key_check("") else "another key"
    raise ValueError(
        f"The patient ids of this catalog were made under {before}: with the key that is set now, known patients would "
        "get second ids, and could be in two splits. Set the former key (or none), or change all ids at once: "
        "python3 ci rekey"
    )


def _made_under(project: Project, key: str, told: Collection[str]) -> bool:
    """Whether the catalog holds an id that this key gives: to a patient of the table, or of a header on the stage."""
    ids = project.session.sql(
        f"SELECT DISTINCT PATIENT_ID FROM {project.catalog} WHERE STARTSWITH(PATIENT_ID, 'patient-')"
    ).collect()
    if {row[0] for row in ids} & {pseudonym(patient, key) for patient in told}:
        return True
    rows = project.session.sql(f"""
        SELECT IMAGE_ID, RELATIVE_PATH, PATIENT_ID FROM {project.catalog}
        WHERE PATIENT_FROM = 'header' ORDER BY IMAGE_ID LIMIT 1""").to_pandas()
    digests = read_digests(project, rows)
    told_by_header = {row.PATIENT_ID: digests[row.IMAGE_ID].patient for row in rows.itertuples()}
    return any(patient and pseudonym(patient, key) == known for known, patient in told_by_header.items())

"""Which key a catalog's patient ids are under, and whether it is the one that is at hand."""

from cxr.account.patient_key import HOW_TO_GIVE_ONE, find_patient_key
from cxr.account.project import Project
from cxr.data.facts import Facts
from cxr.data.patients import key_check


def key_for(project: Project, facts: Facts, needed: bool) -> str:
    """The key to make ids with; the empty one where none is needed.

    Args:
        facts: of the catalog.
        needed: the source has files whose patient is not in their name.

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
            "Ids of patients from a table, a header, or of files that name no patient are stored only under a secret "
            f"key, and there is none: {HOW_TO_GIVE_ONE}"
        )
    if facts.key_check not in (None, key_check(found.value)):
        before = "no key" if facts.key_check == key_check("") else "another key"
        raise ValueError(
            f"The patient ids of this catalog were made under {before}: with the one that is set now, people who are "
            "in it would get second ids, and stand in two splits. Give the key of before, or change all ids at once: "
            "python3 ci rekey"
        )
    return found.value

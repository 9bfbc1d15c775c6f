"""Cataloged files that cannot be scored: they are lost, have other content than their names say, or cannot be read."""

from dataclasses import dataclass

from cxr.account.project import Project
from cxr.data.in_account import functions
from cxr.data.sources import refresh


@dataclass(frozen=True)
class BadFile:
    """A cataloged file that was not scored.

    `place` is on the images stage, `reason` is `lost`, `changed` or `unreadable: ...`.
    """

    place: str
    reason: str


_IN_WORDS = {
    "lost": "lost: the file is not on the images stage any more",
    "changed": "changed: the file on the images stage has other content than its name says",
}


def in_words(bad: BadFile) -> str:
    """The STATUS of a file that was not scored."""
    return _IN_WORDS.get(bad.reason, bad.reason)


def checked(project: Project, images: str) -> str:
    """The query for IMAGE_ID, RELATIVE_PATH and REASON: null if the file has the content of its id.

    Args:
        images: a query for IMAGE_ID and RELATIVE_PATH.
    """
    refresh(project.session, project.images_stage[1:])
    check = functions.define(project, "check", {"image_id": "STRING"}, returns="STRING")
    return f"""SELECT N.IMAGE_ID, N.RELATIVE_PATH, IFF(
            D.RELATIVE_PATH IS NULL, 'lost',
            {check}(BUILD_SCOPED_FILE_URL({project.images_stage}, N.RELATIVE_PATH), N.IMAGE_ID)) AS REASON
        FROM ({images}) N LEFT JOIN DIRECTORY({project.images_stage}) D ON D.RELATIVE_PATH = N.RELATIVE_PATH"""


def explain(project: Project, bad: list[BadFile]) -> str:
    """What to do about each kind. Only files that were read and have other content are to be removed."""
    said = []
    for reason, found, remedy in (
        ("lost", "are lost", "run notebooks/02_data_ingest.ipynb"),
        ("changed", "do not hold what their names say", "REMOVE these, then run notebooks/02_data_ingest.ipynb"),
        ("unreadable", "could not be read", "run this again"),
    ):
        files = [file for file in bad if file.reason.split(":")[0] == reason]
        if files:
            detail = files[0].reason.removeprefix(reason)
            first = f"first: {files[0].place} on {project.images_stage}{detail}"
            said.append(f"{len(files)} images {found} ({first}): {remedy}.")
    return " ".join([*said, "The others are scored."])

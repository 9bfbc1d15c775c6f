"""Where images lie on their stage.

A mounted folder should hold fewer than 100,000 files, so images lie in 256 folders, by the first two digits of their
ids. Earlier versions of this project put all into one; those stay there, and RELATIVE_PATH of the catalog tells.
"""

STAGE_FOLDER = "xrays"


def place_of(name: str) -> str:
    """Where a new image lies on the stage.

    Args:
        name: of its file there, the image's id and an ending.
    """
    return f"{STAGE_FOLDER}/{name[:2]}/{name}"


def possible_places(place: str) -> set[str]:
    """Where an earlier version, or a run that was killed, may have left the image as well."""
    name = place.rpartition("/")[2]
    return {place, f"{STAGE_FOLDER}/{name}", place_of(name)}

"""Paths of images on the images stage.

A mounted folder should hold fewer than 100,000 files, so images are in 256 folders, by the first two digits of their
ids. Earlier versions of this project put all into one folder; those images stay there. The catalog's RELATIVE_PATH has
the path of each image.
"""

STAGE_FOLDER = "xrays"


def place_of(name: str) -> str:
    """The path of a new image on the stage.

    Args:
        name: of its file there, the image's id and an ending.
    """
    return f"{STAGE_FOLDER}/{name[:2]}/{name}"


def possible_places(place: str) -> set[str]:
    """Where an earlier version, or a run that was killed, may have left the image as well."""
    name = place.rpartition("/")[2]
    return {place, f"{STAGE_FOLDER}/{name}", place_of(name)}

"""The chest X-rays of Kermany et al. 2018, as released by Mendeley Data: fetched once, cited, checked, kept.

The release has a `train` and a `test` folder. Only `train` is meant for the catalog: `test` is kept out of it, and is
the outside set for `cxr.lifecycle.external_evaluation`.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cxr.data.download import NotFetched, download
from cxr.data.pixels import cache_directory
from cxr.settings import Settings

NAME = "kermany"  # in the place of a folder, wherever a command takes one
FILE = "ChestXRay2017.zip"
DOI = "10.17632/rscbjbr9sj.2"
LICENCE = f"CC BY 4.0 (Kermany et al. 2018, DOI {DOI})"
PAGE = "https://data.mendeley.com/datasets/rscbjbr9sj/2"
CITATION = (
    "Kermany, Daniel; Zhang, Kang; Goldbaum, Michael (2018): Labeled Optical Coherence Tomography (OCT) and Chest "
    f"X-Ray Images for Classification. Mendeley Data, V2, doi: {DOI}. Licence: CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/): who uses or passes on the images names the authors."
)


@dataclass(frozen=True)
class Release:
    """Places of its two folders, which are sources (:func:`cxr.data.sources.open_source`)."""

    train: str
    test: str


def fetch_release(settings: Settings, say=print, wait: float = 1.0) -> Release:
    """The release, in the cache folder; fetched if it is not there. Source, licence and size are said before.

    Args:
        settings: the address, and size and hash of the file.
        say: is given lines of text.
        wait: see :func:`cxr.data.download.download`.

    Raises:
        NotFetched: it cannot be had; the message says where to get the file by hand, and how to name it.
    """
    target = cache_directory() / "downloads" / FILE
    size, sha256 = settings.kermany_bytes, settings.kermany_sha256
    say(CITATION)
    if not target.exists():
        say(f"Fetching {FILE} ({size:,} bytes, SHA-256 {sha256}) from {settings.kermany_address} to {target}")
    try:
        download(settings.kermany_address, target, size, sha256, wait)
    except (NotFetched, OSError) as error:
        raise NotFetched(
            f"{FILE} could not be fetched from {settings.kermany_address}: {error}.\nGet it by hand: {PAGE} offers "
            f"{FILE} ({size:,} bytes, SHA-256 {sha256}). Save it as {target} and run this again; or give an address "
            "that has it (CXR_KERMANY_ADDRESS)."
        ) from None
    return Release(*(f"{target}/{folder}" for folder in _folders(target)))


def _folders(archive: Path) -> tuple[str, str]:
    """The folders `train` and `test`, wherever in the zip they lie, without the copies that macOS makes."""
    with zipfile.ZipFile(archive) as opened:
        names = [PurePosixPath(name.replace("\\", "/")) for name in opened.namelist()]
    parents = {parent for name in names for parent in name.parents if "__MACOSX" not in name.parts}
    found = []
    for wanted in ("train", "test"):
        folders = sorted(
            (parent for parent in parents if parent.name == wanted), key=lambda folder: (len(folder.parts), str(folder))
        )
        if not folders:
            raise NotFetched(f"{archive} holds no folder {wanted}")
        found.append(folders[0].as_posix())
    return found[0], found[1]

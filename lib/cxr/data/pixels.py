"""From staged files to arrays: every image is fetched and decoded once, then memory-mapped."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
import pandas as pd
import platformdirs

from cxr.account import staged_images
from cxr.account.places import STAGE_FOLDER
from cxr.account.project import Project
from cxr.account.session import is_local
from cxr.atomic_files import write_atomically
from cxr.data.in_account import handlers, stored_pixels
from cxr.data.sources import PHANTOMS
from cxr.model import preprocessing
from cxr.progress import tqdm
from cxr.settings import Settings

FILES_PER_TASK = 32
FULL_SIZE, PHANTOM_SIZE = 128, 64  # pixels a side
FEW = 1_000  # images: these are decoded here before a local account has started its function


def cache_directory() -> Path:
    """Where decoded images stay between runs; readable by its owner alone, because they are patients' images."""
    folder = Path(os.environ.get("CXR_CACHE_DIR") or platformdirs.user_cache_path("cxr"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)  # a folder that was there before keeps its mode otherwise
    return folder


def phantom_folder(settings: Settings) -> Path:
    """Where the phantoms of these settings are kept."""
    knobs = (settings.phantom_patients, settings.phantom_difficulty, settings.seed)
    several = (f"{settings.phantom_findings}-findings",) if settings.phantom_findings > 1 else ()
    return cache_directory() / ("phantoms-" + "-".join(str(value) for value in (*knobs, *several)))


def fetch_files(project: Project, catalog: pd.DataFrame) -> list[Path]:
    """The catalog's files, in its order: on the stage's mount if it has them, else local copies.

    A mount shows the stage as it was a while ago, so it may lack new files: these are fetched.

    Raises:
        FileNotFoundError: the stage lacks files that the catalog names.
        ValueError: a file that was fetched is not what it is named by.
    """
    places = list(catalog["RELATIVE_PATH"])
    mounted = _mounted(project.settings.images_mount, places)
    folder = cache_directory() / "files"
    folder.mkdir(exist_ok=True, mode=0o700)
    files = {place: mounted.get(place, folder / PurePosixPath(place).name) for place in places}
    wanted = [place for place, file in files.items() if not file.exists()]
    staged_images.fetch(project.session, project.images_stage, wanted, folder.as_posix())
    if missing := [place for place in wanted if not files[place].exists()]:
        raise FileNotFoundError(
            f"{len(missing)} of {len(places)} cataloged images are not on {project.images_stage} "
            f"(first: {min(missing)}); run notebooks/02_data_ingest.ipynb again"
        )
    _refuse_other_content(project, {place: files[place] for place in wanted})
    return list(map(files.__getitem__, places))


def _mounted(mount: str, places: Iterable[str]) -> dict[str, Path]:
    """The places that the mount shows, with their files. Asks once for each folder, not for each file."""
    if not mount or not Path(mount, STAGE_FOLDER).is_dir():
        return {}
    shown = {folder: _names(Path(mount, folder)) for folder in {PurePosixPath(place).parent for place in places}}
    return {
        place: Path(mount, place) for place in places if PurePosixPath(place).name in shown[PurePosixPath(place).parent]
    }


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _refuse_other_content(project: Project, fetched: dict[str, Path]) -> None:
    """A file is named by its content: one that is not is taken away again, and refused."""
    wrong = [place for place, file in sorted(fetched.items()) if not is_named_by_content(file, file.read_bytes())]
    for place in wrong:
        fetched[place].unlink()
    if wrong:
        stage = project.images_stage
        raise ValueError(
            f"{len(wrong)} files on {stage} do not hold what their names say (first: {wrong[0]}): somebody wrote over "
            f"them, or they were damaged. REMOVE {stage}/{wrong[0]} and so on, then run notebooks/02_data_ingest.ipynb"
        )


def is_named_by_content(file: Path, data: bytes) -> bool:
    """Whether a file of the images stage has the content that its name stands for. True for files of other names."""
    return handlers.is_named_by_content(file.stem, data)


def decoded(project: Project, catalog: pd.DataFrame) -> np.ndarray:
    """All images of the catalog, in its order, as a read-only memory map: uint8 [N, size, size].

    Built once for each content set, image size and version of the preprocessing; what is half-built or damaged is built
    again. From the rows of the table PIXELS, or from the files: :func:`decodes_in_account` says which.

    Raises:
        FileNotFoundError: the stage lacks files that the catalog names.
        BadImage: a file on the stage is not what was cataloged; names it.
    """
    size = image_size(project, catalog)
    path = cache_directory() / f"decoded-{size}-{cache_key(catalog['IMAGE_ID'], size)}.npy"
    if not _is_whole(path):
        if decodes_in_account(project, len(catalog)):
            with written_with_digest(path) as out:
                stored_pixels.copy(project, catalog, size, out)
        else:
            build(fetch_files(project, catalog), size, path)
    return np.load(path, mmap_mode="r")


def decodes_in_account(project: Project, images: int) -> bool:
    """Whether the warehouse decodes this number of images, into the table PIXELS, or this process, from the files.

    The setting `decode_in` says it. Else the warehouse does, but not few images of a local account. Measured on two
    cores with 5,206 X-rays of 224 px: notebook 02 takes 48 s or 49 s; with an empty cache later, 13 s or 1.4 s.
    """
    if project.settings.decode_in:
        return project.settings.decode_in == "account"
    return images >= FEW or not is_local(project.session)


def image_size(project: Project, catalog: pd.DataFrame) -> int:
    """Pixels a side that the network sees: the setting, else 64 for phantoms, whose findings are large, or 128."""
    if project.settings.image_size:
        return project.settings.image_size
    return PHANTOM_SIZE if are_phantoms(catalog) else FULL_SIZE


def are_phantoms(catalog: pd.DataFrame) -> bool:
    return bool(catalog["SOURCE"].str.startswith(PHANTOMS).all())


def cache_key(image_ids: Sequence[str], size: int) -> str:
    """A hash of the content set and of the preprocessing's version, so that neither can change unnoticed."""
    content = json.dumps([list(image_ids), size, preprocessing.PREPROCESSING_VERSION])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def provenance(stack: np.ndarray, catalog: pd.DataFrame, count: int = 8) -> dict:
    """What a run keeps to be traced and checked by: a hash of the content set with its labels and splits, and hashes of
    the pixels of the first held-out images as the network saw them."""
    content = catalog[["IMAGE_ID", "LABEL", "SPLIT"]].sort_values("IMAGE_ID").to_csv(index=False)
    held_out = np.flatnonzero(catalog["SPLIT"] == "test")[:count]
    pixels = {catalog["IMAGE_ID"].iloc[i]: pixel_hash(stack[i]) for i in held_out}
    return {"content": hashlib.sha256(content.encode()).hexdigest(), "pixels": pixels}


def pixel_hash(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _is_whole(path: Path) -> bool:
    """Whether the file is there and has the digest that was written beside it when it was built."""
    try:
        with open(path, "rb") as file:
            return _digest_file(path).read_text() == hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return False


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def build(files: Sequence[Path], size: int, path: Path) -> None:
    """Decode files into a .npy file at `path`, uint8 [N, size, size]; it appears whole or not at all.

    Written from front to back, so that memory does not grow with the number of files.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), size, size)}
    chunks = [files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK)]
    with (
        written_with_digest(path) as out,
        tqdm(total=len(files), unit="image", desc="decoding here", mininterval=5) as progress,
    ):
        np.lib.format.write_array_header_1_0(out, header)
        for stack in _in_order(lambda chunk: _load(chunk, size), chunks):
            out.write(stack)
            progress.update(len(stack))


@contextmanager
def written_with_digest(path: Path) -> Iterator[BinaryIO]:
    """A temporary file that becomes `path` if the block ends without an error; its digest is written beside it then."""
    with write_atomically(path, durable=False) as out:
        yield out
    with path.open("rb") as file, write_atomically(_digest_file(path)) as digest:
        digest.write(hashlib.file_digest(file, "sha256").hexdigest().encode())


def _load(files: Sequence[Path], size: int) -> np.ndarray:
    stack = np.empty((len(files), size, size), np.uint8)
    for position, file in enumerate(files):
        try:
            data = file.read_bytes()
            if not is_named_by_content(file, data):
                raise preprocessing.BadImage("changed", "the file does not hold what its name says")
            stack[position] = preprocessing.load(data, size)
        except preprocessing.BadImage as bad:
            raise preprocessing.BadImage(
                bad.reason, f"{file.name}: {bad.detail}; run notebooks/02_data_ingest.ipynb"
            ) from None
    return stack


def _in_order(work: Callable, items: Iterable) -> Iterator:
    """`map` on all cores that never has more than a few results waiting."""
    waiting = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * os.cpu_count():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

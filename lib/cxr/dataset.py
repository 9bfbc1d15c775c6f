"""From staged files to arrays: every image is fetched and decoded once, then memory-mapped."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
import torch
from snowflake.snowpark import Session
from tqdm import tqdm

from cxr import images
from cxr.catalog import STAGE_FOLDER
from cxr.settings import Settings


def cache_directory() -> Path:
    """Where decoded images stay between runs; readable by its owner alone, because they are patients' images."""
    folder = Path(os.environ.get("CXR_CACHE_DIR") or platformdirs.user_cache_path("cxr"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def fetch_files(session: Session, catalog: pd.DataFrame, settings: Settings) -> Path:
    """The folder that holds the catalog's files: the stage's mount where there is one, else a local copy.

    Raises:
        FileNotFoundError: the stage lacks files that the catalog names.
    """
    mount = Path(settings.images_mount)
    if settings.images_mount and (mount / STAGE_FOLDER).is_dir():
        return mount / STAGE_FOLDER
    folder = cache_directory() / "files"
    folder.mkdir(exist_ok=True, mode=0o700)
    names = {Path(place).name for place in catalog["RELATIVE_PATH"]}
    if not names <= {entry.name for entry in os.scandir(folder)}:
        session.file.get(f"{settings.images}/{STAGE_FOLDER}/", folder.as_posix())
    missing = names - {entry.name for entry in os.scandir(folder)}
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(names)} cataloged images are not on {settings.images} (first: {min(missing)}); "
            "run notebooks/02_data_ingest.ipynb again"
        )
    return folder


def decoded(session: Session, catalog: pd.DataFrame, settings: Settings) -> np.ndarray:
    """All images of the catalog, in its order, as a read-only memory map: uint8 [N, size, size].

    Built once for each content set, image size and version of the preprocessing; a half-built or damaged file is
    built again.
    """
    key = cache_key(catalog["IMAGE_ID"], settings.image_size)
    path = cache_directory() / f"decoded-{settings.image_size}-{key}.npy"
    if not _is_whole(path, len(catalog), settings.image_size):
        folder = fetch_files(session, catalog, settings)
        files = [folder / Path(place).name for place in catalog["RELATIVE_PATH"]]
        _build(path, files, settings.image_size)
    return np.load(path, mmap_mode="r")


def cache_key(image_ids: Sequence[str], size: int) -> str:
    """A hash of the content set and of the code that decodes it, so that neither can change unnoticed."""
    code = Path(images.__file__).read_bytes()
    return hashlib.sha256(json.dumps([list(image_ids), size]).encode() + code).hexdigest()[:24]


def _is_whole(path: Path, count: int, size: int) -> bool:
    try:
        return np.load(path, mmap_mode="r").shape == (count, size, size)
    except (FileNotFoundError, ValueError, EOFError):
        return False


def _build(path: Path, files: list[Path], size: int) -> None:
    aside = path.with_suffix(f".{os.getpid()}.part")
    stack = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(len(files), size, size))

    def fill(position: int) -> None:
        stack[position] = images.load(files[position].read_bytes(), size)

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(
                tqdm(pool.map(fill, range(len(files))), total=len(files), unit="image", desc="decoding", mininterval=5)
            )
        stack.flush()
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def split_tensors(stack: np.ndarray, catalog: pd.DataFrame, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(uint8 [N, size, size], float [N] with 1 for PNEUMONIA) of one split.

    Raises:
        ValueError: the split holds no image, or a patient of whom another split holds one.
    """
    if len(leaks := catalog.groupby("PATIENT_ID")["SPLIT"].nunique().loc[lambda splits: splits > 1]):
        raise ValueError(
            f"{len(leaks)} patients stand in more than one split of the catalog (first: {leaks.index[0]}), so quality "
            "would be measured on patients that were learnt by heart: empty the catalog and run "
            "notebooks/02_data_ingest.ipynb again"
        )
    chosen = np.flatnonzero(catalog["SPLIT"] == split)
    if not len(chosen):
        raise ValueError(f"the catalog holds no image in the {split} split; more patients are needed")
    labels = (catalog["LABEL"].to_numpy()[chosen] == "PNEUMONIA").astype(np.float32)
    return torch.from_numpy(stack[chosen]), torch.from_numpy(labels)

"""Decoding into the cache, compared with plain loops over the same files on the same cores."""

import io
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from bench_results import Results
from cxr.data.pixels import build
from cxr.model import preprocessing
from cxr.phantoms.dataset import phantom

SIZE = 96
# Of the JPEGs: how many there are of which side.
FILES = {1400: 120, 256: 600}


def run(results: Results) -> None:
    yardsticks = {"a bare loop of the same decoder": _decoder, "a bare loop of Pillow, which checks nothing": _pillow}
    with tempfile.TemporaryDirectory() as scratch:
        for side, count in FILES.items():
            files = 8 * _jpegs(Path(scratch), side, count)  # so that a round takes a second or more

            def ours(files=files) -> int:
                build(files, SIZE, Path(scratch, "stack.npy"))
                return len(files)

            loops = {name: lambda files=files, load=load: _bare(files, load) for name, load in yardsticks.items()}
            results.compare_with_each(f"decoding {side} px JPEGs into the cache", ours, loops)


def _jpegs(folder: Path, side: int, count: int) -> list[Path]:
    files = [folder / f"{side}-{number}.jpeg" for number in range(count)]
    for number, file in enumerate(files):
        chest = phantom("NORMAL", rng=np.random.default_rng(number % 40))
        Image.fromarray(chest).resize((side, side * 7 // 8)).save(file, quality=90)
    return files


def _decoder(data: bytes) -> np.ndarray:
    return preprocessing.load(data, SIZE)


def _pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        box = image.draft("L", (2 * SIZE, 2 * SIZE))[1]
        return np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR, box))


def _bare(files: list[Path], load: Callable[[bytes], np.ndarray]) -> int:
    stack = np.empty((len(files), SIZE, SIZE), np.uint8)
    cores = os.cpu_count()

    def fill(part: range) -> None:
        for position in part:
            stack[position] = load(files[position].read_bytes())

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(fill, (range(core, len(files), cores) for core in range(cores))))
    return len(files)

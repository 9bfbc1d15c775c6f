"""Benchmarks. Each prints a ratio of two rates that were measured in turns in one run, because machines differ."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROUNDS = 5


def run(names: list[str]) -> int:
    """Run the named benchmarks, all without a name; 1 for an unknown name."""
    known = {"training": training, "ingest": ingest}
    if unknown := set(names) - set(known):
        print(f"No benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(known)}.")
        return 1
    for name in names or known:
        known[name]()
    return 0


def compare(title: str, ours: Callable[[], int], yardstick: Callable[[], int]) -> None:
    """Each callable does its work once and returns how many images it handled.

    The ratio of CPU times is printed too: on a machine with other work it is the steadier one.
    """
    rates, costs = ({"ours": [], "yardstick": []} for _ in range(2))
    for _ in range(ROUNDS):
        for name, work in (("ours", ours), ("yardstick", yardstick)):
            start, before = time.perf_counter(), sum(os.times()[:4])
            images = work()
            rates[name].append(images / (time.perf_counter() - start))
            costs[name].append((sum(os.times()[:4]) - before) / images)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    ratios = [a / b for a, b in zip(rates["ours"], rates["yardstick"], strict=True)]
    cheaper = statistics.median(costs["yardstick"]) / statistics.median(costs["ours"])
    print(
        f"{title}: {middle['ours']:.1f} against {middle['yardstick']:.1f} images/s; "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds), "
        f"of CPU time {cheaper:.2f}",
        flush=True,
    )


def training() -> None:
    import bench_training

    bench_training.run(compare, ROUNDS)


def ingest() -> None:
    """Decoding into the cache against bare loops over the same files on the same cores: of the same decoder, and of
    Pillow alone, which reads, reduces and resizes but checks nothing."""
    import io

    from PIL import Image

    from cxr import dataset, images
    from cxr.phantoms import phantom

    size = 96

    def pillow(data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(data)) as image:
            box = image.draft("L", (2 * size, 2 * size))[1]
            return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BILINEAR, box))

    def bare(files: list[Path], load: Callable[[bytes], np.ndarray]) -> int:
        stack = np.empty((len(files), size, size), np.uint8)

        def fill(part: range) -> None:
            for position in part:
                stack[position] = load(files[position].read_bytes())

        cores = os.cpu_count()
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(fill, (range(core, len(files), cores) for core in range(cores))))
        return len(files)

    with tempfile.TemporaryDirectory() as scratch:
        for side, count in ((1400, 120), (256, 600)):
            files = []
            for number in range(count):
                files.append(Path(scratch, f"{side}-{number}.jpeg"))
                chest = phantom("NORMAL", rng=np.random.default_rng(number % 40))
                Image.fromarray(chest).resize((side, side * 7 // 8)).save(files[-1], quality=90)

            def ours(files=files) -> int:
                dataset.build(files, size, Path(scratch, "stack.npy"))
                return len(files)

            for name, load in (("the same decoder", lambda data: images.load(data, size)), ("Pillow alone", pillow)):
                compare(
                    f"decoding {side} px JPEGs into the cache, yardstick a bare loop of {name}",
                    ours,
                    lambda files=files, load=load: bare(files, load),
                )

"""Benchmarks. Each prints the ratio of two rates measured alternately in one run, because machines differ."""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench_results import ROUNDS, Results

if TYPE_CHECKING:
    import bench_serving

RESULTS = Path("build") / "bench.json"


def run(names: list[str], short: bool = False, sizes: list[int] | None = None, data: str | None = None) -> int:
    """Run the named benchmarks, or all but `scale` and `transfer`. Returns 1 if a name is unknown."""
    known = {"training": training, "answering": answering, "ingest": ingest, "app": app, "serving": serving}
    if names == ["scale"]:  # takes long and has a question of its own, so it is no part of the others
        return scale(sizes)
    if names == ["transfer"]:
        return transfer(data)
    if unknown := set(names) - set(known):
        print(f"No benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(known)}.")
        return 1
    results = Results()
    for name in names or known:
        results.benchmark = name
        known[name](results, **({"short": short} if name == "serving" else {}))
    results.write(RESULTS)
    return 0


def scale(sizes: list[int] | None) -> int:
    import bench_scale

    results = Results("scale")
    bench_scale.run(results, tuple(sizes or bench_scale.SIZES))
    return 0


def transfer(data: str | None) -> int:
    if not data:
        print("python3 ci bench transfer --data DIR: it needs X-rays, phantoms say nothing about transfer.")
        return 1
    import bench_transfer

    bench_transfer.run(Results("transfer"), Path(data))
    return 0


def training(results: Results) -> None:
    import bench_training

    bench_training.run(results)


def answering(results: Results) -> None:
    import bench_answering

    bench_answering.run(results)


def serving(results: Results, short: bool) -> None:
    import bench_serving

    bench_serving.run(results, short)


def ingest(results: Results) -> None:
    """Decoding into the cache, compared with two plain loops over the same files on the same cores.

    One loop uses the same decoder; the other uses Pillow only, which reads, reduces and resizes but checks nothing.
    """
    import io

    from PIL import Image

    from cxr.data.pixels import build
    from cxr.model import preprocessing
    from cxr.phantoms.dataset import phantom

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
            files *= 8  # so that a round takes a second or more

            def ours(files=files) -> int:
                build(files, size, Path(scratch, "stack.npy"))
                return len(files)

            for name, load in (
                ("the same decoder", lambda data: preprocessing.load(data, size)),
                ("Pillow alone", pillow),
            ):
                results.compare(
                    f"decoding {side} px JPEGs into the cache, yardstick a bare loop of {name}",
                    ours,
                    lambda files=files, load=load: bare(files, load),
                )


def app(results: Results) -> None:
    """Seconds from an upload to the complete page, compared with a direct call of the same service."""
    with tempfile.TemporaryDirectory() as scratch:
        import bench_serving

        with bench_serving.serve(Path(scratch)) as served:
            _upload(results, served)


def _upload(results: Results, served: "bench_serving.Served") -> None:
    import io

    from PIL import Image
    from streamlit import config
    from streamlit.testing.v1 import AppTest

    from cxr.account.session import PROJECT, start_local_account
    from cxr.phantoms import dataset
    from cxr.serving import scoring

    # The connector has already read its configuration; Streamlit prefers its own secrets.
    login = {
        key: value for key, value in start_local_account(served.project.settings).items() if key != "session_parameters"
    }
    secrets = Path(tempfile.mkdtemp(), "secrets.toml")
    secrets.touch(mode=0o600)
    secrets.write_text("\n".join(["[connections.snowflake]", *(f"{k} = {json.dumps(v)}" for k, v in login.items())]))
    config.set_option("secrets.files", [str(secrets)])
    page = AppTest.from_file(str(PROJECT / "streamlit" / "streamlit_app.py"), default_timeout=120)
    page.query_params["path"] = "SERVICE"
    page.run()
    secrets.unlink()
    pages, calls = [], []
    for number in range(2 * ROUNDS + 1):
        buffer = io.BytesIO()
        pixels = dataset.phantom("PNEUMONIA", rng=np.random.default_rng(number), size=1024)
        Image.fromarray(pixels).save(buffer, "JPEG")
        start = time.perf_counter()
        scoring.explain(served.project.session, served.version, buffer.getvalue(), served.service)
        calls.append(time.perf_counter() - start)
        page.file_uploader[0].upload(f"{number}.jpeg", buffer.getvalue())
        start = time.perf_counter()
        page.run()
        pages.append(time.perf_counter() - start)
        if len(page.image) != 2:
            sys.exit("The page shows no overlay: " + "; ".join(each.value for each in [*page.error, *page.warning]))
    pages, calls = pages[1:], calls[1:]  # the first calls include imports
    detail = (
        f"page {statistics.median(pages):.2f} s (at most {max(pages):.2f}), service {statistics.median(calls):.2f} s"
    )
    ratios = [whole / bare for whole, bare in zip(pages, calls, strict=True)]
    results.add("from a 1024 px upload to the complete page, compared with a call of the service", ratios, detail)

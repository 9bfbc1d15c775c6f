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

import numpy as np

ROUNDS = 5


def run(names: list[str], short: bool = False) -> int:
    """Run the named benchmarks, or all. Returns 1 if a name is unknown."""
    known = {"training": training, "ingest": ingest, "app": app, "serving": lambda: serving(short)}
    if unknown := set(names) - set(known):
        print(f"No benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(known)}.")
        return 1
    for name in names or known:
        known[name]()
    return 0


def compare(title: str, ours: Callable[[], int], yardstick: Callable[[], int]) -> None:
    """Print the ratio of two rates in images per second. Each callable does its work once and returns its images.

    The ratio of CPU times is printed too: it varies less on a busy machine.
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


def serving(short: bool) -> None:
    import bench_serving

    bench_serving.run(ROUNDS, short)


def ingest() -> None:
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
                compare(
                    f"decoding {side} px JPEGs into the cache, yardstick a bare loop of {name}",
                    ours,
                    lambda files=files, load=load: bare(files, load),
                )


def app() -> None:
    """Seconds from an upload to the complete page, compared with a direct call of the same service.

    Uses the account of the last `python3 ci run`. A service that did not exist before is dropped at the end.
    """
    import io

    from PIL import Image
    from streamlit import config
    from streamlit.testing.v1 import AppTest
    from tests.registration import ensure_service

    from cxr import open_project
    from cxr.account.session import PROJECT, start_local_account
    from cxr.phantoms import dataset
    from cxr.serving import scoring

    project = open_project(argv=[])
    session, settings = project.session, project.settings
    version = scoring.find_version(scoring.open_registry(project), settings.model_name)
    if version is None:
        sys.exit("No model is registered. Run `python3 ci run` first.")
    there = not version.list_services().empty
    service = ensure_service(project, version)
    # The connector has already read its configuration; Streamlit prefers its own secrets.
    login = {key: value for key, value in start_local_account(settings).items() if key != "session_parameters"}
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
        scoring.explain(session, version, buffer.getvalue(), service)
        calls.append(time.perf_counter() - start)
        page.file_uploader[0].upload(f"{number}.jpeg", buffer.getvalue())
        start = time.perf_counter()
        page.run()
        pages.append(time.perf_counter() - start)
        if len(page.image) != 2:
            sys.exit("The page shows no overlay: " + "; ".join(each.value for each in [*page.error, *page.warning]))
    if not there:
        session.sql(f"DROP SERVICE {service}").collect()
    pages, calls = pages[1:], calls[1:]  # the first calls include imports
    ratios = [whole / bare for whole, bare in zip(pages, calls, strict=True)]
    print(
        f"from a 1024 px upload to the complete page: {statistics.median(pages):.2f} s (at most {max(pages):.2f}), "
        f"a direct call of the service {statistics.median(calls):.2f} s; ratio {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f} in {len(ratios)} rounds)"
    )

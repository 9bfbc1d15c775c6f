"""How time, memory and statements grow with the number of images: the same steps on more and more small phantoms.

A step of the benchmark runs in a process of its own, with an account of its own, on the phantoms of the step before
and more. Memory is what the client holds without mapped files, at its peak; the account is another process. Statements
are those of the session.
"""

import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from tests.registration import log_version
from tests.trained import model_config, report_of

from bench_results import Results
from cxr.account import scripts
from cxr.account.project import Project, open_project
from cxr.account.session import PROJECT
from cxr.data import catalog, duplicates, ingest, pixels
from cxr.data.splits import Indexed
from cxr.lifecycle import runs
from cxr.model.network import XrayNetwork
from cxr.serving.scoring_job import score_new_images
from cxr.training.batches import batches
from soak import many_phantoms, stop

SIZES = (1_000, 10_000)
RESULTS = Path("build") / "bench_scale.json"
BATCH = 64
_FILES_PER_FOLDER = 1_000  # of the phantoms, so that a PUT sends a thousand


@dataclass(frozen=True)
class Measured:
    """One step of the work at one number of images."""

    images: int
    step: str
    ms_per_image: float
    peak_mb: float
    statements: int

    def __str__(self) -> str:
        return (
            f"{self.images:,} images, {self.step}: {self.ms_per_image:.3f} ms an image, "
            f"peak {self.peak_mb:.0f} MB, {self.statements} statements"
        )


def run(results: Results, sizes: tuple[int, ...] = SIZES) -> None:
    sizes = tuple(sorted(sizes))
    if odd := [size for size in sizes if size < _FILES_PER_FOLDER or size % _FILES_PER_FOLDER]:
        sys.exit(f"--images takes whole thousands, not {odd[0]}")
    files = phantoms(pixels.cache_directory() / "bench-scale", sizes[-1])
    measured: dict[int, list[Measured]] = {}
    for size in sizes:
        # A process of its own, or the peaks of one size would hide those of the next.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            measured[size] = pool.apply(measure, (files, size))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(each) for some in measured.values() for each in some], indent=1) + "\n")
    for title, value in (("time an image", "ms_per_image"), ("peak memory", "peak_mb"), ("statements", "statements")):
        for before, after in zip(sizes, sizes[1:], strict=False):
            for old, new in zip(measured[before], measured[after], strict=True):
                less, more = getattr(old, value), getattr(new, value)
                if less:
                    told = f"{more:.4g} against {less:.4g}"
                    results.add(f"{new.step}, {title} at {after:,} against {before:,}", [more / less], told)


def phantoms(home: Path, count: int) -> Path:
    """A folder with at least so many, made once: folders 0, 1, ... of a thousand each."""
    for number in range(count // _FILES_PER_FOLDER):
        folder = home / str(number)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
                many_phantoms(Path(scratch, "made"), _FILES_PER_FOLDER, seed=number)
                home.mkdir(exist_ok=True)
                Path(scratch, "made").rename(folder)
    return home


def measure(files: Path, size: int) -> list[Measured]:
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CXR_CACHE_DIR"] = str(Path(scratch, "cache"))
        given = dict(image_size=64, scoring_job_from=1)  # by one path for every number of images
        project = open_project(argv=[], environ={}, account_dir=str(Path(scratch, "account")), **given)
        scripts.run_sql_file(project, PROJECT / "sql" / "20_objects.sql")
        stage = _put(project, files, size)
        version = _version(project, files, Path(scratch))
        found: list[Measured] = []
        with _watched(project, found, "ingest from a stage", size):
            counts = ingest.ingest(project, stage)
        if counts["cataloged"] < 0.99 * size:
            sys.exit(f"Only {counts['cataloged']:,} of {size:,} phantoms were cataloged: {counts}")
        rows = catalog.read_catalog(project)
        # Each with an empty cache: the second is what a second container does.
        for step in ("decoding in the account", "reading of PIXELS"):
            stack = _decoded(project, rows, step, found, Path(scratch))
        images = Indexed(stack, np.flatnonzero(rows["SPLIT"] == "train"))
        with _watched(project, found, "reading of an epoch", len(images)):
            order = torch.randperm(len(images) - len(images) % BATCH)
            for _ in batches(images, list(order.split(BATCH)), torch.device("cpu")):
                pass
        with _watched(project, found, "near duplicates", len(rows)):
            duplicates.flag(project)
        with _watched(project, found, "scoring of what is new", len(rows)):
            score_new_images(project, version)
        # Last, because what it leaves in memory would count in the others.
        _decoded(project, rows, "fetching and decoding here", found, Path(scratch), where="client")
        project.session.close()
        stop(Path(scratch, "account"))
        return found


def _decoded(project: Project, rows, step: str, found: list[Measured], scratch: Path, where: str = "account"):
    os.environ["CXR_CACHE_DIR"] = str(scratch / step)
    there = replace(project, settings=replace(project.settings, decode_in=where))
    with _watched(project, found, step, len(rows)):
        return pixels.decoded(there, rows)


def _put(project: Project, files: Path, size: int) -> str:
    stage = project.qualified("BENCH_SCALE")
    project.session.sql(
        f"CREATE STAGE {stage} DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')"
    ).collect()
    for number in range(size // _FILES_PER_FOLDER):
        for folder in sorted((files / str(number)).iterdir()):
            target = f"@{stage}/{number}/{folder.name}"
            project.session.file.put(f"file://{folder}/*", target, auto_compress=False)
    return f"@{stage}"


def _version(project: Project, files: Path, scratch: Path):
    """A version of random weights. It is logged before anything is measured, over a few images of its own."""
    some = scratch / "some"
    many_phantoms(some, 60, seed=10**6)
    ingest.ingest(project, some)
    rows = catalog.read_catalog(project)
    torch.manual_seed(0)
    report = report_of(rows, np.linspace(-2, 2, len(rows)))
    run_id = runs.save(
        project,
        network=XrayNetwork().eval(),
        config=model_config(backbone="resnet18", image_size=64),
        evaluation={"validation": report, "test": report},
        history=[{"epoch": 1, "loss": 0.7}],
    )
    return log_version(project, run_id, runs.fetch(project, run_id, scratch / "run"))


@contextmanager
def _watched(project: Project, found: list[Measured], step: str, images: int) -> Iterator[None]:
    """Time, peak memory and statements of the block."""
    process, peak, ended = psutil.Process(), [0], threading.Event()

    def sample() -> None:
        last = False
        while not last:
            last = ended.wait(0.02)
            memory = process.memory_info()
            # What is shared is mapped files; only Linux tells.
            peak[0] = max(peak[0], memory.rss - getattr(memory, "shared", 0))

    thread = threading.Thread(target=sample)
    thread.start()
    start = time.perf_counter()
    with project.session.query_history() as history:
        yield
    seconds = time.perf_counter() - start
    ended.set()
    thread.join()
    found.append(Measured(images, step, 1000 * seconds / images, peak[0] / 2**20, len(history.queries)))
    print(found[-1], flush=True)

"""Endurance: what takes too long for the tests. Each prints what it measured and fails where a limit is broken.

python3 ci soak mutations [20000]   damaged files: no crash, none over 2 s or 300 MB
python3 ci soak structures [5000]   files of bad structure: the same
python3 ci soak fuzz [600]          seconds of a coverage-guided search for a file that breaks a limit (atheris)
python3 ci soak headers [3000]      DICOM headers made at random, against highdicom and DCMTK
python3 ci soak kills [20]          ingest, killed at random moments: the next run completes the catalog
python3 ci soak account-kills [200]  ingest, versions, promotion, predictions; worker or server killed: nothing is lost
python3 ci soak memory [50000]      peak memory of the ingest of so many images against a tenth of them
python3 ci soak requests [300]      seconds of requests made to break the local account's server and its services
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soak_files
import soak_requests
from environment import ROOT


def run(arguments: list[str]) -> int:
    known = {
        "mutations": (soak_files.mutations, 20_000),
        "structures": (soak_files.structures, 5000),
        "fuzz": (soak_files.fuzz, 600),
        "headers": (soak_files.headers, 3000),
        "kills": (kills, 20),
        "account-kills": (account_kills, 200),
        "memory": (memory, 50_000),
        "requests": (soak_requests.fuzz, 300),
    }
    if not arguments or arguments[0] not in known:
        print(__doc__)
        return 1
    work, amount = known[arguments[0]]
    return work(int(arguments[1]) if len(arguments) > 1 else amount)


def python(code: str, *arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "lib"), str(ROOT)])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


INGEST = """
import json, resource, sys
from pathlib import Path
from snowflake.snowpark import Session
from cxr.account import scripts, session
from cxr.account.project import Project
from cxr.data import checking, ingest
from cxr.settings import load
account, folder, batch, marks = sys.argv[1:]
checking.BATCH = int(batch)
settings = load(argv=[], environ={}, account_dir=account)
opened = Session.builder.configs(session.start_local_account(settings)).create()
project = Project(opened, settings)
if not session.use_schema(opened, settings):
    scripts.run_sql_file(project, session.PROJECT / "sql" / "20_objects.sql")
    session.use_schema(opened, settings)
if folder:
    Path(marks).touch()
    counts = ingest.ingest(project, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = opened.table(project.catalog).drop("CATALOGED_AT", "SPLIT_AT").sort("IMAGE_ID").to_pandas()
    print(json.dumps([counts, opened.sql(f"LIST {settings.images}").count(), rows.to_csv(index=False), peak]))
else:
    opened.sql(f"DELETE FROM {settings.qualified(settings.catalog_table)}").collect()
    opened.sql(f"REMOVE {settings.images}").collect()
"""


def ingest(account: Path, folder: Path | str, batch: int = 1000) -> list | None:
    worker = python(INGEST, account, folder, batch, account / "started", stderr=subprocess.DEVNULL)
    answer = worker.communicate()[0]
    if worker.returncode:
        raise RuntimeError(f"the ingest of {folder} ended with {worker.returncode}")
    return json.loads(answer) if answer.strip() else None


def stop(account: Path) -> None:
    command = [sys.executable, "-m", "local_account", "stop", "--root", str(account)]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT / "lib")}, check=True)


def kills(count: int) -> int:
    from cxr.phantoms.dataset import write_phantoms

    with tempfile.TemporaryDirectory() as scratch:
        account, folder = Path(scratch, "account"), write_phantoms(Path(scratch, "set"), patients=60, size=96)
        for number, file in enumerate(sorted(folder.rglob("*.jpeg"))[::9]):
            file.with_name(f"IM-9{number:03}-0001.jpeg").write_bytes(file.read_bytes() if number % 2 else b"torn")
        ingest(account, "")
        start = time.perf_counter()
        expected = ingest(account, folder, 8)
        whole = time.perf_counter() - start
        chance, done, killed, same = random.Random(0), 0, 0, 0
        try:
            while killed < count:
                ingest(account, "")
                (account / "started").unlink(missing_ok=True)
                worker = python(INGEST, account, folder, 8, account / "started", stderr=subprocess.DEVNULL)
                while not (account / "started").exists():
                    time.sleep(0.02)
                time.sleep(chance.uniform(0, 0.8 * whole))
                done += worker.poll() is not None
                if worker.poll() is None:
                    worker.kill()
                    killed += 1
                    counts, *rest = ingest(account, folder, 8)
                    same += rest[:2] == expected[1:3]
                    print(
                        f"kill {killed}: {counts}, {'equal' if rest[:2] == expected[1:3] else 'DIFFERENT'}", flush=True
                    )
                worker.communicate()
        finally:
            stop(account)
    print(f"{same} of {killed} catalogs equal that of an undisturbed run ({done} runs ended before they were killed)")
    return 0 if same == killed else 1


def account_kills(count: int) -> int:
    import soak_kills

    return soak_kills.kill_often(count, many_phantoms)


def memory(count: int) -> int:
    peaks = {}
    for amount in (count // 10, count):
        with tempfile.TemporaryDirectory() as scratch:
            account, folder = Path(scratch, "account"), Path(scratch, "set")
            many_phantoms(folder, amount)
            start = time.perf_counter()
            counts, _, _, peaks[amount] = ingest(account, folder)
            stop(account)
        print(f"{counts}: {time.perf_counter() - start:.0f} s, peak {peaks[amount]:.0f} MB", flush=True)
    ratio = peaks[count] / peaks[count // 10]
    print(f"peak memory at {count} images is {ratio:.3f} of that at {count // 10}")
    return 0 if ratio <= 1.10 else 1


def many_phantoms(folder: Path, count: int, seed: int = 0) -> None:
    """300 phantoms, each seen many times: turned, shifted and scaled, so that no two are near duplicates."""
    import numpy as np
    from PIL import Image

    from cxr.phantoms.dataset import phantom

    rng = np.random.default_rng(seed)
    chests = [Image.fromarray(phantom("NORMAL", rng=rng, size=96)) for _ in range(300)]
    for number in range(count):
        label = ("NORMAL", "PNEUMONIA")[number % 2]
        place = folder / label / f"person{number // 3 * 2 + number % 2}_virus_{number}.jpeg"
        place.parent.mkdir(parents=True, exist_ok=True)
        angle, scale, shift = rng.normal(0, 0.15), rng.uniform(0.7, 1.2), rng.normal(0, 8, 2)
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        matrix = (cos, -sin, 48 - 48 * (cos - sin) + shift[0], sin, cos, 48 - 48 * (sin + cos) + shift[1])
        chests[number % 300].transform((72, 72), Image.Transform.AFFINE, matrix).save(place, quality=85)

"""Endurance of the decoder: damaged files, files of bad structure, and a coverage-guided search for worse.

Each file is checked in a process of its own kind, so that a crash is seen and named by its seed.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from environment import ROOT

sys.path.append(str(ROOT))  # for tests/, where the files are made

HANG = 2.0  # seconds of one core for one file
MEMORY = 300  # MB that one file may add
STUCK = 60.0  # seconds without an answer, on however busy a machine
FUZZER = ROOT / "build" / "fuzzer"

# Prints [seed, seconds, MB, verdict] for each seed. The peak is Linux's own record, which can be set back.
CHECK = """
import hashlib, json, re, sys, time, warnings
from pathlib import Path
import numpy as np
from cxr.data import checking
from cxr.data.labels import Origin
from tests.bad_structures import build
from tests.broken_files import mutate
warnings.simplefilter("ignore")

def megabytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def verdict(data):
    seen = checking.examine(data, "x", Origin("NORMAL"))
    return "cataloged" if isinstance(seen, checking.Accepted) else seen.reason

kind, folder, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
whole = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
for data in whole:
    verdict(data)  # imports, and memory that is kept
for seed in range(first, last):
    rng = np.random.default_rng(seed)
    data = build(rng) if kind == "structures" else mutate(whole[seed % len(whole)], rng)
    Path("/proc/self/clear_refs").write_text("5")
    before, start = megabytes("VmRSS"), time.process_time()
    said = verdict(data)
    print(json.dumps([seed, time.process_time() - start, megabytes("VmHWM") - before, said]), flush=True)
"""
# The fuzzer mutates the files of its first folder, keeps there what reaches new code, and stops at what breaks a limit.
FUZZ = """
import sys, time, warnings
import atheris
with atheris.instrument_imports(include=["cxr.model", "PIL", "pydicom"]):
    import pydicom.pixels  # which the decoder imports late
    from cxr.model import preprocessing
warnings.simplefilter("ignore")

def one_file(data):
    start = time.process_time()
    try:
        preprocessing.decode(data, at_least=256)
    except preprocessing.BadImage:
        pass
    if time.process_time() - start > 2:
        raise RuntimeError("over 2 s of CPU")

atheris.Setup(sys.argv, one_file)
atheris.Fuzz()
"""


def mutations(count: int) -> int:
    return _check("mutations", count)


def structures(count: int) -> int:
    return _check("structures", count)


def fuzz(seconds: int) -> int:
    """What it finds stays in build/fuzzer, to go on from there, and as crash-... where it breaks a limit."""
    packages, corpus = FUZZER / "packages", FUZZER / "corpus"
    if not packages.is_dir():  # not among the project's own: it is not there for every platform
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q", "--no-deps"]
        subprocess.run([*command, "--target", str(packages), "atheris"], check=True)
    if not corpus.is_dir():
        corpus.mkdir(parents=True)
        _seeds(corpus)
    limits = [f"-max_total_time={seconds}", "-rss_limit_mb=2048", "-timeout=20", "-max_len=30000"]
    command = [sys.executable, "-c", FUZZ, str(corpus), *limits, f"-artifact_prefix={FUZZER}/", "-verbosity=1"]
    path = os.pathsep.join([str(ROOT / "lib"), str(ROOT), str(packages)])
    return subprocess.call(command, env=os.environ | {"PYTHONPATH": path})


def _seeds(folder: Path) -> None:
    import numpy as np
    from tests.bad_structures import build

    whole_files(folder, large=False)
    for seed in range(500):
        data = build(np.random.default_rng(seed))
        if len(data) < 20_000:
            (folder / f"structure-{seed}").write_bytes(data)


def headers(count: int) -> int:
    """The test of the same name, for longer."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/cxr/model/test_oracle.py", "-k", "random"]
    return subprocess.call(command, cwd=ROOT, env=os.environ | {"CXR_ORACLE_EXAMPLES": str(count)})


def whole_files(folder: Path, large: bool = True) -> None:
    """One of each kind, good and bad, and large ones whose declared size fits."""
    import numpy as np
    from PIL import Image
    from tests.broken_files import write_broken_files

    write_broken_files(folder)
    if not large:
        return
    chest = Image.open(folder / "plain.jpeg").resize((2400, 2000))
    chest.save(folder / "large.jpeg", quality=80)
    chest.save(folder / "large.tiff", compression="tiff_lzw")
    Image.fromarray(np.asarray(chest).astype(np.uint16) * 200).save(folder / "large16.png")


def _check(kind: str, count: int) -> int:
    """Through the ingest's own check."""
    with tempfile.TemporaryDirectory() as scratch:
        whole_files(Path(scratch))
        parts = [(start, min(start + 1000, count)) for start in range(0, count, 1000)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = [row for part in pool.map(lambda part: _rows(kind, scratch, *part), parts) for row in part]
    verdicts = Counter(row[3] for row in results)
    slowest, largest = max(results, key=lambda row: row[1]), max(results, key=lambda row: row[2])
    print(f"{len(results)} {kind}: {dict(verdicts.most_common())}")
    print(f"slowest {slowest[1]:.2f} s (seed {slowest[0]}), most memory {largest[2]:.0f} MB (seed {largest[0]})")
    fine = len(results) == count and not verdicts["crash"] and not verdicts["stuck"]
    return 0 if fine and slowest[1] <= HANG and largest[2] <= MEMORY else 1


def _rows(kind: str, folder: str, first: int, last: int) -> list[list]:
    """[seed, seconds, MB, verdict] of each seed; the process is started anew after each death."""
    rows = []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "lib"), str(ROOT)])}
    while first < last:
        worker = subprocess.Popen(
            [sys.executable, "-c", CHECK, kind, folder, str(first), str(last)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libtiff's complaints
            text=True,
        )
        while first < last:
            ready, _, _ = select.select([worker.stdout], [], [], STUCK)
            line = worker.stdout.readline() if ready else ""
            if not line:
                worker.kill()
                rows.append([first, 0.0, 0.0, "crash" if ready else "stuck"])
                first += 1
                break
            rows.append(json.loads(line))
            first += 1
        worker.wait()
    return rows

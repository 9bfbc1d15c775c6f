"""Execute the notebooks in order with nbconvert, and write a report."""

import base64
import json
import os
import platform
import threading
import time
from importlib.metadata import version
from pathlib import Path

import nbformat
import psutil
from nbclient.exceptions import DeadKernelError
from nbconvert.preprocessors import CellExecutionError, ExecutePreprocessor
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor

from cxr.data import kermany
from cxr.data.download import NotFetched
from cxr.data.sources import open_local
from cxr.notebook_metrics import METRICS_TYPE
from cxr.settings import load
from environment import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("0*.ipynb"))


def run(data: str, profile: str | None, only: str, build: str) -> int:
    """Returns 0 if every notebook ran. The first failing notebook ends the run, which then returns 1.

    Args:
        data, profile: empty or None: as the environment says.
    """
    chosen = [path for path in NOTEBOOKS if path.name.startswith(only)]
    if not chosen:
        print(f"No notebook begins with {only!r}; there are {', '.join(path.stem for path in NOTEBOOKS)}.")
        return 1
    try:
        if place := _find(data):
            os.environ["CXR_DATA"] = place
    except (OSError, ValueError, NotFetched) as error:
        print(error)
        return 1
    if profile:
        os.environ["CXR_PROFILE"] = profile
    # The notebooks need the inline backend to keep their figures, even if the caller has set another one.
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    settings = load(argv=[])
    folder = Path(build).resolve()
    _make_private(folder)
    report = {
        "notebooks": [],
        "versions": {name: version(name) for name in ("torch", "torchvision", "snowflake-ml-python", "duckdb")}
        | {"python": platform.python_version()},
        "device": "cpu",
        "data": data or settings.data or "phantoms",
        "profile": settings.profile,
        "seed": settings.seed,
    }
    for path in chosen:
        print(f"{path.stem} ...", flush=True)
        report["notebooks"].append(_execute(path, folder / "notebooks" / path.name))
        if report["notebooks"][-1]["metrics"].get("cuda"):
            report["device"] = "cuda"
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        if report["notebooks"][-1]["status"] == "failed":
            break
    _print_table(report)
    failed = [entry for entry in report["notebooks"] if entry["status"] == "failed"]
    for entry in failed:
        print(f"\n{entry['name']} failed in cell {entry['cell']!r}:\n{entry['error']}")
        print(f"\nThe executed copy up to that cell: {folder / 'notebooks' / (entry['name'] + '.ipynb')}")
    return 1 if failed else 0


def _find(data: str) -> str:
    """What the notebooks are to ingest; a path that holds wherever they run. Empty for phantoms."""
    if data == kermany.NAME:
        place = kermany.fetch_release(load(argv=[])).train
        if not load(argv=[]).data_licence:
            os.environ["CXR_DATA_LICENCE"] = kermany.LICENCE
        print(f"The release's test folder is kept out of the catalog: python3 ci evaluate --data {data} reports on it.")
        return place
    if data and not data.startswith("@"):
        open_local(data)
        return str(Path(data).expanduser().resolve())
    return data


def _make_private(folder: Path) -> None:
    """Executed notebooks show X-rays: what the run writes is readable by its owner alone, and so is an older folder."""
    os.umask(0o077)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def _execute(source: Path, target: Path) -> dict:
    notebook = nbformat.read(source, as_version=4)
    # Warnings of the kernel itself are of no interest. With the default threshold, garbage collection makes imports a
    # sixth slower.
    arguments = ["--log-level=40", "--IPKernelApp.exec_lines=import gc; gc.set_threshold(10_000)"]
    runner = ExecutePreprocessor(timeout=None, kernel_name="python3", extra_arguments=arguments)
    entry = {"name": source.stem, "status": "ok"}
    start = time.perf_counter()
    with _MemoryWatch() as memory:
        try:
            runner.preprocess(notebook, {"metadata": {"path": str(source.parent)}})
        except (CellExecutionError, DeadKernelError) as error:
            entry |= {"status": "failed", "cell": _failed_cell(notebook), "error": _short(error)}
    entry |= {"seconds": round(time.perf_counter() - start, 1), "peak_rss_mb": round(memory.peak / 2**20, 1)}
    entry["metrics"] = _metrics(notebook)
    # A progress bar writes a line for each step; keep only the last.
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    _keep_pictures(notebook, source.stem, target.parents[1] / "figures")
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return entry


def _failed_cell(notebook) -> str:
    """The name of the cell that raised; if the kernel died, of the last cell that had started."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    raised = [cell for cell in code if any(output.output_type == "error" for output in cell.outputs)]
    begun = [cell for cell in code if "execution" in cell.metadata]
    cell = (raised or begun or code)[-1]
    return cell.metadata.get("name", "?")


def _short(error: Exception) -> str:
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}"
    return "the kernel died; the machine may be out of memory"


def _metrics(notebook) -> dict[str, float]:
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found |= output.get("data", {}).get(METRICS_TYPE, {})
    return found


def _keep_pictures(notebook, stem: str, folder: Path) -> None:
    """Save each figure of the notebook as a file named after its cell."""
    folder.mkdir(parents=True, exist_ok=True)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                picture = folder / f"{stem}-{cell.metadata.get('name', '?')}.png"
                picture.write_bytes(base64.b64decode(output["data"]["image/png"]))


def _print_table(report: dict) -> None:
    print(f"\n{'notebook':<18}{'status':<8}{'seconds':>8}{'peak MB':>9}  metrics")
    for entry in report["notebooks"]:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in entry["metrics"].items())
        print(f"{entry['name']:<18}{entry['status']:<8}{entry['seconds']:>8.1f}{entry['peak_rss_mb']:>9.0f}  {figures}")


class _MemoryWatch:
    """Measures the largest total resident memory of this process's children, in bytes (`peak`)."""

    def __enter__(self):
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            sizes = 0
            for child in psutil.Process().children(recursive=True):
                try:
                    sizes += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, sizes)

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

"""Run a notebook as a script: `python jobs/run_notebook.py notebooks/03_train.ipynb [--epochs 5 ...]`.

For platforms that run scripts but not notebooks, such as ML Jobs. The cells run in order in one process. Cell outputs
are not kept, except for files that the notebook saves.
"""

import gc
import json
import os
import sys
from pathlib import Path


def main(path: Path, arguments: list[str]) -> None:
    os.environ.setdefault("MPLBACKEND", "Agg")
    gc.set_threshold(10_000)  # with the default, garbage collection makes imports a sixth slower
    sys.argv = [str(path), *arguments]
    os.chdir(path.parent)
    cells = json.loads(path.read_text())["cells"]
    # The cells run in the module __main__, as in a kernel, so that what they define can be pickled.
    names = sys.modules["__main__"].__dict__
    for cell in cells:
        if cell["cell_type"] == "code":
            name = cell["metadata"]["name"]
            print(f"[{path.stem}] {name}", flush=True)
            exec(compile("".join(cell["source"]), f"{path.name}:{name}", "exec"), names)


if __name__ == "__main__":
    notebook = Path(sys.argv[1])
    main((notebook if notebook.exists() else Path(__file__).resolve().parents[1] / notebook).resolve(), sys.argv[2:])

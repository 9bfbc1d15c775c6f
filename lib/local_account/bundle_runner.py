"""Run one entrypoint of a code bundle: ``bundle_runner ENTRYPOINT ARGUMENTS``, in the bundle's folder.

As in the container runtime there is an active Snowpark session, and ``sys.argv`` holds the arguments.
"""

from __future__ import annotations

import json
import runpy
import sys

PROLOGUE = """\
import sys
from snowflake.snowpark import Session
sys.argv = {argv!r}
Session.builder.config("connection_name", "local").create()
"""


def main() -> None:
    entrypoint, arguments = sys.argv[1], json.loads(sys.argv[2])
    prologue = PROLOGUE.format(argv=[entrypoint, *arguments])
    if entrypoint.endswith(".ipynb"):
        run_notebook(entrypoint, prologue)
    else:
        exec(prologue, {})
        runpy.run_path(entrypoint, run_name="__main__")


def run_notebook(path: str, prologue: str) -> None:
    """Execute the notebook; the executed copy replaces it in the run's folder, up to a failing cell."""
    import nbformat
    from nbconvert.preprocessors import ExecutePreprocessor

    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(prologue))
    try:
        ExecutePreprocessor(timeout=None, kernel_name="python3").preprocess(notebook, {"metadata": {"path": "."}})
    finally:
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()

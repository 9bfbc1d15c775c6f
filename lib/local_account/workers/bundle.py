"""Run one entrypoint of a code bundle, in the bundle's folder.

``python -m local_account.workers.bundle ENTRYPOINT ARGUMENTS``; ARGUMENTS is a JSON list.

As in the container runtime there is an active Snowpark session, and ``sys.argv`` holds the arguments.
"""

import json
import runpy
import sys

PROLOGUE = """\
import sys
from snowflake.snowpark import Session
sys.argv = {argv!r}
Session.builder.config("connection_name", "local").create()
"""


def main(path: str, arguments: list[str]) -> None:
    prologue = PROLOGUE.format(argv=[path, *arguments])
    if not path.endswith(".ipynb"):
        exec(prologue, {})
        runpy.run_path(path, run_name="__main__")
        return
    import nbformat
    from nbconvert.preprocessors import ExecutePreprocessor

    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(prologue))
    # With the default threshold, garbage collection makes imports a sixth slower.
    arguments = ["--IPKernelApp.exec_lines=import gc; gc.set_threshold(10_000)"]
    runner = ExecutePreprocessor(timeout=None, kernel_name="python3", extra_arguments=arguments)
    try:
        runner.preprocess(notebook, {"metadata": {"path": "."}})
    finally:  # the executed copy replaces the notebook in the run's folder, up to a failing cell
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))

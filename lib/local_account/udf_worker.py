"""A process that runs one Python function: ``udf_worker FOLDER HANDLER``. FOLDER holds ``function.json``, the body in
``body.py`` when it was given inline, and the files it imports. Messages are those of warehouse_worker."""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

from .warehouse_worker import plain, serve


def main() -> None:
    folder, handler = Path(sys.argv[1]), sys.argv[2]
    declared = json.loads((folder / "function.json").read_text())
    serve(lambda: load(folder, handler), lambda function, body: run(function, body, declared["arguments"]))


def load(folder: Path, handler: str) -> Callable:
    """The handler: a name in the inline body, or ``module.name`` in an imported file."""
    snowflake = types.ModuleType("_snowflake")
    snowflake.vectorized = lambda **_: mark_vectorized
    sys.modules["_snowflake"] = snowflake
    sys._xoptions["snowflake_import_directory"] = f"{folder}/"
    sys.path[:0] = [str(folder), *map(str, folder.glob("*.zip"))]
    if (folder / "body.py").exists():
        names: dict = {"__name__": "body"}
        exec(compile((folder / "body.py").read_text(), "body.py", "exec"), names)
        return names[handler]
    module, _, name = handler.rpartition(".")
    return getattr(importlib.import_module(module), name)


def mark_vectorized(function: Callable) -> Callable:
    function._sf_vectorized_input = True
    return function


def run(function: Callable, body: bytes, kinds: list[str]) -> list[str]:
    """One JSON text a row; ``kinds`` are the engine's types of the arguments."""
    import pyarrow as pa

    table = pa.ipc.open_stream(body).read_all()
    given = zip(table.columns[1:], kinds, strict=True)  # the first column names the function
    columns = [[convert(value, kind) for value in column.to_pylist()] for column, kind in given]
    if getattr(function, "_sf_vectorized_input", None) is not None:
        import pandas as pd

        values = list(function(pd.DataFrame(dict(enumerate(columns)))))
    else:
        values = [function(*row) for row in zip(*columns, strict=True)] if kinds else [function()] * table.num_rows
    return [json.dumps(value, default=plain) for value in values]


def convert(value: object, kind: str) -> object:
    if value is None:
        return None
    if kind == "JSON":
        return json.loads(value)
    if kind == "BIGINT" or kind.endswith(", 0)"):
        return int(value)
    return float(value) if kind == "DOUBLE" else value


if __name__ == "__main__":
    main()

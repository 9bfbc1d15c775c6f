"""A process that runs Python for the warehouse: a model's methods, or one function.

A model's method runs through the handler file that the SDK generated into the model (``functions/<method>.py``). The
folder of a function holds ``function.json``, its body in ``body.py`` when it was given inline, and the files it
imports. A request is an Arrow table, whose metadata names the handler; the answer in JSON [true, [one JSON text a
row]] or [false, the traceback]. An empty message comes once the code is loaded and after each call of it, so that the
account can tell how long a call takes. The process ends when the pipe to it closes.
"""

import contextlib
import gc
import importlib
import importlib.util
import json
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa


def main(requests: Connection, answers: Connection, kind: str, folder: Path) -> None:
    """Code is loaded at the first request, so that the answer can say why it does not load."""
    loaded: dict[str, Callable] = {}
    with contextlib.suppress(EOFError):
        while True:
            body = requests.recv_bytes()
            try:
                answer = True, run(body, loaded, LOADERS[kind], folder, lambda: answers.send_bytes(b""))
            except BaseException as error:  # noqa: BLE001 - the caller gets any error of the code
                answer = False, traceback_of(error)
            answers.send_bytes(json.dumps(answer).encode())


def traceback_of(error: BaseException) -> str:
    """The traceback without the account's own lines, unless there are no others."""
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if Path(line.filename).parent != Path(__file__).parent]
    shown = traceback.format_list(own or lines) + traceback.format_exception_only(error)
    return "".join(["Traceback (most recent call last):\n", *shown])


def run(body: bytes, loaded: dict[str, Callable], load: Callable, folder: Path, tell: Callable) -> list[str]:
    table = pa.ipc.open_stream(body).read_all()
    handler = table.schema.metadata[b"handler"].decode()
    if handler not in loaded:
        gc.disable()  # garbage collection would take a fifth of the time of the imports
        try:
            loaded[handler] = load(folder, handler)
        finally:
            gc.enable()
    tell()
    made = []
    for values in loaded[handler](table.drop_columns(["key"])):
        tell()
        made += [json.dumps(value, default=plain) for value in values]
    return made


def plain(value: object) -> object:
    """numpy, bytes and time values as JSON knows them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return value.hex() if isinstance(value, (bytes, bytearray)) else str(value)


def provide_snowflake(folder: Path, vectorized: Callable) -> None:
    """What the warehouse's Python offers: the module ``_snowflake``, and the folder of a function's imports."""
    module = types.ModuleType("_snowflake")
    module.vectorized = vectorized
    sys.modules["_snowflake"] = module
    sys._xoptions["snowflake_import_directory"] = f"{folder}/"


def load_model(folder: Path, method: str) -> Callable[[pa.Table], Iterator[list]]:
    provide_snowflake(folder, lambda **_: lambda function: function)
    spec = importlib.util.spec_from_file_location("handler", folder / "functions" / f"{method}.py")
    handler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(handler)
    return lambda table: run_model(handler, table)


def run_model(handler: types.ModuleType, table: pa.Table) -> Iterator[list]:
    """The answers of one call after the other, each over at most MAX_BATCH_SIZE rows."""
    from snowflake.snowpark.types import ArrayType, MapType, StructType, VariantType

    frame = table.to_pandas()
    wanted = len(handler.input_cols) + len(handler.param_cols)
    if not len(handler.input_cols) <= frame.shape[1] <= wanted:
        known = ", ".join([*handler.input_cols, *(f"[{name}]" for name in handler.param_cols)])
        raise TypeError(f"{frame.shape[1]} arguments given; the method takes {known}")
    for column, feature in zip(frame.columns, handler.features, strict=False):
        if isinstance(feature.as_snowpark_type(), (ArrayType, MapType, StructType, VariantType)):
            frame[column] = frame[column].map(json.loads, na_action="ignore")
    for missing in range(frame.shape[1], wanted):
        frame[f"missing_{missing}"] = None
    yield from (infer(handler, batch) for batch in batches(frame, handler.MAX_BATCH_SIZE))


def batches(frame: object, most_rows: int | None) -> Iterator[object]:
    """A pandas frame in parts of so many rows; whole without a number."""
    step = most_rows or len(frame)
    return (frame.iloc[start : start + step].reset_index(drop=True) for start in range(0, len(frame), step))


def infer(handler: types.ModuleType, frame: object) -> list:
    """One value for each row of a pandas frame, by a function's handler or a table function's (it has ``process``)."""
    import numpy as np
    import pandas as pd

    if not isinstance(handler.infer, type):
        answer = handler.infer(frame)
        return answer.tolist() if isinstance(answer, pd.Series) else answer
    answer = handler.infer().process(frame)
    if len(answer) != len(frame):
        raise NotImplementedError("the local account runs table functions that answer one row for each row of input")
    return answer.replace({pd.NA: None, np.nan: None}).to_dict("records")


def mark_vectorized(input: type | None = None, max_batch_size: int | None = None) -> Callable[[Callable], Callable]:
    def mark(function: Callable) -> Callable:
        function._sf_vectorized_input, function._sf_max_batch_size = input or True, max_batch_size
        return function

    return mark


def load_handler(folder: Path, handler: str) -> Callable:
    """A name in the inline body, or ``module.name`` in an imported file."""
    provide_snowflake(folder, mark_vectorized)
    sys.path[:0] = [str(folder), *map(str, folder.glob("*.zip"))]
    if (folder / "body.py").exists():
        names: dict = {"__name__": "body"}
        exec(compile((folder / "body.py").read_text(), "body.py", "exec"), names)
        return names[handler]
    module, _, name = handler.rpartition(".")
    return getattr(importlib.import_module(module), name)


def load_function(folder: Path, handler: str) -> Callable[[pa.Table], Iterator[list]]:
    function = load_handler(folder, handler)
    declared = json.loads((folder / "function.json").read_text())
    kinds, strict = declared["arguments"], declared.get("strict", False)  # the engine's types

    def call(*arguments: object) -> object:
        return None if strict and None in arguments else function(*arguments)

    def run(table: pa.Table) -> Iterator[list]:
        given = zip(table.columns, kinds, strict=False)  # without arguments it is sent one that it does not take
        columns = [[convert(value, kind) for value in column.to_pylist()] for column, kind in given]
        if getattr(function, "_sf_vectorized_input", None) is not None:
            import pandas as pd

            frame = pd.DataFrame(dict(enumerate(columns)))
            yield from (list(function(part)) for part in batches(frame, getattr(function, "_sf_max_batch_size", None)))
            return
        yield from ([call(*(column[row] for column in columns))] for row in range(table.num_rows))

    return run


def convert(value: object, kind: str) -> object:
    if value is None:
        return None
    if kind == "JSON":
        return json.loads(value)
    if kind == "BIGINT" or kind.endswith(", 0)"):
        return int(value)
    return float(value) if kind == "DOUBLE" else value


LOADERS = {"model": load_model, "function": load_function}

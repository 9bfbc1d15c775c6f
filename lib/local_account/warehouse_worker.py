"""A process that runs one method of one packaged model for the warehouse: ``warehouse_worker FOLDER METHOD``.

It executes the handler file which the SDK generated into the model (``functions/<method>.py``), as the warehouse does.
Requests and answers are length-prefixed messages on its standard streams; it ends when its input closes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def main() -> None:
    folder, method = Path(sys.argv[1]), sys.argv[2]
    serve(lambda: load(folder, method), run)


def serve(load: Callable[[], object], run: Callable[[object, bytes], list[str]]) -> None:
    """Answer requests until the input closes. What is loaded is loaded at the first one, so that it can say why not."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the model prints goes to the log, not into an answer
    loaded = None
    while True:
        size = requests.read(8)
        if len(size) < 8:
            return
        body = requests.read(int.from_bytes(size, "big"))
        try:
            loaded = loaded or load()
            send(answers, b"R", json.dumps(run(loaded, body)).encode())
        except BaseException:  # noqa: BLE001 - whatever the model raises is the caller's answer
            send(answers, b"E", traceback.format_exc().encode())


def send(stream: BinaryIO, kind: bytes, body: bytes) -> None:
    stream.write(kind + len(body).to_bytes(8, "big") + body)
    stream.flush()


def load(folder: Path, method: str) -> types.ModuleType:
    """Import the handler file the way the warehouse's Python does."""
    snowflake = types.ModuleType("_snowflake")
    snowflake.vectorized = lambda **_: lambda function: function
    sys.modules["_snowflake"] = snowflake
    sys._xoptions["snowflake_import_directory"] = f"{folder}/"
    spec = importlib.util.spec_from_file_location("handler", folder / "functions" / f"{method}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(handler: types.ModuleType, body: bytes) -> list[str]:
    import pyarrow as pa

    frame = pa.ipc.open_stream(body).read_all().to_pandas()
    wanted = len(handler.input_cols) + len(handler.param_cols)
    if not len(handler.input_cols) <= frame.shape[1] <= wanted:
        known = ", ".join([*handler.input_cols, *(f"[{name}]" for name in handler.param_cols)])
        raise TypeError(f"{frame.shape[1]} arguments given; the method takes {known}")
    for missing in range(frame.shape[1], wanted):
        frame[f"missing_{missing}"] = None
    step = handler.MAX_BATCH_SIZE or len(frame)
    out: list[str] = []
    for start in range(0, len(frame), step):
        values = infer(handler, frame.iloc[start : start + step].reset_index(drop=True))
        out += [json.dumps(value, default=plain) for value in values]
    return out


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


def plain(value: object) -> object:
    """numpy, bytes and time values as JSON knows them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    return str(value)


if __name__ == "__main__":
    main()

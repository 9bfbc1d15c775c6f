"""A process that runs one Python procedure: ``procedure_worker FOLDER HANDLER``.

It gives the handler a Snowpark session of its own on the account that called it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from .udf_worker import load
from .warehouse_worker import plain, serve


def main() -> None:
    folder, handler = Path(sys.argv[1]), sys.argv[2]
    serve(lambda: load(folder, handler), run)


def run(procedure: Callable, body: bytes) -> list[str]:
    import pyarrow as pa
    from snowflake.snowpark import Session

    request = json.loads(pa.ipc.open_stream(body).read_all()["request"][0].as_py())
    given = {key: value for key, value in request["connection"].items() if value is not None}
    given |= {"host": "127.0.0.1", "protocol": "http"}
    with Session.builder.configs(given).create() as session:
        return [json.dumps(procedure(session, *request["arguments"]), default=plain)]


if __name__ == "__main__":
    main()

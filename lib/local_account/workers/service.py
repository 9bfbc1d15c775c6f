"""A process that serves one packaged model over HTTP.

It speaks the protocol of Snowflake's model services: ``POST /<method, underscores as dashes>`` with the bodies
``{"data": [[0, ...]]}`` (flat, or wide with one object a row), ``{"dataframe_split": ...}`` or
``{"dataframe_records": ...}``, each with optional ``params``; the answer is ``{"data": [[0, {...}], ...]}``.
It sends its port through the pipe when the model is loaded, and ends when the pipe to it closes.
"""

import asyncio
import contextlib
import gc
import hmac
import json
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import uvicorn
from snowflake.ml._internal.exceptions.exceptions import SnowflakeMLException
from snowflake.ml.model import model_signature
from snowflake.ml.model._packager.model_packager import ModelPackager
from snowflake.snowpark.types import StringType
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local_account.workers.bodies import BadBody, parse, read_raw
from local_account.workers.connections import configuration
from local_account.workers.loopback import bind

try:
    from snowflake.ml.model._client.ops.param_ops import validate_params
except ImportError:  # its name in older clients
    from snowflake.ml.model._client.ops.param_utils import validate_params

REQUEST_BYTES = 128 << 20
TELL_SECONDS = 0.5
WAITING_LIMIT = 32  # requests that may wait for the model; further ones get status 429


class BadRequest(Exception):
    """The reason why the body is refused, for the caller to read."""


class Service:
    def __init__(self, folder: Path, token: str):
        packager = ModelPackager(str(folder / "model"))
        packager.load(as_custom_model=True)
        self.model, self.signatures = packager.model, packager.meta.signatures
        self.methods = {name.lower().replace("_", "-"): name for name in self.signatures}
        self.token = token
        self.turn = asyncio.Lock()
        self.waiting = self.asked = 0

    def app(self) -> Starlette:
        return Starlette(routes=[
            Route("/health", self.health),
            Route("/{method}", self.predict, methods=["POST"]),
        ])  # fmt: skip

    async def health(self, request: Request) -> JSONResponse:
        return JSONResponse({"status": "READY", "methods": sorted(self.methods)})

    async def predict(self, request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f'Snowflake Token="{self.token}"'.encode()):
            return problem(401, 'The header Authorization: Snowflake Token="..." is missing or its token is wrong.')
        method = self.methods.get(request.path_params["method"])
        if method is None:
            wanted = request.path_params["method"]
            return problem(404, f"There is no method {wanted!r}; there are {sorted(self.methods)}.")
        if self.waiting >= WAITING_LIMIT:
            return problem(429, "Too many requests are waiting for the model; try again later.")
        self.waiting += 1
        self.asked += 1
        try:
            raw = await read_raw(request, REQUEST_BYTES)
            index, frame, params = await run_in_threadpool(self.prepare, method, raw)
            async with self.turn:  # one request at a time, in the order of arrival
                records = await run_in_threadpool(self.infer, method, frame, params)
            return JSONResponse({"data": [[i, record] for i, record in zip(index, records, strict=True)]})
        except BadRequest as error:
            return problem(400, str(error))
        except BadBody as error:
            more = " Send fewer rows at a time." if error.status == 413 else ""
            return problem(error.status, error.words + more)
        except ClientDisconnect:
            return problem(400, "The body did not arrive.")
        except Exception as error:  # noqa: BLE001 - whatever the model raises is the caller's answer
            return problem(500, f"The model failed: {type(error).__name__}: {error}")
        finally:
            self.waiting -= 1

    def prepare(self, method: str, raw: bytes) -> tuple[list, pd.DataFrame, dict]:
        """Row numbers, the checked input frame and the call's parameters. Raises BadRequest."""
        signature = self.signatures[method]
        try:
            index, frame, params = read_body(parse(raw), signature)
            json.dumps(index, ensure_ascii=False, allow_nan=False).encode()  # the answer repeats it
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise BadRequest(f"The body cannot be read: {error}") from error
        try:
            frame = model_signature._convert_and_validate_local_data(frame, signature.inputs, strict=False)
            return index, frame, params
        except Exception as error:  # noqa: BLE001 - the validator has many ways to say no
            raise BadRequest(f"The rows do not fit the method's signature: {error}") from error

    def infer(self, method: str, frame: pd.DataFrame, params: dict) -> list[dict]:
        output = getattr(self.model, method)(frame, **params)
        return json.loads(output.to_json(orient="records", double_precision=15))


def demand(condition: bool, words: str) -> None:
    if not condition:
        raise BadRequest(words)


def read_body(body: dict, signature: model_signature.ModelSignature) -> tuple[list, pd.DataFrame, dict]:
    """Row numbers, the input frame and the call's parameters, from any of the documented forms."""
    columns = [feature.name for feature in signature.inputs]
    known = [param.name for param in signature.params or []]
    demand(isinstance(body, dict), "The body must be a JSON object.")
    demand(isinstance(body.get("params") or {}, dict), "params must be an object.")
    params, index = dict(body.get("params") or {}), None
    if "data" in body:
        index, frame, more = read_data(body["data"], columns, known)
        params |= more
    elif "dataframe_split" in body:
        split = body["dataframe_split"]
        try:
            frame = pd.DataFrame(split["data"], columns=split["columns"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadRequest(f"dataframe_split needs columns and rows of equal width: {error}") from error
        index = split.get("index")
    elif "dataframe_records" in body:
        frame = read_records(body["dataframe_records"], columns)
    else:
        raise BadRequest("The body must have one of: data, dataframe_split, dataframe_records.")
    index = list(range(len(frame))) if index is None else index
    demand(isinstance(index, list) and len(index) == len(frame), "There must be as many row numbers as rows.")
    for name in columns:
        demand(name in frame.columns, f"The column {name} is missing; the method takes {columns}.")
    for name in params:
        demand(name in known, f"There is no parameter {name}; the method takes {known}.")
    try:
        validate_params(params, signature.params)
    except (ValueError, SnowflakeMLException) as error:  # the latter from older clients
        raise BadRequest(f"A parameter does not fit the method's signature: {error}") from error
    for feature in signature.inputs:
        if feature.as_snowpark_type() == StringType():
            is_text = frame[feature.name].map(lambda value: value is None or isinstance(value, str))
            demand(is_text.all(), f"The column {feature.name} takes text.")
    return index, frame[columns], {name: value for name, value in params.items() if value is not None}


def read_data(rows: list, columns: list[str], known: list[str]) -> tuple[list, pd.DataFrame, dict]:
    """``[[0, a, b, param], ...]`` (flat) or ``[[0, {"A": a, "B": b}], ...]`` (wide)."""
    lists = isinstance(rows, list) and all(isinstance(row, list) and row for row in rows)
    demand(lists, "data must be a list of rows, each a list that starts with the row's number.")
    index, width = [row[0] for row in rows], len(columns)
    if rows and len(rows[0]) == 2 and isinstance(rows[0][1], dict):
        records = [row[1] if len(row) == 2 else None for row in rows]
        frame = read_records(records, columns)
        return index, frame, same([{name: record[name] for name in known if name in record} for record in records])
    for row in rows:
        fits = width <= len(row) - 1 <= width + len(known)
        demand(fits, f"A row has {len(row) - 1} values; the method takes {columns} and optionally {known}.")
    frame = pd.DataFrame([row[1 : width + 1] for row in rows], columns=columns)
    return index, frame, same([dict(zip(known, row[width + 1 :], strict=False)) for row in rows])


def read_records(records: list[dict], columns: list[str]) -> pd.DataFrame:
    objects = isinstance(records, list) and all(isinstance(record, dict) for record in records)
    demand(objects, "The rows must be a list of objects.")
    for name in columns:
        demand(all(name in record for record in records), f"The column {name} is missing; the method takes {columns}.")
    return pd.DataFrame(records, columns=None if records else columns)


def same(params: list[dict]) -> dict:
    """The parameters of a request, which each of its rows repeats."""
    demand(all(given == params[0] for given in params), "All rows must have the same parameters.")
    return params[0] if params else {}


def problem(code: int, message: str) -> Response:
    headers = {"Retry-After": "1"} if code == 429 else None
    text = json.dumps({"error": message})  # in ASCII: what is refused may hold half characters
    return Response(text, code, headers, "application/json")


def main(requests: Connection, answers: Connection, folder: Path, port: int, token: str) -> None:
    gc.disable()  # imports allocate much that stays
    service = Service(folder, token)
    gc.enable()
    listener = bind(port, shared=True)
    server = uvicorn.Server(configuration(service.app()))

    def end_with_parent() -> None:
        with contextlib.suppress(EOFError):
            requests.recv_bytes()
        server.should_exit = True

    def tell_use() -> None:
        """The account suspends a service that nobody asks."""
        told = 0
        while not server.should_exit:
            if service.waiting or service.asked != told:
                told = service.asked
                with contextlib.suppress(OSError):
                    answers.send_bytes(b"asked")
            time.sleep(TELL_SECONDS)

    threading.Thread(target=end_with_parent, daemon=True).start()
    answers.send_bytes(json.dumps(listener.getsockname()[1]).encode())
    threading.Thread(target=tell_use, daemon=True).start()
    server.run(sockets=[listener])

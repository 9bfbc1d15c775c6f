"""Fuzzing of what the local account and its services are sent: any bytes are answered in words, never by a 500.

With `atheris` installed (pip install atheris; Linux) the mutations are guided by the code that they reach; without it
they are random, from the same examples.
"""

import asyncio
import gzip
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from environment import ROOT

TARGETS = ("server", "service")
EXAMPLES = [
    {"data": {"PASSWORD": "x", "SESSION_PARAMETERS": {"QUERY_TAG": "a"}}}, {"sqlText": "SELECT 1", "bindings": {}},
    {"sqlText": "SELECT ?", "bindings": {"1": {"type": "FIXED", "value": "1"}}, "asyncExec": True},
    {"data": [[0, "abc", 0.5], [1, "abc", 0.5]]}, {"data": [[0, {"IMAGE": "abc", "threshold": 0.5}]]},
    {"dataframe_split": {"index": [0], "columns": ["IMAGE"], "data": [["abc"]]}},
    {"dataframe_records": [{"IMAGE": "abc"}], "params": {"threshold": 0.5}}, {"requestId": "a"},
]  # fmt: skip
ODD = [b"[" * 5000, b"NaN", b"1e999", b'"\\ud800"', b"\xff", b"9" * 5000, b'{"a":' * 900, b"null", b"-0", b"{}", b'""']
ROUTES = [
    ("POST", "/session/v1/login-request"), ("POST", "/queries/v1/query-request"), ("POST", "/queries/v1/abort-request"),
    ("POST", "/session/token-request"), ("POST", "/session"), ("GET", "/proof"), ("GET", "/parts/x/1"),
    ("PUT", "/stage/x"), ("POST", "/telemetry/send"), ("GET", "/queries/x/result"),
]  # fmt: skip


def fuzz(seconds: int) -> int:
    """So many seconds for each of the server and the service. Prints what broke, and fails."""
    guided = importlib.util.find_spec("atheris") is not None
    print(f"{'guided by coverage' if guided else 'at random: atheris is not installed'}, {seconds} s each", flush=True)
    code = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in TARGETS:
            corpus = Path(scratch, name)
            corpus.mkdir()
            for number, data in enumerate(examples()):
                (corpus / str(number)).write_bytes(data)
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(
                filter(None, [str(ROOT / "lib"), os.environ.get("PYTHONPATH")]))}  # fmt: skip
            command = [sys.executable, __file__, name, str(seconds), str(corpus)]
            code = max(code, subprocess.call(command, cwd=scratch, env=environment))
            print(f"{name}: {'an input broke it' if code else 'nothing broke it'}", flush=True)
    return code


def examples() -> list[bytes]:
    """The first byte chooses route and encoding, the rest is the body."""
    bodies = [*(json.dumps(body).encode() for body in EXAMPLES), *ODD]
    plain = [bytes([number]) + body for number in range(len(ROUTES)) for body in bodies]
    return plain + [bytes([16 + number % 3]) + gzip.compress(body) for number, body in enumerate(bodies)]


def mutate(data: bytes, chance: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randint(0, len(made))
        kind = chance.randrange(4)
        if kind == 0:
            made[place : place + chance.randint(0, 8)] = b""
        elif kind == 1:
            made[place:place] = chance.choice(ODD)[: chance.randint(1, 5000)]
        elif kind == 2:
            made[place : place + 1] = bytes([chance.randrange(256)])
        else:
            made[place:place] = made[: chance.randint(0, len(made))]
    return bytes(made)


def server_target():
    """The server's routes, with and without a valid session; statements themselves are not run."""
    from local_account.server.http import ConnectorProtocol

    account = SimpleNamespace(
        token="t", key="k", port=1, folder=(1, 1), name="LOCAL_ACCOUNT", in_place=lambda: True, root=Path("/x"),
        uploads=SimpleNamespace(known={}),
    )  # fmt: skip
    protocol = ConnectorProtocol(account)
    protocol.sessions["s"] = SimpleNamespace(close=lambda: None)
    protocol.queries = SimpleNamespace(start=lambda *_: SimpleNamespace(id="q"), all=lambda: [], get=missing)
    protocol.answer = accept
    app, loop = protocol.app(), asyncio.new_event_loop()

    def run(data: bytes) -> None:
        choice, body = (data[0], data[1:]) if data else (0, b"")
        method, path = ROUTES[choice % len(ROUTES)]
        headers = [(b"authorization", b'Snowflake Token="s"')] if choice & 32 else []
        headers += [(b"content-encoding", b"gzip")] if choice & 16 else []
        status = loop.run_until_complete(ask(app, method, path, headers, body, body[:40]))
        assert status < 500, (method, path, body)
        protocol.sessions["s"] = protocol.sessions.get("s") or SimpleNamespace(close=lambda: None)

    return run


def missing(query_id: str):
    from local_account.text.errors import SnowflakeError

    raise SnowflakeError(f"Statement {query_id} not found", 709, "02000")


async def accept(query, request):
    from starlette.responses import Response

    return Response()


async def ask(app, method: str, path: str, headers: list, body: bytes, query: bytes) -> int:
    """The status of the app's answer to one request."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    found: list[int] = []

    async def receive() -> dict:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query,
             "headers": headers, "root_path": "", "scheme": "http", "server": ("127.0.0.1", 1), "client": None,
             "http_version": "1.1"}  # fmt: skip
    await app(scope, receive, send)
    return found[0]


def service_target():
    """The service's reading of a body, up to the frame that the model would get."""
    from snowflake.ml.model.model_signature import DataType, FeatureSpec, ModelSignature, ParamSpec

    from local_account.workers.bodies import BadBody
    from local_account.workers.service import BadRequest, Service, problem

    signature = ModelSignature(
        inputs=[FeatureSpec("IMAGE", DataType.STRING)], outputs=[FeatureSpec("P", DataType.DOUBLE)],
        params=[ParamSpec("threshold", DataType.DOUBLE, default_value=0.5)],
    )  # fmt: skip
    service = Service.__new__(Service)
    service.signatures = {"predict": signature}

    def run(data: bytes) -> None:
        try:
            index, frame, _ = service.prepare("predict", data[1:])
            json.dumps(index, allow_nan=False)
            assert len(index) == len(frame)
        except (BadRequest, BadBody) as error:
            problem(400, str(error))

    return run


def main(name: str, seconds: str, corpus: str) -> None:
    make = {"server": server_target, "service": service_target}[name]
    if importlib.util.find_spec("atheris"):
        import atheris

        with atheris.instrument_imports(include=["local_account.server", "local_account.workers"]):
            target = make()
        atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=20000", "-verbosity=0",
                       "-print_final_stats=1", corpus], target)  # fmt: skip
        atheris.Fuzz()
        return
    target, chance, until, count = make(), random.Random(0), time.monotonic() + float(seconds), 0
    whole = examples()
    while time.monotonic() < until:
        target(mutate(chance.choice(whole), chance))
        count += 1
    print(f"{count} inputs", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

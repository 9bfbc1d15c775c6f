"""The local account: how long a short query takes, and how long its start."""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import numpy as np
import snowflake.connector

from bench_results import ROUNDS, Results, seconds_of
from environment import ROOT

QUERIES = 100  # a round
SHORT = {
    "SELECT 1": "SELECT 1",
    "a row by its key": "SELECT NAME FROM BENCH.PUBLIC.ROWS WHERE ID = 500",
}
# What the account is made of, without the account.
IMPORTS = "import duckdb, sqlglot, starlette.applications, uvicorn"


def run(results: Results) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        _starts(results, Path(scratch))
        account = _local_account("start", Path(scratch, "account"))
        try:
            _short_queries(results, account)
        finally:
            _local_account("stop", Path(scratch, "account"))


def _starts(results: Results, scratch: Path) -> None:
    ours, theirs = [], []
    for number in range(ROUNDS + 1):
        theirs.append(seconds_of(lambda: subprocess.run([sys.executable, "-c", IMPORTS], check=True)))
        ours.append(seconds_of(lambda number=number: _local_account("start", scratch / str(number))))
        _local_account("stop", scratch / str(number))
    ours, theirs = ours[1:], theirs[1:]  # the first ones fill the disk's cache
    detail = f"{statistics.median(ours):.2f} s (at most {max(ours):.2f}) against {statistics.median(theirs):.2f} s"
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    results.add("start of the local account, compared with a process that imports its libraries", ratios, detail)


def _short_queries(results: Results, account: dict) -> None:
    login = {key: account[key] for key in ("account", "user", "password", "host", "port", "protocol")}
    quiet = {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False}
    address = f"http://{account['host']}:{account['port']}/health"
    with snowflake.connector.connect(**login, session_parameters=quiet) as connection, httpx.Client() as client:
        ask = connection.cursor().execute
        ask("CREATE DATABASE BENCH")
        rows = "SELECT SEQ4() AS ID, 'N' || ID AS NAME FROM TABLE(GENERATOR(ROWCOUNT => 1000))"
        ask(f"CREATE TABLE BENCH.PUBLIC.ROWS AS {rows}")
        for name, query in SHORT.items():
            ours, ratios = [], []
            for _ in range(ROUNDS):
                round_ = [seconds_of(lambda query=query: ask(query).fetchall()) for _ in range(QUERIES)]
                theirs = [seconds_of(lambda: client.get(address)) for _ in range(QUERIES)]
                ratios.append(statistics.median(round_) / statistics.median(theirs))
                ours += round_
            middle, last = np.percentile(ours, (50, 99))
            detail = f"p50 {1000 * middle:.1f} ms, p99 {1000 * last:.1f} ms, {len(ours)} queries"
            results.add(f"{name} by the connector, compared with GET /health of the same server", ratios, detail)


def _local_account(command: str, root: Path) -> dict:
    line = [sys.executable, "-m", "local_account", command, "--root", str(root)]
    done = subprocess.run(line, cwd=ROOT / "lib", capture_output=True, text=True, check=True)
    return json.loads(done.stdout) if command == "start" else {}

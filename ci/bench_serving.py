"""Throughput of the service compared with decoding and scoring in one process; latency; a long run with bad images.

The service is a separate process of a local account. The client, with its base64 encoding, uses the same cores.
"""

import base64
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import torch
from snowflake.ml.model import ModelVersion
from snowflake.snowpark import Session
from tests.bad_structures import build
from tests.registration import ensure_service, log_version
from tests.trained import model_config, probability, report_of

from bench_results import ROUNDS, Results, seconds_of
from cxr.account import scripts
from cxr.account.project import Project, open_project
from cxr.account.session import PROJECT, start_local_account
from cxr.data import catalog, ingest
from cxr.data.pixels import fetch_files
from cxr.lifecycle import parity, runs
from cxr.model import preprocessing
from cxr.model.gate_features import predict_with_features
from cxr.model.network import XrayNetwork, predict_logits
from cxr.phantoms.dataset import write_phantoms
from cxr.serving import scoring
from cxr.serving.rest_client import ROWS_PER_CALL, ServiceClient
from cxr.serving.service import connect_client
from cxr.training.gate_fitting import FEWEST, fit_gate

CLIENTS = 16
SIDE = 128  # pixels, as for patients' images
HOSTILE = 50


@dataclass(frozen=True)
class Served:
    """A running service (ResNet-18, 128 px, random weights), its client, 128 phantom files, and the network."""

    project: Project
    version: ModelVersion
    service: str
    client: ServiceClient
    files: list[bytes]
    network: XrayNetwork


def run(results: Results, short: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch, serve(Path(scratch)) as served:
        throughput(results, served)
        gate(results, served.files, served.network)
        sql_and_rest(results, served)
        for clients in (1, CLIENTS):
            latency(results, served, 60 if short else 500, clients)
        soak(results, served, 500 if short else 10_000)


@contextmanager
def serve(scratch: Path) -> Iterator[Served]:
    os.environ["CXR_CACHE_DIR"] = str(scratch / "cache")
    project = open_project(argv=[], environ={}, account_dir=str(scratch / "account"))
    session = project.session
    scripts.run_sql_file(project, PROJECT / "sql" / "20_objects.sql")
    write_phantoms(scratch / "set", patients=64, images_per_patient=2, size=512, seed=1)
    ingest.ingest(project, scratch / "set")
    rows = catalog.read_catalog(project)
    files = [path.read_bytes() for path in fetch_files(project, rows)]
    torch.manual_seed(0)
    network = XrayNetwork().eval()
    torch.nn.init.normal_(network.backbone.fc.weight, std=0.3)
    report = report_of(rows, np.linspace(-2, 2, len(rows)))
    run_id = runs.save(
        project,
        network=network,
        config=model_config(backbone="resnet18", image_size=SIDE),
        evaluation={"validation": report, "test": report},
        history=[{"epoch": 1, "loss": 0.7}],
    )
    version = log_version(project, run_id, runs.fetch(project, run_id, scratch / "run"))
    name = ensure_service(project, version)
    yield Served(project, version, name, connect_client(session, name), files, network)
    session.sql(f"DROP SERVICE {name}").collect()
    session.close()


def throughput(results: Results, served: Served) -> None:
    parts = [served.files[start : start + ROWS_PER_CALL] for start in range(0, len(served.files), ROWS_PER_CALL)]

    def bare() -> int:
        with ThreadPoolExecutor() as pool:
            for part in parts:
                pixels = np.stack(list(pool.map(lambda data: preprocessing.load(data, SIDE), part)))
                predict_logits(served.network, torch.from_numpy(pixels))
        return len(served.files)

    def ask() -> int:
        return len(served.client.predict(served.files))

    ask(), bare()  # warm up
    title = f"service in batches of {ROWS_PER_CALL}, compared with decoding and plain network in one process"
    results.compare(title, ask, bare)


def sql_and_rest(results: Results, served: Served) -> None:
    """The same service asked in SQL, over the files on the stage, and over REST."""
    project = served.project
    image = f"{project.qualified('IMAGE_BASE64')}(BUILD_SCOPED_FILE_URL({project.images_stage}, RELATIVE_PATH))"
    statement = f"SELECT IMAGE_ID, {served.service}!PREDICT({image}) AS ANSWER FROM {project.catalog}"

    def in_sql() -> int:
        return len(project.session.sql(statement).collect())

    in_sql()  # warm up
    results.compare(
        "the service asked in SQL, compared with REST", in_sql, lambda: len(served.client.predict(served.files))
    )


def gate(results: Results, files: list[bytes], network: XrayNetwork) -> None:
    """What the gate costs: decoding, network and distances, compared with decoding and network, in one process."""
    stack = torch.from_numpy(np.stack([preprocessing.load(data, SIDE) for data in files]))
    fitted = fit_gate(network, stack, stack, validation_images=FEWEST).gate
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(ROUNDS + 1):
        for name, taken in seconds.items():
            start = time.perf_counter()
            for first in range(0, len(files), ROWS_PER_CALL):
                part = [preprocessing.load(data, SIDE) for data in files[first : first + ROWS_PER_CALL]]
                pixels = torch.from_numpy(np.stack(part))
                if name == "with":
                    fitted.distances(predict_with_features(network, pixels)[1])
                else:
                    predict_logits(network, pixels)
            taken.append(time.perf_counter() - start)
    ratios = [without / taken for taken, without in zip(seconds["with"][1:], seconds["without"][1:], strict=True)]
    results.add("rate of answers with the gate, compared with none", ratios)


def latency(results: Results, served: Served, requests: int, clients: int) -> None:
    """Single images by each path. Every client in SQL has a session of its own."""
    images = [base64.b64encode(data).decode() for data in served.files]

    def in_sql(asked: str) -> Callable[[int], object]:
        statement = f"SELECT {asked}!PREDICT(?)"
        return lambda number: local.session.sql(statement, params=[images[number % len(images)]]).collect()

    paths: dict[str, Callable[[int], object]] = {
        "REST": lambda number: served.client.ask("predict", [served.files[number % len(served.files)]]),
        "service in SQL": in_sql(served.service),
        "warehouse": in_sql(scoring.as_sql(served.version)),
    }
    local, opened = threading.local(), []

    def start() -> None:
        local.session = Session.builder.configs(start_local_account(served.project.settings)).create()
        opened.append(local.session)

    with ThreadPoolExecutor(clients, initializer=start) as pool:
        for name, ask in paths.items():
            seconds = list(pool.map(lambda number, ask=ask: seconds_of(lambda: ask(number)), range(requests + clients)))
            middle, last = np.percentile(seconds[clients:], (50, 99))
            detail = f"{requests} requests, p50 {middle * 1000:.0f} ms, p99 {last * 1000:.0f} ms"
            results.add(
                f"p99 of single images by {clients} clients, {name}, compared with p50", [last / middle], detail
            )
    for session in opened:
        session.close()


def soak(results: Results, served: Served, requests: int) -> None:
    """Every hundredth request is malformed, and 50 others hold hostile files.

    Lost: no answer. Wrong: not what the network says in this process, or an answer to what cannot be decoded.
    """
    hostile = [build(np.random.default_rng(seed)) for seed in range(HOSTILE)]
    files = [*served.files, b"", b"no image", served.files[0][:200], *hostile]
    expected = [_expected(served.network, data) for data in files]
    innocent, process = len(served.files), _process_of(served.client)
    every = requests // HOSTILE

    def choose(number: int) -> int:
        """The place of a request's file."""
        if number % 100 == 0:
            return innocent + number // 100 % 3
        return innocent + 3 + number // every % HOSTILE if number % every == 1 else number % innocent

    def ask(number: int) -> tuple[int, dict | None, float]:
        place, began = choose(number), time.perf_counter()
        try:
            return place, served.client.ask("predict", [files[place]])[0], time.perf_counter() - began
        except httpx.HTTPError:
            return place, None, time.perf_counter() - began

    before, lost, wrong, slowest, start = 0, 0, 0, 0.0, time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done, (place, answer, seconds) in enumerate(pool.map(ask, range(requests))):
            if done == requests // 5:
                before = process.memory_info().rss
            slowest = max(slowest, seconds if place < innocent else 0)
            lost += answer is None
            wrong += answer is not None and not _agrees(answer["P_POSITIVE"], expected[place])
    after, took = process.memory_info().rss, time.perf_counter() - start
    detail = (
        f"{requests} requests by {CLIENTS} clients, {requests // 100} malformed, {HOSTILE} hostile, "
        f"{requests / took:.0f} a second: {lost} lost, {wrong} wrong; slowest innocent request {slowest:.2f} s; "
        f"memory {before / 2**20:.0f} MB after a fifth, {after / 2**20:.0f} at the end"
    )
    results.add("memory of the service at the end, compared with a fifth", [after / before], detail)


def _expected(network: XrayNetwork, data: bytes) -> float | None:
    try:
        pixels = preprocessing.load(data, SIDE)
    except preprocessing.BadImage:
        return None
    return probability(predict_logits(network, torch.from_numpy(pixels.copy()[None])).squeeze(1))[0]


def _agrees(answer: float | None, expected: float | None) -> bool:
    if answer is None or expected is None:
        return answer is None and expected is None
    return abs(answer - expected) <= parity.TOLERANCE


def _process_of(client: ServiceClient) -> psutil.Process:
    port = client._client.base_url.port
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.AccessDenied, psutil.NoSuchProcess):
            connections = process.net_connections("inet")
            if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections):
                return process
    raise LookupError(f"no service listens on port {port}")

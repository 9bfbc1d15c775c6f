"""Throughput of the service compared with decoding and scoring in one process; latency; a long run with bad images.

The service is a separate process of a local account. The client, with its base64 encoding, uses the same cores.
"""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import torch
from tests.registration import ensure_service, log_version
from tests.trained import model_config, probability, report_of

from cxr.account import scripts
from cxr.account.project import open_project
from cxr.account.session import PROJECT
from cxr.data import catalog, ingest
from cxr.data.pixels import fetch_files
from cxr.lifecycle import parity, runs
from cxr.model import preprocessing
from cxr.model.gate import predict_with_features
from cxr.model.network import XrayNetwork, predict_logits
from cxr.phantoms.dataset import write_phantoms
from cxr.serving.rest_client import ROWS_PER_CALL, ServiceClient
from cxr.serving.service import connect_client
from cxr.training.gate_fitting import FEWEST, fit_gate

CLIENTS = 16


def run(rounds: int, short: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch, service(Path(scratch)) as (client, files, network):
        throughput(client, files, network, rounds)
        gate(files, network, rounds)
        latency(client, files, 160 if short else 1600)
        soak(client, files, network, 500 if short else 10_000)


@contextmanager
def service(scratch: Path) -> Iterator[tuple[ServiceClient, list[bytes], XrayNetwork]]:
    """Yields a client of a running service (ResNet-18, 96 px, random weights), 128 phantom files, and the network."""
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
        config=model_config(backbone="resnet18", image_size=96),
        evaluation={"validation": report, "test": report},
        history=[{"epoch": 1, "loss": 0.7}],
    )
    version = log_version(project, run_id, runs.fetch(project, run_id, scratch / "run"))
    name = ensure_service(project, version)
    yield connect_client(session, name), files, network
    session.sql(f"DROP SERVICE {name}").collect()
    session.close()


def throughput(client: ServiceClient, files: list[bytes], network: XrayNetwork, rounds: int) -> None:
    parts = [files[start : start + ROWS_PER_CALL] for start in range(0, len(files), ROWS_PER_CALL)]

    def bare() -> None:
        with ThreadPoolExecutor() as pool:
            for part in parts:
                pixels = np.stack(list(pool.map(lambda data: preprocessing.load(data, 96), part)))
                predict_logits(network, torch.from_numpy(pixels))

    works: dict[str, Callable] = {"service": lambda: client.predict(files), "bare": bare}
    rates = {name: [] for name in works}
    for work in works.values():
        work()  # warm up
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            rates[name].append(len(files) / (time.perf_counter() - start))
    ratios = [a / b for a, b in zip(rates["service"], rates["bare"], strict=True)]
    print(
        f"service in batches of {ROWS_PER_CALL}, compared with decoding and network in one process: "
        f"{statistics.median(rates['service']):.1f} against {statistics.median(rates['bare']):.1f} images/s; "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds)",
        flush=True,
    )


def gate(files: list[bytes], network: XrayNetwork, rounds: int) -> None:
    """What the gate costs: decoding, network and distances, compared with decoding and network, in one process."""
    stack = torch.from_numpy(np.stack([preprocessing.load(data, 96) for data in files]))
    fitted = fit_gate(network, stack, stack, validation_images=FEWEST).gate
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(rounds + 1):
        for name, taken in seconds.items():
            start = time.perf_counter()
            for first in range(0, len(files), ROWS_PER_CALL):
                part = [preprocessing.load(data, 96) for data in files[first : first + ROWS_PER_CALL]]
                pixels = torch.from_numpy(np.stack(part))
                if name == "with":
                    fitted.distances(predict_with_features(network, pixels)[1])
                else:
                    predict_logits(network, pixels)
            taken.append(time.perf_counter() - start)
    ratios = [without / taken for taken, without in zip(seconds["with"][1:], seconds["without"][1:], strict=True)]
    print(
        f"rate with the gate, compared with none: ratio {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f} in {rounds} rounds)",
        flush=True,
    )


def latency(client: ServiceClient, files: list[bytes], requests: int) -> None:
    def ask(number: int) -> float:
        start = time.perf_counter()
        client.ask("predict", [files[number % len(files)]])
        return time.perf_counter() - start

    with ThreadPoolExecutor(CLIENTS) as pool:
        seconds = list(pool.map(ask, range(requests)))
    middle, last = np.percentile(seconds[CLIENTS:], (50, 99))
    print(
        f"{requests} single images by {CLIENTS} clients: p50 {middle * 1000:.0f} ms, p99 {last * 1000:.0f} ms; "
        f"ratio {last / middle:.2f}",
        flush=True,
    )


def soak(client: ServiceClient, files: list[bytes], network: XrayNetwork, requests: int) -> None:
    """Every hundredth request is malformed. Lost: no answer. Wrong: not the network's probability."""
    pixels = np.stack([preprocessing.load(data, 96) for data in files])
    expected = probability(predict_logits(network, torch.from_numpy(pixels)).squeeze(1))
    bad = [b"", b"no image", files[0][:200]]
    process = _process_of(client)
    before, lost, wrong = None, 0, 0

    def ask(number: int) -> tuple[int, dict | None]:
        data = bad[number // 100 % len(bad)] if number % 100 == 0 else files[number % len(files)]
        try:
            return number, client.ask("predict", [data])[0]
        except httpx.HTTPError:
            return number, None

    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done, (number, answer) in enumerate(pool.map(ask, range(requests))):
            if done == requests // 5:
                before = process.memory_info().rss
            lost += answer is None
            if answer and number % 100 == 0:
                wrong += answer["STATUS"] == "ok" or answer["P_POSITIVE"] is not None
            elif answer:
                wrong += abs((answer["P_POSITIVE"] or 9) - expected[number % len(files)]) > parity.TOLERANCE
    after, took = process.memory_info().rss, time.perf_counter() - start
    print(
        f"{requests} requests, one in 100 malformed, {requests / took:.0f} a second: {lost} lost, {wrong} wrong; "
        f"memory {before / 2**20:.0f} MB after a fifth, {after / 2**20:.0f} MB at the end, ratio {after / before:.3f}",
        flush=True,
    )


def _process_of(client: ServiceClient) -> psutil.Process:
    port = client._client.base_url.port
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.AccessDenied, psutil.NoSuchProcess):
            connections = process.net_connections("inet")
            if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections):
                return process
    raise LookupError(f"no service listens on port {port}")

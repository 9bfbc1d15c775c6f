"""What a viewer of the app waits for: a page, and the answer to an upload; without a browser and in a real one."""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from snowflake.snowpark.session import _get_active_sessions
from streamlit import config
from streamlit.testing.v1 import AppTest
from tests.app.app_process import CHROMIUM, FLAGS, ci_app, wait_for_page

from bench_results import ROUNDS, Results, seconds_of
from bench_serving import Served, serve
from cxr.account.session import PROJECT, start_local_account
from cxr.phantoms import dataset
from cxr.serving import scoring

BARE = "import streamlit as st\nst.title('Bare')\nst.file_uploader('X-ray')\n"
SIDE = 1024  # pixels


def run(results: Results) -> None:
    with tempfile.TemporaryDirectory() as scratch, serve(Path(scratch)) as served:
        files = [Path(scratch, f"{number}.jpeg") for number in range(2 * ROUNDS + 1)]
        for number, file in enumerate(files):
            pixels = dataset.phantom("PNEUMONIA", rng=np.random.default_rng(number), size=SIDE)
            Image.fromarray(pixels).save(file)
        calls = [seconds_of(lambda file=file: _call(served, file)) for file in files]
        _without_a_browser(results, served, files, calls)
        if CHROMIUM is None:
            print("No chromium on this machine: nothing was measured in a browser (apt-get install chromium).")
            return
        _in_a_browser(results, served, files, calls, Path(scratch))


def _call(served: Served, file: Path) -> None:
    scoring.explain(served.project.session, served.version, file.read_bytes(), served.service)


def _without_a_browser(results: Results, served: Served, files: list[Path], calls: list[float]) -> None:
    # The connector has already read its configuration; Streamlit prefers its own secrets.
    login = start_local_account(served.project.settings)
    login.pop("session_parameters")
    with tempfile.TemporaryDirectory() as scratch:
        secrets = Path(scratch, "secrets.toml")
        secrets.touch(mode=0o600)
        lines = ["[connections.snowflake]", *(f"{key} = {json.dumps(value)}" for key, value in login.items())]
        secrets.write_text("\n".join(lines))
        config.set_option("secrets.files", [str(secrets)])
        before = set(_get_active_sessions())
        page = AppTest.from_file(str(PROJECT / "streamlit" / "streamlit_app.py"), default_timeout=120)
        page.query_params["path"] = "SERVICE"
        page.run()
    pages = []
    for file in files:
        page.file_uploader[0].upload(file.name, file.read_bytes())
        pages.append(seconds_of(page.run))
        if len(page.image) != 2:
            sys.exit("The page shows no overlay: " + "; ".join(each.value for each in [*page.error, *page.warning]))
    for session in set(_get_active_sessions()) - before:
        session.close()  # or the next benchmark would take it for a notebook's
    title = f"from a {SIDE} px upload to the complete page, compared with a call of the service"
    _add(results, title, pages[1:], calls[1:])  # the first ones include imports


def _add(results: Results, title: str, ours: list[float], yardstick: list[float]) -> None:
    detail = (
        f"{statistics.median(ours):.2f} s (at most {max(ours):.2f}) against {statistics.median(yardstick):.2f} s, "
        f"{len(ours)} times"
    )
    middle = statistics.median(yardstick)
    results.add(title, [taken / middle for taken in ours], detail)


def _in_a_browser(results: Results, served: Served, files: list[Path], calls: list[float], scratch: Path) -> None:
    from playwright.sync_api import sync_playwright

    with (
        ci_app(served.project.settings) as port,
        _bare_app(scratch) as bare,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        def visit(port: int):
            """A new viewer, until the page has its field for files."""
            tab = browser.new_context().new_page()
            tab.goto(f"http://127.0.0.1:{port}/?path=SERVICE")
            tab.locator("input[type=file]").wait_for(state="attached")
            return tab

        visit(bare).context.close()
        first = seconds_of(lambda: visit(port))
        theirs = [seconds_of(lambda: visit(bare)) for _ in range(ROUNDS)]
        ours = [seconds_of(lambda: visit(port)) for _ in range(ROUNDS)]
        title = "first page for a new viewer in Chromium, compared with a Streamlit page of three lines"
        _add(results, title, ours, theirs)
        _add(results, "the same, for the first viewer after a start", [first], theirs)
        answers, overlays = [], []
        for file in files:
            tab = visit(port)
            start = time.perf_counter()
            tab.locator("input[type=file]").set_input_files(file)
            tab.get_by_text("What this means").wait_for()
            answers.append(time.perf_counter() - start)
            tab.get_by_text("Grad-CAM").first.wait_for()
            overlays.append(time.perf_counter() - start)
            tab.context.close()
        against = "compared with a call of the service"
        _add(results, f"from a {SIDE} px upload to the answer in Chromium, {against}", answers[1:], calls[1:])
        _add(results, f"from a {SIDE} px upload to its heat map in Chromium, {against}", overlays[1:], calls[1:])
        browser.close()


@contextmanager
def _bare_app(scratch: Path) -> Iterator[int]:
    (scratch / "bare.py").write_text(BARE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(scratch / "bare.py"), "--server.headless=true"]
    options = [f"--server.port={port}", "--browser.gatherUsageStats=false"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    try:
        wait_for_page(port)
        yield port
    finally:
        process.kill()
        process.wait()

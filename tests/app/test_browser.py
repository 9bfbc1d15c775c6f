"""The app in a real browser, at a desk's width and a phone's, on real X-rays.

Skipped, saying so, where Playwright's Python package, Chromium or the X-rays are missing; installs nothing.
"""

import contextlib
import csv
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from cxr.session import PROJECT, account_directory, start_local_account

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
XRAYS = PROJECT.parent / "shared" / "data" / "quickstart_sample"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
SECONDS = 60_000  # in milliseconds, as Playwright counts

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.skipif(not XRAYS.is_dir(), reason="no real X-rays beside the repository (../shared/data)"),
]


@pytest.fixture(scope="module")
def address(account):
    """The app, served from the filled account as `python3 ci app` serves it."""
    start_local_account(account)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "streamlit/streamlit_app.py"]
    command += ["--server.headless=true", f"--server.port={port}", "--server.address=127.0.0.1"]
    environment = os.environ | {"SNOWFLAKE_HOME": str(account_directory(account))}
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(params=WIDTHS)
def page(request, browser, address):
    width, height = WIDTHS[request.param]
    # A context of its own: an empty profile, no cookie of the test before.
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    context.set_default_timeout(SECONDS)
    tab = context.new_page()
    tab.shape = request.param
    yield tab
    context.close()


@pytest.fixture
def a_real_xray() -> Path:
    return next(path for path in sorted(XRAYS.rglob("*.jpeg")) if "PNEUMONIA" in path.parts)


def picture(page, name: str) -> None:
    folder = PROJECT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    # Streamlit scrolls inside the page: only a taller window shows all of it.
    width, height = WIDTHS[page.shape]
    whole = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": min(max(whole, height), 4000)})
    page.wait_for_timeout(800)
    page.screenshot(path=folder / f"{name}-{page.shape}.png")
    page.set_viewport_size({"width": width, "height": height})


def fits_its_width(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_an_uploaded_xray_is_shown_beside_what_the_model_saw(page, address, a_real_xray):
    page.goto(address)
    page.locator("input[type=file]").set_input_files(a_real_xray)
    page.get_by_text("Probability of pneumonia").wait_for()
    page.get_by_text("Grad-CAM").wait_for()
    assert page.locator("[data-testid=stImage] img").count() == 2
    assert page.get_by_text("Not a medical device").is_visible()
    assert fits_its_width(page)
    picture(page, "single-study")


def test_a_worklist_of_20_is_scored_and_downloaded(page, address):
    page.goto(f"{address}/worklist?split=all&n=20")
    page.get_by_role("button", name="Score").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download results").click()
    rows = list(csv.DictReader(download.value.path().open()))
    assert len(rows) == 20
    assert len({row["image_id"] for row in rows}) == 20
    assert all(row["status"] == "ok" for row in rows)
    page.get_by_text("Truth against call").wait_for()
    assert fits_its_width(page)
    picture(page, "worklist")


@pytest.mark.parametrize("name", ["model", "monitoring"])
def test_the_other_pages_open(page, address, name):
    page.goto(f"{address}/{name}")
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_timeout(1500)
    assert page.locator("[data-testid=stException]").count() == 0
    assert fits_its_width(page)
    picture(page, name)


def test_a_file_name_is_text_and_nothing_else(page, address, a_real_xray, tmp_path):
    alarms = []
    page.on("dialog", lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    bad = tmp_path / "<img src=x onerror=alert(1)>.png"
    bad.write_bytes(b"no image")
    page.goto(address)
    page.locator("input[type=file]").set_input_files(bad)
    page.get_by_text("It was not sent").wait_for()
    assert alarms == []
    assert page.locator("img[src=x]").count() == 0


def test_a_150_mb_upload_is_refused_clearly(page, address, tmp_path):
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(150 * 2**20)
    page.goto(address)
    # Playwright sends at most 50 MB to a browser itself; a file on its own disk may be larger.
    chooser = page.context.new_cdp_session(page)
    page.locator("input[type=file]").wait_for(state="attached")
    chooser.send("DOM.enable")
    root = chooser.send("DOM.getDocument", {"depth": -1, "pierce": True})["root"]
    node = chooser.send("DOM.querySelector", {"nodeId": root["nodeId"], "selector": "input[type=file]"})
    chooser.send("DOM.setFileInputFiles", {"files": [str(huge)], "nodeId": node["nodeId"]})
    page.get_by_text("must be 12.0MB or smaller").wait_for()


def test_two_browsers_do_not_see_each_other(browser, address, a_real_xray):
    contexts = [browser.new_context() for _ in range(2)]
    mine, theirs = [context.new_page() for context in contexts]
    for tab in (mine, theirs):
        tab.goto(address)
        tab.locator("input[type=file]").wait_for(state="attached")
    mine.locator("input[type=file]").set_input_files(a_real_xray)
    mine.get_by_text("Probability of pneumonia").wait_for(timeout=SECONDS)
    theirs.reload()
    theirs.locator("input[type=file]").wait_for(state="attached")
    theirs.wait_for_timeout(1000)
    assert theirs.get_by_text("Probability of pneumonia").count() == 0
    for context in contexts:
        context.close()

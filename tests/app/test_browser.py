"""The app in a real browser, at a desk's width and a phone's, light and dark.

Skipped, saying so, where Chromium is missing; installs nothing. Takes a real X-ray where there is one beside the
repository (../shared/data), else a phantom. Screenshots land in `build/screenshots/`; `app.png` there is the README's
picture, always of phantoms.
"""

import csv
from pathlib import Path

import pytest
from PIL import Image
from tests.app.app_process import CHROMIUM, FLAGS, HOSTILE_CARD, ci_app

import cxr
from cxr.account.session import PROJECT, account_directory

XRAYS = PROJECT.parent / "shared" / "data" / "quickstart_sample"
PICTURES = PROJECT / "build" / "screenshots"
DESKTOP, PHONE = (1280, 900), (390, 844)
SHAPES = {"desktop": (DESKTOP, "light"), "phone": (PHONE, "dark")}
MINUTES = 180_000  # in milliseconds, as Playwright counts; a busy machine is slow

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")


@pytest.fixture(scope="module")
def address(account):
    with ci_app(account) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Opens a tab of a new viewer: an empty profile, no cookie of anyone before."""
    contexts = []

    def start(url: str, shape: str = "desktop"):
        (width, height), scheme = SHAPES[shape]
        options = dict(viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True)
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(MINUTES)
        tab = contexts[-1].new_page()
        tab.goto(url)
        return tab

    yield start
    for context in contexts:
        context.close()


@pytest.fixture(params=SHAPES)
def shape(request) -> str:
    return request.param


@pytest.fixture
def an_xray(xray, tmp_path) -> Path:
    """A real one where there is one; else a phantom."""
    real = sorted(path for path in XRAYS.rglob("*.jpeg") if "PNEUMONIA" in path.parts)
    phantom = tmp_path / "phantom.png"
    phantom.write_bytes(xray)
    return real[0] if real else phantom


def upload(tab, file: Path) -> None:
    tab.locator("input[type=file]").set_input_files(file)
    tab.get_by_text("What this means").wait_for()


def settle(tab) -> None:
    """Wait until the script has ended and no element is a placeholder still."""
    tab.wait_for_function(
        """() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
            && !document.querySelector('[data-testid=stSkeleton]')"""
    )
    tab.wait_for_timeout(500)  # charts and images draw themselves


def picture(tab, name: str, tallest: int = 4000) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    # Streamlit scrolls inside the page: only a taller window shows all of it.
    size = tab.viewport_size
    whole = tab.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    tab.set_viewport_size({"width": size["width"], "height": min(max(whole, size["height"]), tallest)})
    settle(tab)
    tab.screenshot(path=PICTURES / f"{name}.png")
    tab.set_viewport_size(size)


def assert_readable(tab, name: str) -> None:
    """As wide as the window, the notice in view, and nothing serious for axe to find."""
    settle(tab)
    picture(tab, name)
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert tab.get_by_text("Not a medical device").last.is_visible()
    assert tab.locator("[data-testid=stException]").count() == 0
    assert violations(tab) == []


def violations(tab) -> list[str]:
    """Axe's serious and critical findings; Streamlit itself causes none on these pages."""
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    tab.evaluate(Path(axe.AXE_FILE_PATH).read_text())
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:300]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def test_every_page_does_its_work_and_can_be_read(visit, address, an_xray, shape):
    tab = visit(address, shape)
    upload(tab, an_xray)
    tab.get_by_text("Grad-CAM").first.wait_for()
    assert tab.locator("[data-testid=stImage] img").count() == 2, "the X-ray and its overlay"
    assert_readable(tab, f"single-study-{shape}")

    tab.goto(f"{address}/worklist?split=all&n=20")
    tab.get_by_role("button", name="Score").click()
    tab.get_by_text("Truth against prediction").wait_for()
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download results").click()
    rows = list(csv.DictReader(download.value.path().open()))
    assert len(rows) == len({row["image_id"] for row in rows}) == 20
    assert all(row["status"] == "ok" for row in rows)
    assert_readable(tab, f"worklist-{shape}")

    for name, last in (("model", "The registered threshold"), ("monitoring", "Rejected images")):
        tab.goto(f"{address}/{name}")
        tab.get_by_text(last).first.wait_for()
        assert_readable(tab, f"{name}-{shape}")


def test_a_study_is_opened_from_the_stage_by_keyboard_alone(visit, address):
    tab = visit(f"{address}?source=stage")
    tab.get_by_role("button", name="Open 6").wait_for()
    reached = []
    while "Open 1" not in reached and len(reached) < 60:
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.innerText.trim()"))
    assert "Open 1" in reached
    tab.keyboard.press("Enter")
    tab.get_by_role("slider", name="Opacity").focus()
    tab.keyboard.press("ArrowRight")
    tab.get_by_text("55%", exact=True).wait_for()
    assert "image=" in tab.url, "the link shows the same study to whoever gets it"
    assert_readable(tab, "stage-desktop")


def test_a_file_name_is_text_and_nothing_else(visit, address, tmp_path):
    bad = tmp_path / "<img src=x onerror=alert(1)>.png"
    bad.write_bytes(b"no image")
    tab = visit(address)
    alarms = []
    tab.on("dialog", lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    tab.locator("input[type=file]").set_input_files(bad)
    tab.get_by_text("It was not sent").wait_for()
    assert alarms == []
    assert tab.locator("img[src=x]").count() == 0


def test_a_150_mb_upload_is_refused_clearly(visit, address, tmp_path):
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(150 * 2**20)
    tab = visit(address)
    # Playwright sends at most 50 MB to a browser itself; a file on its own disk may be larger.
    chooser = tab.context.new_cdp_session(tab)
    tab.locator("input[type=file]").wait_for(state="attached")
    chooser.send("DOM.enable")
    root = chooser.send("DOM.getDocument", {"depth": -1, "pierce": True})["root"]
    node = chooser.send("DOM.querySelector", {"nodeId": root["nodeId"], "selector": "input[type=file]"})
    chooser.send("DOM.setFileInputFiles", {"files": [str(huge)], "nodeId": node["nodeId"]})
    tab.get_by_text("must be 12.0MB or smaller").wait_for()


def test_two_browsers_do_not_see_each_other(visit, address, an_xray):
    mine, theirs = visit(address), visit(address)
    theirs.locator("input[type=file]").wait_for(state="attached")
    upload(mine, an_xray)
    theirs.reload()
    theirs.locator("input[type=file]").wait_for(state="attached")
    theirs.wait_for_timeout(1000)
    assert theirs.get_by_text("Probability of PNEUMONIA").count() == 0


def test_a_card_reaches_no_other_host(visit, session, account):
    """Version comments are anybody's who may write to the model; a picture of theirs would tell who reads it when."""
    model = account.qualified(account.model_name)
    found = session.sql(f"SHOW VERSIONS IN MODEL {model}").collect()[0]
    name, before = found["name"], found["comment"]
    change = f"ALTER MODEL {model} MODIFY VERSION {name} SET COMMENT = "
    session.sql(change + quoted(HOSTILE_CARD)).collect()
    try:
        with ci_app(account) as port:
            tab, urls = visit("about:blank"), []
            tab.on("request", lambda request: urls.append(request.url))
            tab.goto(f"http://127.0.0.1:{port}/model")
            tab.get_by_text("evil.example").first.wait_for()
            settle(tab)
            assert tab.locator("td", has_text="auroc").count(), "what is no link keeps its form"
            assert tab.locator("a[href*=evil], img[src*=evil], a[href*=mailto]").count() == 0
            assert [url for url in urls if "evil" in url] == []
    finally:
        session.sql(change + quoted(before)).collect()


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def test_three_classes_can_be_read(visit, with_classes, account, an_xray):
    schema = with_classes("NORMAL", "BACTERIA", "VIRUS").settings.schema
    with ci_app(account, CXR_SCHEMA=schema) as port:
        address = f"http://127.0.0.1:{port}"
        tab = visit(address)
        upload(tab, an_xray)
        tab.get_by_text("anything but NORMAL").first.wait_for()
        assert_readable(tab, "three-single-study")
        tab.goto(f"{address}/worklist?split=all&n=20")
        tab.get_by_role("button", name="Score").click()
        tab.get_by_text("Truth against prediction").wait_for()
        assert_readable(tab, "three-worklist")
        for name, last in (("model", "The registered threshold"), ("monitoring", "Rejected images")):
            tab.goto(f"{address}/{name}")
            tab.get_by_text(last).first.wait_for()
            assert_readable(tab, f"three-{name}")


def test_the_readmes_picture_is_drawn(visit):
    """`build/screenshots/app.png`, from the phantoms and the network that `python3 ci run` leaves."""
    settings = cxr.load(argv=[])
    if not (account_directory(settings) / "models").is_dir():
        pytest.skip("no account with a registered model: python3 ci run makes one")
    with ci_app(settings) as port:
        tab = visit(f"http://127.0.0.1:{port}?source=stage&split=test&label=PNEUMONIA")
        tab.get_by_role("button", name="Open 1").click()
        tab.get_by_text("What this means").wait_for()
        tab.mouse.move(5, 5)  # no tooltip in the picture
        picture(tab, "app", tallest=1150)
    with Image.open(PICTURES / "app.png") as drawn:
        drawn.convert("RGB").quantize(256).save(PICTURES / "app.png", optimize=True)
    assert (PICTURES / "app.png").stat().st_size < 300_000

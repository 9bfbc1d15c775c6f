import hashlib
import subprocess
import sys
import tempfile

import pytest
from snowflake.snowpark.exceptions import SnowparkSQLException
from tests.app.elements import button, metric, upload
from tests.broken_files import write_broken_files

from cxr.account.session import PROJECT
from cxr.serving import predictions as serving_predictions
from cxr.serving import scoring


def test_an_upload_is_answered_by_the_registered_model_and_recorded_once(open_app, xray, session, account, words):
    app = upload(open_app(), "xray.png", xray)
    assert not app.exception
    assert metric(app, "Truth") == "Unknown"
    side = {"PNEUMONIA": "at or above", "NORMAL": "below"}[metric(app, "Prediction")]
    assert f"The probability is {side} the threshold of 40.0%" in words(app)
    assert "95% interval" in words(app)
    assert len(app.image) == 2, "the X-ray and its overlay"
    app.slider(key="opacity").set_value(20).run()
    rows = session.table(account.qualified(account.predictions_table)).to_pandas()
    mine = rows[rows["IMAGE_ID"] == hashlib.sha256(xray).hexdigest()]
    assert len(mine) == 1, "a rerun asks and records nothing again"
    assert mine["PATH_TAKEN"].item() == "WAREHOUSE"
    assert f"{mine['P_POSITIVE'].item():.1%}" == metric(app, "Probability of PNEUMONIA")


def test_no_page_ever_imports_torch(open_app, streamlit_secrets, xray, tmp_path):
    """Asked of a process of its own: this one has torch, because it made the model."""
    (tmp_path / "xray.png").write_bytes(xray)
    script = f"""
import sys
from pathlib import Path
from streamlit import config
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
manifest_scanner.scan_component_manifests = list  # as in conftest.py
config.set_option("secrets.files", [{str(streamlit_secrets)!r}])
app = AppTest.from_file("streamlit/streamlit_app.py", default_timeout=60).run()
app.file_uploader[0].upload("xray.png", Path({str(tmp_path)!r}, "xray.png").read_bytes()).run()
print(len(app.metric))
for page in ("worklist", "model", "monitoring"):
    app.switch_page(f"views/{{page}}.py").run()
    print(len(app.exception))
print("torch" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert answer.stdout.split() == ["3", "0", "0", "0", "False"], answer.stderr[-2000:]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_staged_image_shows_the_truth(open_app, session, account, words, split):
    app = open_app(source="stage", split=split)
    cards = [button for button in app.button if (button.key or "").startswith("open-")]
    assert len(cards) == 6
    cards[0].click().run()
    image = app.query_params["image"]
    truth = session.table(account.qualified(account.catalog_table)).to_pandas().set_index("IMAGE_ID")["LABEL"]
    assert metric(app, "Truth") == truth[image]
    verb = "agrees with" if metric(app, "Prediction") == metric(app, "Truth") else "contradicts"
    assert f"The prediction {verb} the catalog ({split} split" in words(app)
    assert ("The model was trained on this image" in words(app)) == (split == "train")
    assert not app.exception


def test_an_answer_about_a_staged_image_is_recorded_only_while_the_image_is_cataloged(open_app, xray, monkeypatch):
    """A patient may be forgotten while the model is asked; an upload is in no catalog."""
    cataloged = []
    monkeypatch.setattr(serving_predictions, "write_predictions", lambda *given: cataloged.append(given[-1]))
    app = open_app(source="stage", split="validation")
    next(button for button in app.button if (button.key or "").startswith("open-")).click().run()
    upload(open_app(), "xray.png", xray)
    assert cataloged == [True, False]


def test_a_staged_file_with_other_content_is_not_shown_as_the_cataloged_image(
    open_app, written_over, predictions, words
):
    before = predictions()
    app = open_app(source="stage", image=written_over)
    assert not app.exception and not app.metric
    assert "not the cataloged image" in words(app) and "REMOVE" in words(app)
    assert predictions() == before
    cards = [button for button in app.button if (button.key or "").startswith("open-")]
    assert cards[0].key == f"open-{written_over}"
    assert len(app.image) == len(cards) - 1, "its card has no picture"


def test_what_the_answer_means_is_told_from_test_images(open_app, xray, words, tmp_path, monkeypatch):
    import app_runs

    app = upload(open_app(), "xray.png", xray)
    app_runs._artifact.clear()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    test = app_runs.evaluation(app.selectbox(key="version").value)["test"]
    at = test["metrics"]
    assert f"finds **{at['sensitivity']['value']:.0%}** (" in words(app)
    assert f"clears **{at['specificity']['value']:.0%}** (" in words(app)
    assert f"Measured on {test['images']} images of {test['patients']} patients" in words(app)
    assert not list(tmp_path.rglob("evaluation.json")), "nothing is left where another viewer's file may be"


@pytest.mark.parametrize(
    ("patients", "error", "meaning"),
    [
        (500, 0.04, "can be read as a frequency"),
        (500, 0.24, "not as a frequency**: on test patients it was off by 24 percentage points"),
        (99, 0.04, "99 test patients are too few"),
    ],
)
def test_a_probability_is_called_a_frequency_only_where_it_was_one(
    open_app, monkeypatch, xray, words, patients, error, meaning
):
    import app_runs

    measured = app_runs.evaluation

    def as_if(version):
        report = measured(version)
        report["test"]["patients"], report["test"]["metrics"]["ece"]["value"] = patients, error
        return report

    monkeypatch.setattr(app_runs, "evaluation", as_if)
    assert meaning in words(upload(open_app(), "xray.png", xray))


def test_another_version_is_asked_anew_and_goes_along(open_app, second_version, xray, session, account):
    app = upload(open_app(), "xray.png", xray)
    before = metric(app, "Probability of PNEUMONIA")
    other = next(option for option in app.selectbox(key="version").options if "(default)" not in option)
    app.selectbox(key="version").set_value(other).run()
    assert not app.exception
    rows = session.table(account.qualified(account.predictions_table)).to_pandas()
    said = rows[(rows["IMAGE_ID"] == hashlib.sha256(xray).hexdigest()) & (rows["MODEL_VERSION"] == other)]
    assert metric(app, "Probability of PNEUMONIA") == f"{said['P_POSITIVE'].item():.1%}" != before
    app.query_params.clear()
    app.switch_page("views/worklist.py").run()
    assert app.selectbox(key="version").value == other


def test_the_stage_can_be_filtered_and_paged_and_the_url_keeps_it(open_app, words):
    app = open_app(source="stage", split="train", label="NORMAL")
    assert app.selectbox(key="split").value == "train"
    assert app.query_params["label"] in ("NORMAL", ["NORMAL"])
    app = open_app(source="stage")
    button(app, "Next").click().run()
    assert "page 2 of 17" in words(app)


def test_what_is_searched_for_never_stands_in_the_url(open_app, words):
    app = open_app(source="stage")
    app.text_input(key="search").set_value("Erika Mustermann [").run()
    assert "No image matches" in words(app)
    assert "Mustermann" not in str(app.query_params)
    app.text_input(key="search").set_value("im-0001").run()
    assert "1 images, page 1 of 1" in words(app)


def test_what_stands_in_the_url_is_only_used_if_it_is_an_option(open_app):
    app = open_app(source="nowhere", version="'; DROP TABLE X", path="CARRIER PIGEON", page="-7", image="x")
    assert not app.exception
    assert app.radio(key="source").value == "upload"
    assert app.radio(key="path").value == "WAREHOUSE"


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>.png", "notes.dcm"])
def test_a_file_that_is_no_image_is_refused_before_it_is_sent(open_app, predictions, words, name):
    before = predictions()
    app = upload(open_app(), name, b"just some text, whatever the name says")
    assert "not an image that can be read" in words(app)
    assert "not sent" in words(app)
    assert "onerror" not in words(app)
    assert not app.exception
    assert predictions() == before


def test_every_reason_to_refuse_a_file_has_its_sentence(tmp_path):
    reasons = set(write_broken_files(tmp_path).values()) - {"ok", "duplicate"}
    page = (PROJECT / "streamlit" / "views" / "single_study.py").read_text()
    assert reasons
    assert [reason for reason in reasons if f'"{reason}": "' not in page] == []


def test_a_file_above_the_limit_is_refused(open_app, words):
    app = upload(open_app(), "big.png", b"\x89PNG" + bytes(13 * 2**20))
    assert "too large" in words(app)
    assert not app.exception


def test_two_viewers_do_not_see_each_other(open_app, xray):
    mine, theirs = open_app(), open_app()
    upload(mine, "xray.png", xray)
    theirs.run()
    assert mine.metric and not theirs.metric
    assert "answers" not in theirs.session_state


def test_the_notice_is_on_every_page(open_app):
    for page in ("single_study", "worklist", "model", "monitoring"):
        assert "Not a medical device" in open_app(page).get("html")[0].proto.body


def test_without_a_schema_the_first_notebook_is_named(fresh_caches, open_app, monkeypatch, words):
    monkeypatch.setenv("CXR_SCHEMA", "NOWHERE")
    assert "01_setup.ipynb" in words(open_app())


def test_with_an_empty_catalog_uploads_work_and_the_stage_names_the_notebook(open_app, empty_catalog, xray, words):
    assert "02_data_ingest.ipynb" in words(open_app(source="stage"))
    app = upload(open_app(), "xray.png", xray)
    assert metric(app, "Truth") == "Unknown"


def test_without_a_service_the_warehouse_is_offered(open_app, words):
    app = open_app(path="SERVICE")
    assert "No service runs version" in words(app)
    button(app, "Use the warehouse").click().run()
    assert app.radio(key="path").value == "WAREHOUSE"
    assert app.file_uploader


def test_an_account_that_does_not_answer_is_reported_without_a_trace(fresh_caches, open_app, streamlit_secrets, words):
    streamlit_secrets.write_text(streamlit_secrets.read_text().replace("password = ", 'password = "wrong"\n# '))
    app = open_app()
    assert "did not answer" in words(app)
    assert not app.exception


@pytest.fixture
def service(open_app, monkeypatch):
    """Makes the app believe in a service with that status."""
    import app_account

    def tell(status: str) -> None:
        found = lambda version: [{"name": "DB.S.PNEUMONIA_SERVICE", "status": status}]  # noqa: E731
        found.clear = lambda: None
        monkeypatch.setattr(app_account, "services", found)

    return tell


def test_a_suspended_service_can_be_woken_or_passed_by(open_app, service, words):
    service("SUSPENDED")
    app = open_app(path="SERVICE")
    assert "The service is suspended" in words(app)
    assert {"Use the warehouse", "Wake the service"} <= {each.label for each in app.button}
    assert not app.exception


def test_a_service_that_fails_when_asked_is_named_and_the_warehouse_answers(
    open_app, service, monkeypatch, xray, words
):
    service("RUNNING")
    explain = scoring.explain

    def fails(session, version, data, service=None):
        if service:
            raise SnowparkSQLException("the text of an image", error_code="1304", sql_error_code=395023)
        return explain(session, version, data)

    monkeypatch.setattr(scoring, "explain", fails)
    app = upload(open_app(path="SERVICE"), "xray.png", xray)
    assert "The service did not answer" in words(app)
    assert "the text of an image" not in words(app)
    button(app, "Use the warehouse").click().run()
    assert metric(app, "Probability of PNEUMONIA")
    assert not app.exception


def test_a_fault_of_the_app_itself_is_a_sentence_and_the_log_holds_no_content(
    open_app, monkeypatch, xray, words, caplog
):
    import app_pictures

    monkeypatch.setattr(app_pictures, "overlay", lambda *_: {}["name of a patient"])
    app = upload(open_app(), "xray.png", xray)
    assert "could not be shown (KeyError" in words(app)
    assert not app.exception
    assert "KeyError" in caplog.text
    assert "name of a patient" not in caplog.text + words(app)
    assert metric(app, "Probability of PNEUMONIA"), "the rest of the page stands"


def test_an_answer_that_could_not_be_recorded_is_recorded_with_the_next_click(
    open_app, monkeypatch, xray, predictions, words
):
    before, write = predictions(), serving_predictions.write_predictions
    monkeypatch.setattr(serving_predictions, "write_predictions", lambda *_: (_ for _ in ()).throw(ConnectionError()))
    app = upload(open_app(), "xray.png", xray)
    assert "did not answer" in words(app)
    assert metric(app, "Probability of PNEUMONIA")
    monkeypatch.setattr(serving_predictions, "write_predictions", write)
    app.switch_page("views/monitoring.py").run()
    assert predictions() == before + 1
    app.run()
    assert predictions() == before + 1


def test_a_click_while_an_answer_is_recorded_neither_fails_nor_writes_it_twice(
    open_app, monkeypatch, xray, predictions, words
):
    """Streamlit answers a click in a thread of its own, while the one before still waits for the account."""
    import app_scoring

    before, write, clicks = predictions(), serving_predictions.write_predictions, [app_scoring.record_answers]

    def clicked(*given):
        if clicks:
            clicks.pop()()
        write(*given)

    monkeypatch.setattr(serving_predictions, "write_predictions", clicked)
    app = upload(open_app(), "xray.png", xray)
    assert not clicks and "could not be shown" not in words(app)
    assert predictions() == before + 1


def test_a_click_while_the_model_is_asked_records_one_answer(open_app, monkeypatch, xray, predictions):
    import app_scoring

    before, ask, answer_for, clicks = predictions(), scoring.explain, app_scoring.answer_for, []

    def clicked(*given):
        if clicks:
            clicks.pop()()
        return ask(*given)

    monkeypatch.setattr(scoring, "explain", clicked)
    monkeypatch.setattr(
        app_scoring, "answer_for", lambda *asked: clicks.append(lambda: answer_for(*asked)) or answer_for(*asked)
    )
    app = upload(open_app(), "xray.png", xray)
    assert not app.exception and not clicks
    assert predictions() == before + 1


def test_without_a_heat_map_the_xray_stands_alone(open_app, monkeypatch, xray, words):
    answer = {"P_POSITIVE": 0.5, "LABEL": "PNEUMONIA", "STATUS": "ok", "PROBABILITIES": None}
    monkeypatch.setattr(scoring, "explain", lambda *_: answer)
    app = upload(open_app(), "xray.png", xray)
    assert "no heat map" in words(app)
    assert len(app.image) == 1
    assert not app.exception


def test_an_image_unlike_training_gets_a_banner_and_no_number_in_large_type(open_app, monkeypatch, xray, words):
    said = {"LABEL": None, "STATUS": "unlike_training: a hand", "PROBABILITIES": '{"NORMAL": 0.3, "PNEUMONIA": 0.7}'}
    monkeypatch.setattr(scoring, "explain", lambda *_: said | {"P_POSITIVE": 0.7})
    app = upload(open_app(), "xray.png", xray)
    assert not app.exception
    assert "70.0%, means little here" in words(app) and "unlike\\_training" in words(app)
    assert "unlike the training images" in app.error[0].value
    assert not app.metric, "no number in large type"


@pytest.mark.parametrize(("zone", "says"), [("rule_out", "Rule out"), ("uncertain", "a reader decides"), (None, "")])
def test_triage_is_shown_and_recorded(open_app, monkeypatch, xray, words, session, account, zone, says):
    answer = {"P_POSITIVE": 0.5, "LABEL": "PNEUMONIA", "STATUS": "ok", "PROBABILITIES": None, "TRIAGE": zone}
    monkeypatch.setattr(scoring, "explain", lambda *_: answer)
    app = upload(open_app(), "xray.png", xray)
    assert not app.exception
    assert says in words(app) and ("**Triage:" in words(app)) == bool(zone)
    rows = session.table(account.qualified(account.predictions_table)).to_pandas().sort_values("SCORED_AT")
    assert rows["TRIAGE"].iloc[-1] == zone


def test_text_of_files_is_no_markdown(open_app):
    import app_common

    assert app_common.plain("![x](http://a)\n<b>") == "\\!\\[x\\]\\(http\\:\\/\\/a\\) \\<b\\>"
    assert app_common.plain("Müller") == "Müller"

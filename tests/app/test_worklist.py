import csv
import io

import pandas as pd
import pytest
from tests.app.elements import button

from cxr.lifecycle import parity
from cxr.serving import scoring


@pytest.fixture
def calls(monkeypatch):
    """How many rows each call of the model carried."""
    from snowflake.ml.model import ModelVersion

    seen, run = [], ModelVersion.run

    def counted(self, X, **options):
        seen.append(len(X))
        return run(self, X, **options)

    monkeypatch.setattr(ModelVersion, "run", counted)
    return seen


def test_a_worklist_is_scored_in_one_call_paired_by_image_and_recorded(open_app, session, account, predictions, calls):
    before = predictions()
    app = open_app("worklist", split="all", n="100")
    assert not app.dataframe
    button(app, "Score 100 images").click().run()
    assert not app.exception
    assert calls == [100]
    assert predictions() == before + 100
    table = app.dataframe[0].value
    assert len(table) == 100
    known = session.table(account.qualified(account.catalog_table)).to_pandas()
    truth = dict(zip(known["IMAGE_ID"].str[:12], known["LABEL"], strict=True))
    assert [truth[image] for image in table["Image"]] == table["Truth"].tolist()
    said = session.table(account.qualified(account.predictions_table)).to_pandas().sort_values("SCORED_AT")
    latest = said.assign(IMAGE=said["IMAGE_ID"].str[:12]).groupby("IMAGE")["P_POSITIVE"].last()
    assert latest[table["Image"]].tolist() == pytest.approx(table["Probability"].tolist())
    shown = {metric.label: int(metric.value) for metric in app.metric}
    assert sum(shown.values()) == 100
    assert shown["Correct"] == (table["Truth"] == table["Predicted"]).sum()
    wrong = table[table["Truth"] != table["Predicted"]]
    assert len(wrong) and ((wrong["Result"] == "Missed") == (wrong["Truth"] == "PNEUMONIA")).all()
    assert (table["Result"].tolist()[: 100 - shown["Correct"]]).count("Correct") == 0, "errors come first"
    assert table["Probability"].round(3).nunique() > 50, "each image has an answer of its own"


def test_what_travels_in_several_calls_stays_paired(open_app, session, account, calls, monkeypatch):
    import app_scoring

    monkeypatch.setattr(app_scoring, "IMAGES_PER_CALL", 7)
    app = open_app("worklist", split="all", n="20")
    button(app, "Score 20 images").click().run()
    assert not app.exception and calls == [7, 7, 6]
    table = app.dataframe[0].value
    said = session.table(account.qualified(account.predictions_table)).to_pandas()
    said = said.assign(IMAGE=said["IMAGE_ID"].str[:12]).drop_duplicates("IMAGE").set_index("IMAGE")["P_POSITIVE"]
    # Sums in batches of other sizes differ by rounding.
    assert said[table["Image"]].tolist() == pytest.approx(table["Probability"].tolist(), abs=parity.TOLERANCE)


def test_no_more_files_are_in_memory_than_a_call_holds(open_app, calls, monkeypatch):
    import app_account
    import app_scoring

    monkeypatch.setattr(app_scoring, "IMAGES_PER_CALL", 5)
    read, opened = app_account.cataloged, []
    monkeypatch.setattr(app_account, "cataloged", lambda file: opened.append(len(calls)) or read(file))
    app = open_app("worklist", split="all", n="12")
    button(app, "Score 12 images").click().run()
    assert not app.exception and calls == [5, 5, 2]
    assert opened == [0] * 5 + [1] * 5 + [2] * 2, "each is read before its own call"


def test_one_call_holds_few_images_and_few_bytes(open_app, monkeypatch):
    import app_scoring

    monkeypatch.setattr(app_scoring, "IMAGES_PER_CALL", 3)
    monkeypatch.setattr(app_scoring, "BYTES_PER_CALL", 10)
    assert app_scoring._parts([1, 1, 1, 1, 9, 2, 99, 1]) == [(0, 3), (3, 5), (5, 6), (6, 7), (7, 8)]
    assert app_scoring._parts([]) == []


def test_scoring_again_appends_and_overwrites_nothing(open_app, predictions):
    before = predictions()
    app = open_app("worklist", split="all", n="3")
    for _ in range(2):
        button(app, "Score 3 images").click().run()
    assert predictions() == before + 6


def test_filters_narrow_the_worklist_and_the_url_keeps_them(open_app, words):
    app = open_app("worklist", split="all")
    app.selectbox(key="label").set_value("NORMAL").run()
    assert app.query_params["label"] in ("NORMAL", ["NORMAL"])
    button(app, "Score").click().run()
    assert set(app.dataframe[0].value["Truth"]) == {"NORMAL"}
    app.selectbox(key="cause").set_value(app.selectbox(key="cause").options[1]).run()
    assert "No image matches" in words(app)


def test_a_number_out_of_range_in_the_url_is_no_error(open_app):
    for number in ("-1", "1000000", "many"):
        app = open_app("worklist", n=number)
        assert not app.exception
        assert 1 <= app.number_input(key="n").value <= 500


def test_a_study_of_the_worklist_is_opened_with_what_the_model_saw(open_app):
    app = open_app("worklist", n="1")
    button(app, "Score 1 image").click().run()
    image = app.dataframe[0].value["Image"][0]
    button(app, "Open").click().run()
    assert not app.exception
    assert app.title[0].value == "Single study"
    assert image in app.caption[-1].value


def test_an_image_that_cannot_be_scored_has_its_reason_and_fails_nothing_else(open_app, monkeypatch, words):

    def one_bad(version, files, service=None, rows_per_call=64):
        good = {"P_POSITIVE": 0.9, "LABEL": "PNEUMONIA", "STATUS": "ok", "PROBABILITIES": None}
        bad = {"P_POSITIVE": None, "LABEL": None, "STATUS": "truncated: the decoder stopped with OSError"}
        return pd.DataFrame([bad, *[good] * (len(files) - 1)])

    monkeypatch.setattr(scoring, "score", one_bad)
    app = open_app("worklist", split="all")
    button(app, "Score").click().run()
    assert not app.exception
    assert next(metric.value for metric in app.metric if metric.label == "Not scored") == "1"
    assert any("truncated" in status for status in app.dataframe[0].value["Status"])


def test_a_staged_file_with_other_content_is_named_and_not_answered_for(
    open_app, written_over, session, account, predictions, words
):
    before = predictions()
    app = open_app("worklist", split="all", n="100")
    button(app, "Score 100 images").click().run()
    assert not app.exception
    table = app.dataframe[0].value.set_index("Image")
    row = table.loc[written_over[:12]]
    assert row["Result"] == "Not scored" and row["Status"].startswith("changed") and not row["X-ray"]
    assert table["Probability"].notna().sum() == 99 == predictions() - before
    assert "not scored: 1." in words(app) and "REMOVE" in words(app)


def test_an_empty_catalog_names_the_notebook(open_app, empty_catalog, words):
    assert "02_data_ingest.ipynb" in words(open_app("worklist"))


def test_the_csv_is_paired_by_image_id_and_says_which_model_answered(open_app, monkeypatch, session, account):
    import streamlit as st

    kept = {}
    monkeypatch.setattr(st, "download_button", lambda label, data, *rest, **options: kept.update(data=data))
    button(open_app("worklist", split="all"), "Score 20 images").click().run()
    table = pd.read_csv(io.BytesIO(kept["data"]))
    known = session.table(account.qualified(account.catalog_table)).to_pandas().set_index("IMAGE_ID")
    assert len(table) == table["image_id"].nunique() == 20
    assert table["truth"].tolist() == known.loc[table["image_id"], "LABEL"].tolist()
    assert table["patient"].tolist() == known.loc[table["image_id"], "PATIENT_ID"].tolist()
    assert table["model_version"].str.startswith("V_").all()
    assert set(table["path"]) == {"WAREHOUSE"}
    assert {"predicted", "probability", "status"} <= set(table)


@pytest.mark.parametrize("cell", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\n=1"])
def test_a_spreadsheet_takes_no_cell_of_the_csv_for_a_formula(open_app, cell):
    import app_tables

    table = pd.DataFrame({"Patient": [cell, "A-1"], "Probability": [-0.5, 0.5]})
    written = list(csv.DictReader(io.StringIO(app_tables.to_csv(table).decode(), newline="")))
    assert [row["patient"] for row in written] == [f"'{cell.strip()}", "A-1"]
    assert [row["probability"] for row in written] == ["-0.5", "0.5"], "numbers stay numbers"

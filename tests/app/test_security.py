"""What a viewer, or somebody who can put text into the account, must not be able to do."""

import contextlib
import socket
import sys

import pandas as pd
import pytest
from tests.app.app_process import HOSTILE_CARD, ci_app
from tests.app.elements import upload

from cxr.account.session import PROJECT
from cxr.serving import scoring


def answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False


# What listens on every interface answers on all of 127.0.0.0/8; what listens on 127.0.0.1 does not.
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no 127.0.0.2")
@pytest.mark.parametrize(
    ("arguments", "environ", "everywhere"),
    [
        ((), {}, False),
        (("--server.address=0.0.0.0",), {}, True),
        ((), {"STREAMLIT_SERVER_ADDRESS": "0.0.0.0"}, True),
    ],
)
def test_the_app_listens_on_this_machine_alone_unless_asked_otherwise(account, arguments, environ, everywhere):
    with ci_app(account, *arguments, **environ) as port:
        assert answers("127.0.0.1", port)
        assert answers("127.0.0.2", port) == everywhere


def test_the_deployed_configuration_says_nothing_of_the_address():
    assert "address" not in (PROJECT / "streamlit" / ".streamlit" / "config.toml").read_text()


def end_session(app_account) -> None:
    """As an hour's silence does: the account knows the session no more."""
    app_account.session().connection.rest.delete_session()


@pytest.mark.parametrize("page", ["single_study", "worklist", "model", "monitoring"])
def test_a_session_that_has_ended_is_renewed_without_asking(open_app, words, page):
    import app_account

    app = open_app(page)
    app_account.catalog.clear()
    end_session(app_account)
    app_account._opened().checked -= 3600
    app.run()
    assert "did not answer" not in words(app)
    assert not app.error and not app.exception


def test_a_session_that_ended_just_now_is_renewed_too_and_the_click_can_be_repeated(open_app, words):
    import app_account

    app = open_app("worklist", split="all", n="2")
    end_session(app_account)
    next(each for each in app.button if each.label.startswith("Score")).click().run()
    assert "did not answer" not in words(app) and not app.exception
    next(each for each in app.button if each.label.startswith("Score")).click().run()
    assert len(app.dataframe[0].value) == 2


def test_after_an_hour_the_first_click_counts(open_app):
    import app_account

    app = open_app("worklist", split="all", n="2")
    end_session(app_account)
    app_account._opened().checked -= 3600
    next(each for each in app.button if each.label.startswith("Score")).click().run()
    assert len(app.dataframe[0].value) == 2


def test_a_session_that_ends_again_at_once_is_reported(open_app, words, monkeypatch):
    import app_account
    from snowflake.connector.errors import DatabaseError

    app = open_app("worklist")
    asked = []

    def ended():
        asked.append(1)
        raise DatabaseError("gone", errno=390111)

    monkeypatch.setattr(app_account, "catalog", ended)
    app.run()
    assert "did not answer (DatabaseError, 390111)" in words(app)
    assert len(asked) == 2, "once more, and not for ever"


def test_try_again_leaves_other_viewers_caches_alone(open_app, monkeypatch, words):
    import app_account
    import streamlit

    cleared = []
    for cache in (streamlit.cache_data, streamlit.cache_resource):
        monkeypatch.setattr(type(cache), "clear", lambda self: cleared.append(self))
    app = open_app("worklist")
    cleared.clear()  # open_app's own
    catalog = app_account.catalog
    monkeypatch.setattr(app_account, "catalog", lambda: (_ for _ in ()).throw(ConnectionError()))
    app.run()
    assert "did not answer" in words(app)
    monkeypatch.setattr(app_account, "catalog", catalog)
    before = app_account.session()
    next(each for each in app.button if each.label == "Try again").click().run()
    assert not app.error
    assert cleared == []
    assert app_account.session() is before, "it answered, so nobody's session was taken away"


def test_the_cards_markdown_is_inert(open_app):
    import app_common

    shown = app_common.inert(HOSTILE_CARD)
    assert "**Quality**" in shown and "| auroc | 0.9 |" in shown
    assert not any(mark in shown for mark in "[]<>!$")
    assert "://" not in shown and "www." not in shown and "@evil" not in shown
    assert app_common.inert("a \\| b\\. c\\_d") == "a &#124; b. c&#95;d", "what was escaped stays text"


@pytest.mark.parametrize("cell", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\uff1d1"])
def test_no_table_of_the_app_gives_its_own_download_button_a_formula(open_app, monkeypatch, session, account, cell):
    import app_account

    rows = {}

    def known():
        rows.setdefault("catalog", real()).loc[:, "PATIENT_ID"] = cell
        return rows["catalog"]

    app = open_app("worklist", split="all", n="2")
    real = app_account.catalog
    monkeypatch.setattr(app_account, "catalog", known)
    next(each for each in app.button if each.label.startswith("Score")).click().run()
    table = app.dataframe[0].value
    assert table["Patient"].tolist() == [f"'{cell.strip()}"] * 2


def test_no_chart_gives_its_show_data_button_a_formula(open_app):
    import app_pictures

    drawn = app_pictures.confusion(app_pictures.count(["OK", "=1+1"], ["=1+1", "OK"], ["OK", "=1+1"]))
    drawn = [drawn.to_dict(), app_pictures.class_bars({"OK": 0.2, "=1+1": 0.8}, "=1+1").to_dict()]
    cells = [cell for chart in drawn for rows in chart["datasets"].values() for row in rows for cell in row.values()]
    assert "'=1+1" in cells
    assert not [cell for cell in cells if isinstance(cell, str) and cell.startswith("=")]


def test_no_page_draws_a_table_past_the_guard():
    for path in (PROJECT / "streamlit").rglob("*.py"):
        assert path.name == "app_tables.py" or "st.dataframe(" not in path.read_text(), path.name
        assert "data_editor" not in path.read_text()


def test_a_file_that_a_statement_cannot_hold_is_refused_before_it_is_sent(open_app, monkeypatch, xray, words):
    sent = []
    monkeypatch.setattr(scoring, "explain", lambda *given: sent.append(given))
    monkeypatch.setattr(scoring, "LARGEST_IN_SQL", len(xray) - 1)
    app = upload(open_app(), "xray.png", xray)
    assert "too large" in words(app) and "not sent" in words(app)
    assert sent == []


def test_a_column_that_earlier_versions_lack_is_no_silence_of_snowflake(open_app, monkeypatch, words):
    import app_account
    from snowflake.snowpark.exceptions import SnowparkSQLException

    app = open_app("worklist")
    missing = SnowparkSQLException("invalid identifier", error_code="1304", sql_error_code=904)
    monkeypatch.setattr(app_account, "catalog", lambda: (_ for _ in ()).throw(missing))
    app.run()
    assert "earlier version of this project" in words(app) and "01_setup.ipynb" in words(app)


def test_without_formulas_leaves_numbers_and_the_table_itself_alone(open_app):
    import app_tables

    table = pd.DataFrame({"=A": ["=1", None], "number": [-0.5, 1.0]})
    safe = app_tables.without_formulas(table)
    assert list(safe) == ["'=A", "number"] and safe["number"].tolist() == [-0.5, 1.0]
    assert table["=A"][0] == "=1"

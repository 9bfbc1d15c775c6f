"""Clients that find the account through its connections.toml: the connector, Streamlit, and the Snowflake CLI."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def home(account, session):
    """The account's folder, which holds the connections.toml; a database to work in."""
    session.sql("CREATE STAGE S DIRECTORY = (ENABLE = TRUE)").collect()
    return account["root"]


@pytest.fixture
def environment(home, monkeypatch):
    monkeypatch.setenv("SNOWFLAKE_HOME", str(home))
    return {**os.environ, "SNOWFLAKE_HOME": str(home)}


def run_python(code: str, environment: dict) -> str:
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


CURSOR = """
import pandas as pd, snowflake.connector as c
from snowflake.connector import DictCursor
from snowflake.connector.pandas_tools import write_pandas
with c.connect(connection_name="local", database="TEST_CLIENTS", schema="PUBLIC") as connection:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE T (A INT, B STRING)")
    cursor.executemany("INSERT INTO T VALUES (%s, %s)", [(1, "x"), (2, None)])
    write_pandas(connection, pd.DataFrame({"A": [3], "B": ["z"]}), "T")
    rows = cursor.execute("SELECT A, B FROM T WHERE A > %(low)s ORDER BY A", {"low": 1}).fetchall()
    named = connection.cursor(DictCursor).execute("SELECT COUNT(*) AS N FROM T").fetchone()
    frame = cursor.execute("SELECT * FROM T ORDER BY A").fetch_pandas_all()
    print((rows, named, frame["A"].tolist(), cursor.description[0].name))
"""


def test_a_plain_cursor(environment):
    assert run_python(CURSOR, environment) == "([(2, None), (3, 'z')], {'N': 3}, [1, 2, 3], 'A')"


STREAMLIT = """
import logging; logging.disable(logging.WARNING)
import streamlit as st
connection = st.connection("snowflake")
frame = connection.query("SELECT 1 AS A")
rows = connection.session().sql("SELECT CURRENT_USER() AS U").collect()
print((frame["A"].tolist(), rows[0]["U"]))
"""


def test_streamlits_connection(environment):
    assert run_python(STREAMLIT, environment) == "([1], 'LOCAL_USER')"


def answer(done: subprocess.CompletedProcess) -> object:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_snow_sql(snow, home, tmp_path):
    (tmp_path / "f.sql").write_text("USE SCHEMA TEST_CLIENTS.PUBLIC;\nSELECT <% a %> + 1 AS B;\n")
    done = snow("sql", "-f", "f.sql", "-D", "a=41", "--enable-templating", "STANDARD", "-c", "local", "--format",
                "JSON", home=home, cwd=tmp_path)  # fmt: skip
    assert answer(done)[-1] == [{"B": 42}]


def test_snow_sql_shows_a_refusal(snow, home):
    done = snow("sql", "-q", "SELECT * FROM TEST_CLIENTS.PUBLIC.NOPE", "-c", "local", home=home)
    assert done.returncode != 0
    assert "002003" in done.stdout + done.stderr


def test_snow_stage(snow, home, tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    stage, given = "@TEST_CLIENTS.PUBLIC.S", ("-c", "local", "--format", "JSON")
    copied = answer(snow("stage", "copy", "a.txt", f"{stage}/x", *given, home=home, cwd=tmp_path))
    assert [row["status"] for row in copied] == ["UPLOADED"]
    assert [row["name"] for row in answer(snow("stage", "list-files", stage, *given, home=home))] == ["s/x/a.txt"]
    snow("stage", "copy", f"{stage}/x/", str(tmp_path / "back"), *given, home=home)
    assert (tmp_path / "back" / "a.txt").read_text() == "hello"


PROJECT = """
definition_version: 2
entities:
  app:
    type: streamlit
    identifier: {name: APP, database: TEST_CLIENTS, schema: PUBLIC}
    query_warehouse: COMPUTE_WH
    main_file: streamlit_app.py
    artifacts: [streamlit_app.py]
"""


def test_snow_streamlit(snow, home, tmp_path, query):
    (tmp_path / "snowflake.yml").write_text(PROJECT)
    (tmp_path / "streamlit_app.py").write_text("import streamlit")
    done = snow("streamlit", "deploy", "--replace", "-c", "local", home=home, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    files = query("LIST 'snow://streamlit/TEST_CLIENTS.PUBLIC.APP/versions/live/'")
    assert [row[0] for row in files] == ["/versions/live/streamlit_app.py"]
    assert query("SHOW STREAMLITS")[0][1] == "APP"

"""Every statement that the account knows: none succeeds on what is not there, and the docs list them all."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from local_account.account.account import Account
from local_account.account.session import Session
from local_account.sql.execute import run
from local_account.statements.handlers import HANDLERS, STATEMENTS
from local_account.text.errors import SnowflakeError

DOCS = Path(__file__).resolve().parents[3] / "docs" / "local_account.md"
SHAPES = sorted(entry.shape for entry in STATEMENTS)
SAMPLES = {
    "": "NO_DB.NO_SCHEMA.NO_THING", "name": "NO_DB.NO_SCHEMA.NO_THING", "system": "SYSTEM$NO_FUNCTION", "string": "'x'",
    "stage": "@NO_DB.NO_SCHEMA.NO_STAGE", "word": "X", "number": "1", "body": "$$x$$", "list": "(1)", "rest": "X = 1",
    "rest_until_stage": "file:///no/file", "rest_until_options": "file:///no/folder", "lazy": "X = 1",
    "clauses": "X = 1",
}  # fmt: skip
# What needs nothing to be there: sessions, transactions, lists of the account, and objects of the account itself.
ALONE = re.compile(
    r"BEGIN|START|\{COMMIT|SHOW|ALTER SESSION|UNSET|\{GRANT|USE SECONDARY"
    r"|CREATE \[OR REPLACE\] (\[TRANSIENT\] )?(\{WAREHOUSE|\{DATABASE)"
)


def sample(shape: str) -> str:
    """The shortest statement of a shape, about things that do not exist."""
    text = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\[[^\[\]]*\[[^\[\]]*\][^\[\]]*\]", "", shape))
    text = re.sub(r"\{([^|}]*)[^}]*\}", r"\1", text)
    return re.sub(r"<\w+:?(\w*)>", lambda found: SAMPLES[found[1]], text)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A session on an account with nothing in it, in this process."""
    account = Account(tmp_path_factory.mktemp("bare"), "token", 0, HANDLERS)
    yield Session(account)
    account.close()


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if not ALONE.match(shape)])
def test_no_statement_succeeds_on_what_is_not_there(bare, shape):
    with pytest.raises(SnowflakeError):
        run(bare, sample(shape))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if ALONE.match(shape)])
def test_the_others_answer_with_columns(bare, shape):
    try:
        assert run(bare, sample(shape)).columns
    except SnowflakeError as error:
        assert error.message


def block(title: str) -> str:
    """The code block under a heading of the docs."""
    return re.search(rf"## {title}\n.*?```\w*\n(.*?)```", DOCS.read_text(), re.S)[1]


def test_the_docs_list_every_statement():
    listed = subprocess.run(
        [sys.executable, "-m", "local_account", "statements"], capture_output=True, text=True, check=True
    ).stdout
    assert block("Statements") == listed, "renew it with `python -m local_account statements`"


@pytest.mark.parametrize("sql", block("Refused").strip().splitlines())
def test_what_the_docs_call_refused_is_refused_by_name(bare, sql):
    run(bare, "CREATE DATABASE IF NOT EXISTS D")
    run(bare, "CREATE TABLE IF NOT EXISTS T (A INT, V VARIANT)")
    with pytest.raises(SnowflakeError, match="local account does not support|not recognized|syntax error|invalid"):
        run(bare, sql)

"""Every statement that the account knows: none succeeds on what is not there, and the docs list them all."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import local_account
from local_account.account.account import Account
from local_account.account.session import Session
from local_account.sql.execute import run
from local_account.statements.handlers import HANDLERS, STATEMENTS
from local_account.text.errors import SnowflakeError

DOCS = Path(__file__).resolve().parents[3] / "docs" / "local_account.md"
SHAPES = sorted(entry.shape for entry in STATEMENTS)
BY_KIND = {
    "": "NO_DB.NO_SCHEMA.NO_THING", "name": "NO_DB.NO_SCHEMA.NO_THING", "system": "SYSTEM$NO_FUNCTION",
    "string": "'x'", "stage": "@NO_DB.NO_SCHEMA.NO_STAGE", "word": "X", "number": "1", "body": "$$x$$", "list": "()",
    "rest": "COMMENT = 'x'", "rest_until_stage": "file:///no/file", "rest_until_options": "file:///no/folder",
    "lazy": "INT",
    "clauses": "COMMENT = 'x' ",
}  # fmt: skip
BY_NAME = {"values": "$$[]$$", "pool": "NO_POOL", "column": "NO_COLUMN", "definition": "INT", "statement": "SELECT 1",
           "query": "(SELECT '@NO_DB.NO_SCHEMA.NO_STAGE/x')", "value": "1", "names": "QUERY_TAG",
           "text": "ROLE A TO ROLE B", "columns": "*"}  # fmt: skip
# Samples of single shapes, and kinds whose names have other than three parts.
BY_SHAPE = [
    ("ALTER SESSION SET", {"options": "QUERY_TAG = 'x'"}),
    ("ALTER MODEL", {"value": "$$x$$"}),
    (r"COMMENT \[IF EXISTS\] ON COLUMN", {"column": "NO_DB.NO_SCHEMA.NO_TABLE.NO_COLUMN"}),
    ("COPY INTO <stage:stage> FROM <source:list>", {"source": "(SELECT 1)"}),
    ("COPY INTO <table> .* FROM <source:list>", {"source": "(SELECT $1 FROM @NO_DB.NO_SCHEMA.NO_STAGE)"}),
    (".*LANGUAGE PYTHON", {"options": "HANDLER = 'f'"}),
    ("SELECT", {"arguments": "(LOCATION => '@NO_DB.NO_SCHEMA.NO_STAGE', FILE_FORMAT => 'F')"}),
    (
        r".*?\{(WAREHOUSE|COMPUTE POOL|DATABASE|INTEGRATION)\b|ALTER (COMPUTE POOL|WAREHOUSE)|USE <name>",
        {"name": "NO_THING"},
    ),
]
# What needs nothing to be there: sessions, transactions, lists of the account, and objects of the account itself.
ALONE = re.compile(
    r"BEGIN|START|\{COMMIT|ALTER SESSION|SET|UNSET|\{GRANT|USE SECONDARY"
    r"|SHOW (?!.* IN (EXPERIMENT|MODEL|SERVICE|\[TABLE\]))"
    r"|CREATE \[OR REPLACE\] (\{WAREHOUSE|\{DATABASE)"
)
# 002043: USE says that the object does not exist, or that the operation cannot be performed. Of a SYSTEM$ function
# that it does not know the account cannot tell whether Snowflake does.
OTHER_CODES = [("USE", 2043), ("CALL <function:system>", 2)]


def sample(shape: str) -> str:
    """The shortest statement of a shape, about things that do not exist."""
    by_name = BY_NAME | {
        key: text for pattern, own in BY_SHAPE if re.match(pattern, shape) for key, text in own.items()
    }
    text = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\[[^\[\]]*\[[^\[\]]*\][^\[\]]*\]", "", shape))
    text = re.sub(r"\{([^|}]*)[^}]*\}", r"\1", text)
    return re.sub(r"<(\w+):?(\w*)>", lambda found: by_name.get(found[1], BY_KIND[found[2]]), text)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A session on an account with nothing in it, in this process."""
    account = Account(tmp_path_factory.mktemp("bare"), "token", "key", 0, HANDLERS)
    yield Session(account)
    account.close()


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if not ALONE.match(shape)])
def test_no_statement_succeeds_on_what_is_not_there(bare, shape):
    code = next((code for start, code in OTHER_CODES if shape.startswith(start)), 2003)
    with pytest.raises(SnowflakeError) as raised:
        run(bare, sample(shape))
    assert raised.value.code == code, raised.value


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if ALONE.match(shape)])
def test_the_others_answer_with_columns(bare, shape):
    assert run(bare, sample(shape)).columns


def test_a_refusal_names_a_module_that_there_is():
    library = Path(local_account.__file__).parent
    named = [
        found
        for file in library.rglob("*.py")
        for found in re.findall(r'"local_account\.([\w.]+)"\)', file.read_text())
    ]
    assert named
    assert [module for module in named if not (library / f"{module.replace('.', '/')}.py").is_file()] == []


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

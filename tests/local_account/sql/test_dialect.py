"""The dialect of our own: what it leaves to Snowflake, and that sqlglot's stays as it is."""

import subprocess
import sys

import pytest

from local_account.sql.parser import parse

PLAIN = """
import json, logging, sqlglot
from sqlglot.dialects.snowflake import Snowflake

logging.disable()
SQL = [
    "SELECT CHAR_LENGTH(S), INSTR(S, 'a'), LOG10(X), RAND() FROM T",
    "SELECT GET(V, 'a'), ARRAY_SIZE(V), OBJECT_CONSTRUCT_KEEP_NULL('a', 1), TO_CHAR(D::DATE, 'YYYY') FROM T",
    "SELECT V:a.b::INT, X ?:: DATE FROM T",
]

def answers():
    translated = [sqlglot.transpile(sql, read="snowflake", write="duckdb") for sql in SQL[:2]]
    tables = [Snowflake.Parser.FUNCTIONS, Snowflake.Parser.FUNCTION_PARSERS, Snowflake.Tokenizer.KEYWORDS,
              Snowflake.Generator.TRANSFORMS]
    return translated, [sorted(map(str, table)) for table in tables], repr(sqlglot.parse_one(SQL[0], read="snowflake"))

before = answers()
import local_account.statements.handlers
from local_account.sql.parser import parse
[parse(sql) for sql in SQL[:2]]
print(before == answers())
"""


def test_sqlglots_own_dialect_is_the_same_before_and_after():
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CHAR_LENGTH('a') AS X FROM RAND",
        "SELECT GET(V, 'a') AS X, \"GET\"(V, 'b') AS Y FROM T",
        "SELECT TO_CHAR(D, 'YYYY') AS X, SCHEMA.TO_VARCHAR(1) AS Y FROM T",
        "INSERT INTO HEX (A, B) VALUES (1, 2)",
        "WITH SHA(X) AS (SELECT 1 AS X) SELECT * FROM SHA",
        "CREATE TABLE PAD (A INT)",
    ],
)
def test_names_that_only_other_databases_know_are_names_like_any_other(sql):
    assert parse(sql).sql("snowflake") == sql

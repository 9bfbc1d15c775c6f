"""What functions and statements answer, by Snowflake's documentation: the value, its type, and what becomes of NULL."""

import json
import os
import re
import zipfile
from decimal import Decimal

import pytest
from snowflake.connector.errors import ProgrammingError
from snowflake.snowpark.exceptions import SnowparkSQLException
from sqlglot import exp, parse_one
from tests.local_account.sql.documented import DOCUMENTED
from tests.local_account.sql.documented_dates import DATES
from tests.local_account.sql.documented_refusals import ERRORS, LIVE, REFUSED, REFUSED_BY_SNOWFLAKE, REFUSED_SEQUENCES
from tests.local_account.sql.documented_sequences import SEQUENCES
from tests.local_account.sql.documented_statements import STATEMENTS
from tests.local_account.sql.documented_variants import VARIANTS

from local_account.engine import variant_functions
from local_account.sql import allowed_functions
from local_account.sql.dialect import SNOWFLAKE
from local_account.sql.parser import spell_calls
from local_account.sql.rewrites import rules

ONE = """
    CREATE TABLE ONE AS SELECT 1 AS A, 12.5::NUMBER(10,2) AS N, 2.5::FLOAT AS FL, 'Hello' AS S, NULL::STRING AS NS,
        NULL::INT AS NI, TRUE AS B, '2024-01-31 10:00:00'::TIMESTAMP_NTZ AS TS, '2024-01-31'::DATE AS DD,
        PARSE_JSON('{"a": 1, "l": [1, 2, 3], "n": null, "s": "str", "f": 1.5, "o": {"z": 1, "b": true}}') AS V"""


@pytest.fixture(scope="module")
def answer(session):
    session.sql(ONE).collect()
    cursor = session.connection.cursor()
    return lambda sql: cursor.execute(sql).fetchall()


EXPRESSIONS = DOCUMENTED | DATES | VARIANTS
GROUP = 25  # expressions a query, for speed


@pytest.fixture(scope="module")
def evaluate(answer):
    """The value of one of EXPRESSIONS. Its neighbours are evaluated in the same query; alone, if that fails."""
    known = {}

    def value(expression: str) -> object:
        if expression not in known:
            start = list(EXPRESSIONS).index(expression) // GROUP * GROUP
            group = list(EXPRESSIONS)[start : start + GROUP]
            try:
                listed = ", ".join(f"{each} AS R{i}" for i, each in enumerate(group))
                known.update(zip(group, answer(f"SELECT {listed} FROM ONE")[0], strict=True))
            except ProgrammingError:
                known[expression] = answer(f"SELECT {expression} AS R FROM ONE")[0][0]
        return known[expression]

    return value


def page(expression: str) -> str:
    """The page of Snowflake's reference that an expression comes from: its first function's, or the operators'."""
    name = re.match(r"([A-Z_0-9]+)\(", expression)
    if name is None:
        return "https://docs.snowflake.com/en/sql-reference/operators"
    name = PAGES.get(name[1], name[1]).lower()
    return f"https://docs.snowflake.com/en/sql-reference/functions/{name}"


# Functions that another function's page describes.
PAGES = {
    "LEN": "LENGTH", "SUBSTRING": "SUBSTR", "POW": "POWER", "IFNULL": "NVL", "TRUNC": "TRUNC2", "TRUNCATE": "TRUNC2",
    "TO_VARCHAR": "TO_CHAR", "TO_NUMBER": "TO_DECIMAL", "TO_NUMERIC": "TO_DECIMAL",
    "TRY_TO_NUMBER": "TRY_TO_DECIMAL", "DAY": "YEAR", "DAYOFMONTH": "YEAR", "DAYOFWEEK": "YEAR", "DAYOFYEAR": "YEAR",
    "DAYOFWEEKISO": "YEAR", "DAYOFWEEK_ISO": "YEAR", "MONTH": "YEAR", "QUARTER": "YEAR", "WEEK": "YEAR",
    "WEEKOFYEAR": "YEAR", "WEEKISO": "YEAR", "YEAROFWEEK": "YEAR", "YEAROFWEEKISO": "YEAR",
    "HOUR": "HOUR-MINUTE-SECOND", "MINUTE": "HOUR-MINUTE-SECOND", "SECOND": "HOUR-MINUTE-SECOND",
    "DATE": "TO_DATE", "TIMESTAMPADD": "DATEADD",
    "TIMESTAMPDIFF": "DATEDIFF", "TIMEDIFF": "DATEDIFF",
    "TO_TIMESTAMP_NTZ": "TO_TIMESTAMP", "TO_TIMESTAMP_LTZ": "TO_TIMESTAMP",
    "IS_VARCHAR": "IS_CHAR-VARCHAR",
}  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_has_its_documented_value_and_type(evaluate, expression):
    assert typed(evaluate(expression)) == typed(EXPRESSIONS[expression]), page(expression)


def typed(value: object) -> tuple:
    """A value with its type; the scale of a NUMBER is part of it."""
    return value, type(value).__name__, value.as_tuple().exponent if isinstance(value, Decimal) else None


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_statement_has_its_documented_rows(answer, sql):
    assert [[*map(typed, row)] for row in answer(sql)] == [[*map(typed, row)] for row in STATEMENTS[sql]]


@pytest.fixture
def afresh(answer, session):
    """Runs statements where T and U are not yet."""
    yield lambda steps: [answer(sql) for sql in steps][-1]
    for table in ("T", "U"):
        session.sql(f"DROP TABLE IF EXISTS {table}").collect()


@pytest.mark.parametrize("steps", SEQUENCES, ids=" ".join)
def test_statements_have_their_documented_outcome(afresh, steps):
    assert afresh(steps) == SEQUENCES[steps]


@pytest.mark.parametrize("steps", REFUSED_SEQUENCES, ids=" ".join)
def test_what_would_be_stored_otherwise_is_refused(afresh, steps):
    *before, last = steps
    afresh(before or ["SELECT 1"])
    with pytest.raises(Exception, match="local account does not support|NULL result in a non-nullable column"):
        afresh([last])


@pytest.mark.parametrize("steps", ERRORS, ids=" ".join)
def test_an_error_has_its_documented_code_and_words(afresh, steps):
    *before, last = steps
    afresh(before or ["SELECT 1"])
    with pytest.raises(Exception, match=f"(?s){ERRORS[steps]}"):
        afresh([last])


@pytest.mark.parametrize("expression", LIVE)
def test_what_differs_from_run_to_run_has_a_value(answer, expression):
    assert answer(f"SELECT {expression} IS NOT NULL FROM ONE") == [(True,)]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_would_differ_is_refused_by_name(answer, sql):
    with pytest.raises(Exception, match="local account does not support"):
        answer(sql if sql.startswith(("SELECT", "WITH")) else f"SELECT {sql} AS R FROM ONE")


@pytest.mark.parametrize("expression", REFUSED_BY_SNOWFLAKE)
def test_what_snowflake_refuses_is_refused(answer, expression):
    with pytest.raises(Exception, match=REFUSED_BY_SNOWFLAKE[expression]):
        answer(f"SELECT {expression} AS R FROM ONE")


def test_every_function_on_the_allow_list_has_a_documented_case():
    cases = [f"SELECT {expression}" for expression in [*EXPRESSIONS, *LIVE]] + list(STATEMENTS)
    found = set()
    for case in cases:
        for node in parse_one(spell_calls(case), read=SNOWFLAKE).walk():
            found.add(node.name.upper() if isinstance(node, exp.Anonymous) else type(node).__name__)
        found |= set(re.findall(r"[A-Z_]{3,}(?=\()", case))
    listed = allowed_functions.PLAIN | {kind.__name__ for kind in rules.RULES if issubclass(kind, exp.Func)}
    listed |= set(rules.ANONYMOUS) | {name for name in variant_functions.FUNCTIONS if not name.startswith(".")}
    missing = listed - found - {"Anonymous"}
    assert not missing


def test_a_failing_python_function_shows_its_own_lines_alone(session, query):
    body = "def f(x):\n    raise ValueError('Division by zero')"
    query(f"CREATE FUNCTION BROKEN(X INT) RETURNS INT LANGUAGE PYTHON HANDLER = 'f' AS $${body}$$")
    with pytest.raises(SnowparkSQLException) as raised:
        query("SELECT BROKEN(1)")
    assert raised.value.sql_error_code == 100357
    assert "line 2, in f" in str(raised.value) and "worker.py" not in str(raised.value)


def test_json_that_the_engine_takes_and_python_does_not_is_no_defect_of_the_account(query):
    with pytest.raises(Exception, match="JSON with a comma too many"):
        query("""SELECT PARSE_JSON('{"a": 1,}')""")


def test_columns_are_named_as_they_are_written(answer, session):
    cursor = session.connection.cursor()
    cursor.execute("""SELECT count(*), a+1, 'Hi' || s, "A" * 2 AS "q", max( a )FROM ONE GROUP BY ALL""")
    assert [column.name for column in cursor.description] == ["COUNT(*)", "A+1", "'HI' || S", "q", "MAX( A )"]


def test_the_result_says_what_kind_of_json_it_is(session):
    kinds = "SELECT OBJECT_CONSTRUCT('a', 1) AS O, ARRAY_CONSTRUCT(1) AS A, PARSE_JSON('1') AS V"
    assert [type(field.datatype).__name__ for field in session.sql(kinds).schema] == [
        "MapType", "ArrayType", "VariantType"
    ]  # fmt: skip


def test_parameters_have_types(query):
    assert query("SELECT ? / 3", [1]) == [(Decimal("0.333333"),)]
    assert query("SELECT ? / 4", [1.0]) == [(0.25,)]


def test_a_python_function_runs_on_staged_files(session, query, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"abc")
    query("CREATE STAGE FILES DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE')")
    session.file.put(str(tmp_path / "x.bin"), "@FILES", auto_compress=False)
    query("ALTER STAGE FILES REFRESH")
    query("""
        CREATE FUNCTION SIZE_OF(URL STRING) RETURNS INT LANGUAGE PYTHON RUNTIME_VERSION = '3.11'
        PACKAGES = ('snowflake-snowpark-python') HANDLER = 'run' AS $$
from snowflake.snowpark.files import SnowflakeFile
def run(url):
    with SnowflakeFile.open(url, 'rb') as file:
        return len(file.read())
$$""")
    sql = "SELECT RELATIVE_PATH, SIZE_OF(BUILD_SCOPED_FILE_URL(@FILES, RELATIVE_PATH)) FROM DIRECTORY(@FILES)"
    assert query(sql) == [("x.bin", 3)]
    for path in ("'../../server.json'", "'a/../../x'", "'..'", "RELATIVE_PATH || '/..'"):
        with pytest.raises(SnowparkSQLException, match="The path leaves the stage"):
            query(f"SELECT SIZE_OF(BUILD_SCOPED_FILE_URL(@FILES, {path})) FROM DIRECTORY(@FILES)")
    # With the default encryption, clients encrypt the files, and Snowflake cannot read them by their URL.
    query("CREATE STAGE SEALED DIRECTORY = (ENABLE = TRUE)")
    session.file.put(str(tmp_path / "x.bin"), "@SEALED", auto_compress=False)
    query("ALTER STAGE SEALED REFRESH")
    kinds = {row["name"]: row["type"] for row in session.sql("SHOW STAGES").collect()}
    assert (kinds["FILES"], kinds["SEALED"]) == ("INTERNAL NO CSE", "INTERNAL")
    with pytest.raises(SnowparkSQLException, match="SNOWFLAKE_FULL"):
        query(sql.replace("@FILES", "@SEALED"))


def test_a_function_has_the_code_of_a_zip_that_it_imports(session, query, tmp_path):
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as file:
        file.writestr("zipped/__init__.py", "")
        file.writestr("zipped/told.py", "WORD = b'from the zip'")
    query("CREATE STAGE ZIPS DIRECTORY = (ENABLE = TRUE)")
    create = """
        CREATE FUNCTION {name}(X STRING, N INT, K STRING) RETURNS VARIANT LANGUAGE PYTHON RUNTIME_VERSION = '3.11'
        IMPORTS = ('@ZIPS/code.zip') HANDLER = 'f' AS $$
import os
from zipped.told import WORD
def f(x, n, k):
    return {{"word": WORD.decode(), "x": x, "n": n, "k": k, "process": os.getpid()}}
$$"""
    with pytest.raises(SnowparkSQLException, match="'@ZIPS/code.zip' was not found"):
        query(create.format(name="ZIPPED"))
    session.file.put(str(tmp_path / "code.zip"), "@ZIPS", auto_compress=False)
    query(create.format(name="ZIPPED"))
    query("ALTER STAGE ZIPS REFRESH")
    # A text that stands in a statement over a directory table, whose types are not known.
    call = "ZIPPED(COLUMN1, D.SIZE, ?) AS A FROM VALUES ('code.zip'), ('b') LEFT JOIN DIRECTORY(@ZIPS) D"
    rows = query(f"SELECT A:word::STRING, A:x::STRING, A:n::INT > 0, A:k::STRING FROM (SELECT {call} "
                 "ON D.RELATIVE_PATH = COLUMN1) WHERE A:k::STRING = 'x' ORDER BY 2", ["x"])  # fmt: skip
    assert rows == [("from the zip", "b", None, "x"), ("from the zip", "code.zip", True, "x")]


def test_a_function_over_many_rows_runs_in_several_processes_and_keeps_their_order(query):
    query("""
        CREATE FUNCTION WHERE_AT(N INT) RETURNS VARIANT LANGUAGE PYTHON HANDLER = 'f' AS $$
import os
def f(n):
    return {"n": n, "process": os.getpid()}
$$""")
    for count, processes in ((10, 1), (1000, os.cpu_count())):
        rows = query(f"SELECT SEQ4(), WHERE_AT(SEQ4()) FROM TABLE(GENERATOR(ROWCOUNT => {count}))")
        answers = [(number, json.loads(answer)) for number, answer in rows]
        assert len(rows) == count and all(number == answer["n"] for number, answer in answers)
        assert len({answer["process"] for _, answer in answers}) == processes


def test_a_sql_function_is_its_body(query):
    query("CREATE FUNCTION TWICE(X INT) RETURNS INT AS 'X * 2'")
    assert query("SELECT TWICE(COLUMN1) FROM VALUES (4)") == [(8,)]


def test_a_strict_function_is_not_asked_about_null(query):
    query("CREATE FUNCTION LOUD(S STRING) RETURNS STRING LANGUAGE PYTHON STRICT HANDLER = 'f' AS $$f = str.upper$$")
    assert query("SELECT LOUD(COLUMN1) FROM VALUES ('a'), (NULL)") == [("A",), (None,)]


def test_a_python_function_may_take_no_arguments(query):
    query("CREATE FUNCTION GREET() RETURNS STRING LANGUAGE PYTHON HANDLER = 'f' AS $$f = lambda: 'hi'$$")
    assert query("SELECT GREET() FROM VALUES (1), (2)") == [("hi",), ("hi",)]

"""What functions answer, by Snowflake's documentation: the value, its type, and what becomes of NULL."""

import datetime as dt
from decimal import Decimal

import pytest
from snowflake.snowpark.exceptions import SnowparkSQLException

JANUARY = dt.date(2024, 1, 31)
DOCUMENTED = {
    # numbers: a quotient has six digits more than its dividend, twelve at most
    "7/2": Decimal("3.500000"),
    "1/3": Decimal("0.333333"),
    "N/3": Decimal("4.16666667"),
    "AVG(A) OVER ()": Decimal("1.000000"),
    "SUM(A) OVER () / COUNT(*) OVER ()": Decimal("1.000000"),
    "7::FLOAT/2": 3.5,
    "DIV0(1, 0)": Decimal("0.000000"),
    "MOD(-7, 3)": -1,
    "ROUND(-2.5)": -3,
    "ROUND(2.567, 1)": Decimal("2.6"),
    "TRUNC(-2.7)": -2,
    "CEIL(1.2)": 2,
    "SQUARE(3)": 9.0,
    "1.6::INT": 2,
    "2.5::FLOAT::INT": 3,
    "'12'::INT": 12,
    "1.55::NUMBER(5,1)": Decimal("1.6"),
    "TRY_TO_NUMBER('1.5')": 2,
    "TRY_TO_NUMBER('x')": None,
    "TO_NUMBER('12.345', 10, 2)": Decimal("12.35"),
    "GREATEST(1, NULL)": None,
    "WIDTH_BUCKET(5, 0, 10, 5)": 3,
    # text
    "'a' || NULL": None,
    "CONCAT('a', 1)": "a1",
    "SUBSTR('hello', -3)": "llo",
    "SPLIT_PART('a,b', ',', -1)": "b",
    "SPLIT_PART('a,b', ',', 5)": "",
    "REGEXP_LIKE('abc', 'b')": False,
    "REGEXP_LIKE('abc', '.*b.*')": True,
    "REGEXP_SUBSTR('a1b22', '[0-9]+', 1, 2)": "22",
    "REGEXP_REPLACE('abcabc', 'b', 'x', 1, 2)": "axcabc",
    "INITCAP('hello world')": "Hello World",
    "LPAD('7', 3, '0')": "007",
    "CHARINDEX('z', 'abc')": 0,
    "'abc'::VARCHAR(2)": "ab",
    "TRUE::STRING": "true",
    "1.0::FLOAT::STRING": "1",
    "MD5('a')": "0cc175b9c0f1b6a831c399e269772661",
    "TO_BINARY('AB', 'HEX')": bytearray(b"\xab"),
    "BASE64_ENCODE('abc')": "YWJj",
    # dates
    "DD + 1": dt.date(2024, 2, 1),
    "DATEADD(month, 1, DD)": dt.date(2024, 2, 29),
    "DATEADD(hour, 1, DD)": dt.datetime(2024, 1, 31, 1),
    "DATEDIFF('month', '2024-01-31'::DATE, '2024-02-01'::DATE)": 1,
    "DATE_TRUNC('month', DD)": dt.date(2024, 1, 1),
    "DATE_TRUNC('month', TS)": dt.datetime(2024, 1, 1),
    "DAYOFWEEK('2024-01-07'::DATE)": 0,
    "LAST_DAY(DD)": JANUARY,
    "TS::STRING": "2024-01-31 10:00:00.000",
    "TO_CHAR(TS, 'YYYY-MM-DD HH24:MI:SS')": "2024-01-31 10:00:00",
    "TO_DATE('01/02/2024', 'MM/DD/YYYY')": dt.date(2024, 1, 2),
    "TO_TIMESTAMP_NTZ(0)": dt.datetime(1970, 1, 1),
    "TIME_SLICE(TS, 4, 'HOUR')": dt.datetime(2024, 1, 31, 8),
    # VARIANT: JSON null is not SQL NULL
    "V:a": "1",
    "V:a::INT": 1,
    "V:s": '"str"',
    "V:s::STRING": "str",
    "V:n": "null",
    "V:n::STRING": None,
    "IS_NULL_VALUE(V:n)": True,
    "V:missing IS NULL": True,
    "V:l[1]::INT": 2,
    "V['s']::STRING": "str",
    "V:s = 'str'": True,
    "V:a + 1 = 2": True,
    "V:A": None,
    "ARRAY_SIZE(V:l)": 3,
    "ARRAY_SIZE(V)": None,
    "ARRAY_CONTAINS(2::VARIANT, V:l)": True,
    "TYPEOF(V)": "OBJECT",
    "TYPEOF(V:a)": "INTEGER",
    "OBJECT_CONSTRUCT('a', 1, 'b', NULL)": '{\n  "a": 1\n}',
    "OBJECT_CONSTRUCT('a', V:n)": '{\n  "a": null\n}',
    "ARRAY_APPEND(ARRAY_CONSTRUCT(1), 2)": "[\n  1,\n  2\n]",
    "TRY_PARSE_JSON('{')": None,
    "TO_JSON(OBJECT_CONSTRUCT('a', 1))": '{"a":1}',
    "SPLIT('a,b', ',')[0]": '"a"',
    # NULL and logic
    "IFF(NULL, 1, 2)": 2,
    "EQUAL_NULL(NULL, NULL)": True,
    "DECODE(NULL, NULL, 'n', 'x')": "n",
    "NVL2(NULL, 1, 2)": 2,
    "2 IN (1, NULL)": None,
    "TO_BOOLEAN('yes')": True,
}


@pytest.fixture(scope="module")
def one_row(session):
    session.sql("""
        CREATE TABLE ONE AS SELECT 1 AS A, 12.5::NUMBER(10,2) AS N, '2024-01-31 10:00:00'::TIMESTAMP_NTZ AS TS,
            '2024-01-31'::DATE AS DD, PARSE_JSON('{"a": 1, "l": [1, 2, 3], "n": null, "s": "str"}') AS V""").collect()
    return session


@pytest.mark.parametrize("expression", DOCUMENTED)
def test_the_answer_is_the_documented_one(one_row, expression):
    answer = one_row.sql(f"SELECT {expression} AS R FROM ONE").collect()[0][0]
    expected = DOCUMENTED[expression]
    assert (answer, type(answer)) == (expected, type(expected))
    if isinstance(expected, Decimal):
        assert answer.as_tuple().exponent == expected.as_tuple().exponent, "the scale is part of the answer"


@pytest.mark.parametrize(
    "expression", ["HASH(1)", "SHA2('a', 512)", "TO_CHAR(1.5, '9.9')", "SOUNDEX('x')", "V:a::GEOGRAPHY"]
)
def test_what_would_differ_is_refused(one_row, expression):
    with pytest.raises(SnowparkSQLException, match="local account does not support"):
        one_row.sql(f"SELECT {expression} FROM ONE").collect()


@pytest.mark.parametrize(
    "expression, words", [("1/0", "Division by zero"), ("'x'::INT", "x"), ("'maybe'::BOOLEAN", "maybe")]
)
def test_what_snowflake_refuses_is_refused(one_row, expression, words):
    with pytest.raises(SnowparkSQLException, match=words):
        one_row.sql(f"SELECT {expression} AS R").collect()


STATEMENTS = {
    "SELECT * FROM VALUES (2), (NULL), (1) ORDER BY 1": [(1,), (2,), (None,)],
    "SELECT * FROM VALUES (2), (NULL), (1) ORDER BY 1 DESC": [(None,), (2,), (1,)],
    "SELECT F.INDEX, F.VALUE::INT FROM ONE, LATERAL FLATTEN(V:l) F ORDER BY 1": [(0, 1), (1, 2), (2, 3)],
    "SELECT A, F.VALUE FROM ONE, LATERAL FLATTEN(INPUT => V:x, OUTER => TRUE) F": [(1, None)],
    'SELECT KEY FROM TABLE(FLATTEN(PARSE_JSON(\'{"a":1,"b":2}\'))) ORDER BY 1': [("a",), ("b",)],
    "SELECT A + 1 AS Q FROM ONE WHERE Q = 2": [(2,)],
    "SELECT A AS Q, Q + 1 AS Z FROM ONE": [(1, 2)],
    "SELECT LISTAGG(X, ',') WITHIN GROUP (ORDER BY X) FROM VALUES ('b'), (NULL), ('a') AS T(X)": [("a,b",)],
    "SELECT ARRAY_SIZE(ARRAY_AGG(X)) FROM VALUES ('b'), (NULL) AS T(X)": [(1,)],
    "SELECT X FROM VALUES (1), (2) AS T(X) QUALIFY ROW_NUMBER() OVER (ORDER BY X DESC) = 1": [(2,)],
    "SELECT * FROM (SELECT 'a' K, 1 V) PIVOT(SUM(V) FOR K IN ('a'))": [(1,)],
    "SELECT 1 MINUS SELECT 2": [(1,)],
    "WITH RECURSIVE R AS (SELECT 1 N UNION ALL SELECT N + 1 FROM R WHERE N < 3) SELECT COUNT(*) FROM R": [(3,)],
    "SELECT COUNT(*) FROM TABLE(GENERATOR(ROWCOUNT => 3))": [(3,)],
    "SELECT $2 FROM VALUES (1, 'a')": [("a",)],
    "SELECT * EXCLUDE (V, TS, DD, N) FROM ONE": [(1,)],
}


@pytest.mark.parametrize("sql", STATEMENTS)
def test_statements_answer_as_documented(one_row, query, sql):
    assert query(sql) == STATEMENTS[sql]


def test_a_python_function_runs_on_staged_files(one_row, query, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"abc")
    query("CREATE STAGE FILES DIRECTORY = (ENABLE = TRUE)")
    one_row.file.put(str(tmp_path / "x.bin"), "@FILES", auto_compress=False)
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


def test_a_sql_function_is_its_body(query):
    query("CREATE FUNCTION TWICE(X INT) RETURNS INT AS 'X * 2'")
    assert query("SELECT TWICE(COLUMN1) FROM VALUES (4)") == [(8,)]

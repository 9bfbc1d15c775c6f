"""Every option of every statement: an unknown one is refused by name, a known one has an effect that can be seen.

A case is a statement with {} for its options, and the query that shows what they did. For each option of the
statement's table it runs twice, with two values; what it answers and what the query shows must differ.
"""

import gzip
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local_account.account.account import Account
from local_account.account.catalog import Object
from local_account.account.session import Session
from local_account.engine.results import Transfer
from local_account.sql.execute import run
from local_account.sql.stage_files import OPTIONS as FORMATS
from local_account.statements import options
from local_account.statements.handlers import HANDLERS, STATEMENTS
from local_account.text.errors import SnowflakeError

BODY = "AS $$def f(x):\n    return 0 if x is None else x$$"
PYTHON = "CREATE OR REPLACE FUNCTION F(X INT) RETURNS INT LANGUAGE PYTHON"
MONITOR = "CREATE OR REPLACE MODEL MONITOR MON WITH"
UNLOAD = "COPY INTO @S/out/ FROM (SELECT 1 AS A) FILE_FORMAT = (TYPE = CSV COMPRESSION = NONE)"
ALERT_END = "IF (EXISTS (SELECT 1)) THEN INSERT INTO T VALUES (1, 'x')"
RECORDED = options.RECORDED
OTHER_FILES = ("FORCE", "MATCH_BY_COLUMN_NAME")  # these have cases of their own

CASES = [  # statement, its options, what shows them
    ("CREATE OR REPLACE WAREHOUSE W {}", RECORDED["WAREHOUSE"], "SHOW WAREHOUSES LIKE 'W'"),
    ("ALTER WAREHOUSE W SET {}", options.CHANGED["WAREHOUSE"], "SHOW WAREHOUSES LIKE 'W'"),
    ("CREATE OR REPLACE COMPUTE POOL P {}", RECORDED["COMPUTE POOL"], "DESCRIBE COMPUTE POOL P"),
    ("CREATE OR REPLACE ROLE R {}", RECORDED["ROLE"], "SHOW ROLES LIKE 'R'"),
    ("CREATE OR REPLACE EXTERNAL ACCESS INTEGRATION E {}", RECORDED["EXTERNAL ACCESS INTEGRATION"],
     "DESCRIBE INTEGRATION E"),
    ("CREATE OR REPLACE NETWORK RULE N {}", RECORDED["NETWORK RULE"], "DESCRIBE NETWORK RULE N"),
    ("CREATE OR REPLACE IMAGE REPOSITORY I {}", RECORDED["IMAGE REPOSITORY"], "SHOW IMAGE REPOSITORIES"),
    (MONITOR + " {}", RECORDED["MODEL MONITOR"], "DESCRIBE MODEL MONITOR MON"),
    ("CREATE OR REPLACE DATABASE OTHER {}", options.COMMENT, "SHOW DATABASES LIKE 'OTHER'"),
    ("CREATE OR REPLACE SCHEMA D.OTHER {}", options.COMMENT, "SHOW SCHEMAS LIKE 'OTHER' IN DATABASE D"),
    ("CREATE OR REPLACE STAGE NEW {}", options.STAGE, ("DESCRIBE STAGE NEW", "SHOW STAGES LIKE 'NEW'")),
    ("ALTER STAGE S2 SET {}", options.STAGE_CHANGE, ("DESCRIBE STAGE S2", "SHOW STAGES LIKE 'S2'")),
    ("PUT file:///no/such/file @S {}", options.PUT, None),
    ("GET @S file:///no/such/folder {}", options.GET, None),
    ("COPY FILES INTO @S2 FROM @S/f/ {}", options.COPY_FILES, None),
    ("COPY FILES INTO @S2 FROM (SELECT '@S/f/two.csv') {}", {}, None),
    ("COPY INTO T FROM @S/f/ {}", {key: options.LOAD[key] for key in options.LOAD if key not in OTHER_FILES},
     ("SELECT * FROM T", "LIST @S")),
    ("COPY INTO D.PUBLIC.T FROM @S/f/ {}", {"FORCE": options.BOOLEAN}, "SELECT * FROM T"),
    ("COPY INTO T FROM @S/h/ FILE_FORMAT = (TYPE = CSV PARSE_HEADER = TRUE) {}",
     {"MATCH_BY_COLUMN_NAME": options.LOAD["MATCH_BY_COLUMN_NAME"]}, "SELECT * FROM T"),
    ("COPY INTO T FROM (SELECT $1, $2 FROM @S/f/two.csv) {}", {"PURGE": options.BOOLEAN}, "LIST @S"),
    (UNLOAD + " {}", {"OVERWRITE": options.BOOLEAN}, "SELECT $1 FROM @S/out"),
    (UNLOAD + " OVERWRITE = TRUE {}", {"HEADER": options.BOOLEAN}, "SELECT $1 FROM @S/out"),
    (UNLOAD.replace("/out/", "/one") + " OVERWRITE = TRUE {}", {"SINGLE": options.BOOLEAN}, "LIST @S"),
    ("COPY INTO @S/out/ FROM (SELECT 1 AS A, 2 AS B) {}", {"FILE_FORMAT": options.FORMAT},
     "LIST @S/out"),
    ("COPY INTO @S/out/ FROM T {}", {"HEADER": options.BOOLEAN}, "LIST @S/out"),
    ("CREATE OR REPLACE TASK K {} AS SELECT 1", options.TASK, "SHOW TASKS LIKE 'K'"),
    ("CREATE OR REPLACE ALERT A {} " + ALERT_END, options.ALERT, "SHOW ALERTS LIKE 'A'"),
    ("CREATE OR REPLACE STREAMLIT APP FROM @S {}", options.STREAMLIT, "DESCRIBE STREAMLIT APP"),
    ("ALTER STREAMLIT APP SET {}", options.STREAMLIT, "DESCRIBE STREAMLIT APP"),
    ("CREATE OR REPLACE CODE BUNDLE B FROM @S {}", options.COMMENT, "SHOW CODE BUNDLES LIKE 'B'"),
    ("ALTER SERVICE SVC SET {}", options.SERVICE, "SHOW SERVICES LIKE 'SVC'"),
    (PYTHON + " HANDLER = 'f' {} " + BODY,
     {key: options.PYTHON_FUNCTION[key] for key in options.PYTHON_FUNCTION if key != "HANDLER"},
     ("DESCRIBE FUNCTION F(INT)", "SHOW FUNCTIONS LIKE 'F'")),
    (PYTHON + " {} " + BODY, {"HANDLER": options.TEXT}, "DESCRIBE FUNCTION F(INT)"),
    ("CREATE OR REPLACE FILE FORMAT FMT TYPE = CSV {}", {"COMMENT": options.TEXT}, "SHOW FILE FORMATS LIKE 'FMT'"),
    ("ALTER EXPERIMENT X ADD RUN NEW WITH ({})", options.RUN, "SHOW RUNS LIKE 'NEW' IN EXPERIMENT X"),
    ("ALTER SESSION SET {}", {"QUERY_TAG": options.TEXT}, "SHOW PARAMETERS LIKE 'QUERY_TAG'"),
]  # fmt: skip

# Two values of each kind of option. Names are of things that there are.
VALUES = {options.BOOLEAN: ("TRUE", "FALSE"), options.NUMBER: ("2", "7"), options.TEXT: ("'left'", "'right'"),
          options.LIST: ("('a')", "('b')"), options.NAME: ("P", "W"), options.PERIOD: ("'5 MINUTES'", "'1 HOUR'"),
          options.FORMAT: ("FMT", "(TYPE = CSV FIELD_DELIMITER = ';')"), options.SIZES: ("XSMALL", "LARGE"),
          r"[1-9]\d?": ("2", "7"), r"\w+": ("GPU_NV_S", "CPU_X64_S"),
          rf"{options.NUMBER}|NULL": ("60", "NULL"), r"3\.1[0-3]": ("'3.10'", "'3.12'")}  # fmt: skip
BY_NAME = {
    "DIRECTORY": ("(ENABLE = TRUE)", "(ENABLE = FALSE)"),
    "ENCRYPTION": ("(TYPE = 'SNOWFLAKE_SSE')", "(TYPE = 'SNOWFLAKE_FULL')"),
    "PATTERN": ("'.*two.*'", "'.*nothing.*'"), "FILES": ("('two.csv')", "('other.csv')"),
    "ON_ERROR": ("ABORT_STATEMENT", "CONTINUE"), "MAIN_FILE": ("'main.py'", "'other.py'"),
    "COMPUTE_POOL": ("P", "P2"), "PACKAGES": ("()", "('pandas')"), "IMPORTS": ("()", "('@S/f/two.csv')"),
    "TYPE": ("HOST_PORT", "IPV4"), "MODE": ("EGRESS", "INGRESS"), "SOURCE_COMPRESSION": ("GZIP", "NONE"),
    "MATCH_BY_COLUMN_NAME": ("CASE_INSENSITIVE", "NONE"),
}  # fmt: skip
BEFORE = {
    "COPY INTO T": ["TRUNCATE T"],
    "COPY INTO D": ["TRUNCATE T", "COPY INTO T FROM @S/f/"],
    "COPY INTO @S": [
        "REMOVE @S/out",
        UNLOAD.replace("1 AS A", "2 AS B"),
    ],
    "ALTER EXPERIMENT": ["CREATE OR REPLACE EXPERIMENT X"],
}
FILES = {"f/two.csv": "1,x\n", "f/other.csv": "2,y\n", "h/swapped.csv": "B,A\n7,8\n",
         **dict.fromkeys(("streamlit_app.py", "main.py", "other.py"), "")}  # fmt: skip
SETUP = """
    CREATE DATABASE D; CREATE COMPUTE POOL P; CREATE COMPUTE POOL P2; CREATE WAREHOUSE W; CREATE STAGE S;
    CREATE STAGE S2; CREATE TABLE T (A INT, B STRING); CREATE FILE FORMAT FMT TYPE = CSV; CREATE EXPERIMENT X"""


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session on an account with one object of each kind, in this process."""
    account = Account(tmp_path_factory.mktemp("options"), "token", "key", 0, HANDLERS)
    made = Session(account)
    for sql in SETUP.split(";"):
        run(made, sql.strip())
    made.put(Object("SERVICE", "D", "PUBLIC", "SVC", properties={"status": "SUSPENDED", "compute_pool": "P2"}))
    write_files(made)
    run(made, "CREATE STREAMLIT APP FROM @S")
    yield made
    account.close()


def write_files(session):
    run(session, "USE SCHEMA D.PUBLIC")
    folder = session.folders.path(session.need("STAGE", "S"))
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def outcome(session, statement, shown):
    """What a statement answers, or the error that refuses it, and what the queries show then."""
    write_files(session)
    for before in next((steps for start, steps in BEFORE.items() if statement.startswith(start)), []):
        run(session, before)
    try:
        answer = run(session, statement)
        transfer = answer.data if isinstance(answer, Transfer) else {}
        found = [{key: value for key, value in transfer.items() if key != "stageInfo"} if transfer else answer.rows]
    except SnowflakeError as error:
        assert error.code not in (1003, 1008), f"{statement}: {error}"
        return str(error)
    for sql in [shown] if isinstance(shown, str) else shown or ():
        rows = run(session, sql).to_arrow().drop_columns([]).to_pylist()
        found.append([{key: value for key, value in row.items() if key not in TIMES} for row in rows])
    return found


TIMES = ("created_on", "last_modified")
WALK = [(statement, option, values, shown) for statement, known, shown in CASES for option, values in known.items()]


@pytest.mark.parametrize(("statement", "option", "values", "shown"), WALK, ids=lambda value: str(value)[:60])
def test_an_option_has_an_effect(session, statement, option, values, shown):
    pair = BY_NAME.get(option) or VALUES[values]
    first, second = (outcome(session, statement.format(f"{option} = {value}"), shown) for value in pair)
    assert first != second
    assert not isinstance(first, str) or not isinstance(second, str), first


@pytest.mark.parametrize("statement", [statement for statement, *_ in CASES])
def test_an_unknown_option_is_refused_by_name(session, statement):
    write_files(session)
    with pytest.raises(SnowflakeError, match="BANANA"):
        run(session, statement.format("BANANA = 1"))


def test_a_value_that_an_option_does_not_take_is_refused(session):
    write_files(session)
    for sql, named in {
        "CREATE WAREHOUSE V AUTO_RESUME = BANANA": "invalid value 'BANANA' for property 'AUTO_RESUME'",
        "CREATE COMPUTE POOL V MIN_NODES = 1 MIN_NODES = 2": "duplicate property 'MIN_NODES'",
        "CREATE STAGE V DIRECTORY = (ENABLE = TRUE BANANA = 1)": "BANANA",
        "CREATE STAGE V ENCRYPTION = (TYPE = 'BANANA')": "BANANA",
        "CREATE STAGE V FILE_FORMAT = (TYPE = CSV BANANA = 1)": "BANANA",
        "PUT file:///x @S OVERWRITE = BANANA": "BANANA",
        "COPY INTO T FROM @S FORCE = BANANA": "BANANA",
    }.items():
        with pytest.raises(SnowflakeError, match=named):
            run(session, sql)


def test_every_statement_with_options_has_a_case():
    covered = {entry.shape for entry in STATEMENTS for statement, *_ in CASES
               if entry.regex.fullmatch(statement.format("COMMENT = 'x'"))}  # fmt: skip
    kinds = {entry.shape for entry in STATEMENTS if re.search("<options:", entry.shape)}
    assert kinds - covered == set()


# ---------------------------------------------------------------- formats of files

CSV = {  # option -> two values
    "FIELD_DELIMITER": ("','", "';'"), "SKIP_HEADER": ("0", "1"), "FIELD_OPTIONALLY_ENCLOSED_BY": ("NONE", "'\"'"),
    "NULL_IF": ("('b')", "('c')"), "EMPTY_FIELD_AS_NULL": ("TRUE", "FALSE"), "COMPRESSION": ("GZIP", "NONE"),
    "PARSE_HEADER": ("TRUE", "FALSE"), "ERROR_ON_COLUMN_COUNT_MISMATCH": ("TRUE", "FALSE"),
}  # fmt: skip
WITHOUT_EFFECT = {"PARQUET": {"COMPRESSION", "USE_VECTORIZED_SCANNER"}}  # reading, there as here


def read(session, place, given):
    try:
        return run(session, f"SELECT $1, $2 FROM {place} (FILE_FORMAT => 'FMT2')").to_arrow().to_pylist()
    except SnowflakeError as error:
        return str(error)


@pytest.mark.parametrize("option", sorted(CSV.keys() | FORMATS["CSV"].keys()))
def test_an_option_of_csv_files_has_an_effect(session, option):
    folder, found = write_files(session), []
    (folder / "rows.txt").write_text('b,\n"c;d",e\n')
    (folder / "rows.gz").write_bytes(gzip.compress(b"b,c\n"))
    for value in CSV[option]:
        run(session, f"CREATE OR REPLACE FILE FORMAT FMT2 TYPE = CSV {option} = {value}")
        if option == "ERROR_ON_COLUMN_COUNT_MISMATCH":
            (folder / "wide.csv").write_text("1,x,3\n")
            found.append(outcome(session, "COPY INTO T FROM @S/wide.csv FILE_FORMAT = FMT2", "SELECT * FROM T"))
        else:
            found.append(read(session, "@S/rows.gz" if option == "COMPRESSION" else "@S/rows.txt", value))
    assert found[0] != found[1]


def test_the_option_of_json_files_has_an_effect(session):
    (write_files(session) / "rows.json").write_text("[1, 2]")
    counts = []
    for value in ("TRUE", "FALSE"):
        run(session, f"CREATE OR REPLACE FILE FORMAT FMT2 TYPE = JSON STRIP_OUTER_ARRAY = {value}")
        counts.append(len(run(session, "SELECT $1 FROM @S/rows.json (FILE_FORMAT => 'FMT2')").to_arrow()))
    assert counts == [2, 1]


@pytest.mark.parametrize("option", sorted(FORMATS["PARQUET"].keys() - WITHOUT_EFFECT["PARQUET"]))
def test_an_option_of_parquet_files_has_an_effect(session, option):
    table = pa.table({"T": pa.array([1_700_000_000_000_000], pa.timestamp("us")), "B": pa.array([b"abc"])})
    pq.write_table(table, write_files(session) / "rows.parquet")
    seen = []
    for value in ("TRUE", "FALSE"):
        run(session, f"CREATE OR REPLACE FILE FORMAT FMT2 TYPE = PARQUET {option} = {value}")
        infer = "SELECT * FROM TABLE(INFER_SCHEMA(LOCATION => '@S/rows.parquet', FILE_FORMAT => 'FMT2'))"
        seen.append({row[0]: row[1] for row in run(session, infer).rows})
    number = "NUMBER(38, 0)"
    expected = {"USE_LOGICAL_TYPE": [{"T": "TIMESTAMP_NTZ", "B": "TEXT"}, {"T": number, "B": "TEXT"}],
                "BINARY_AS_TEXT": [{"T": number, "B": "TEXT"}, {"T": number, "B": "BINARY"}]}  # fmt: skip
    assert seen == expected[option]


def test_parquet_timestamps_are_numbers_unless_their_logical_type_is_asked_for(session):
    table = pa.table({"AT": pa.array([1_700_000_000_000_000], pa.timestamp("us"))})
    pq.write_table(table, write_files(session) / "times.parquet")
    run(session, "CREATE OR REPLACE TABLE TIMES (AT TIMESTAMP_NTZ)")
    load = (
        "COPY INTO TIMES FROM @S/times.parquet FILE_FORMAT = (TYPE = PARQUET{}) MATCH_BY_COLUMN_NAME = CASE_SENSITIVE"
    )
    with pytest.raises(SnowflakeError, match="Timestamp '1700000000000000' is not recognized"):
        run(session, load.format(""))
    run(session, load.format(" USE_LOGICAL_TYPE = TRUE"))
    assert str(run(session, "SELECT AT FROM TIMES").to_arrow()["AT"][0]) == "2023-11-14 22:13:20"


# ---------------------------------------------------------------- words


def test_words_of_a_function_are_recorded(session):
    run(session, f"{PYTHON} STRICT IMMUTABLE HANDLER = 'f' {BODY}")
    shown = dict(run(session, "DESCRIBE FUNCTION F(INT)").rows)
    assert (shown["null handling"], shown["volatility"]) == ("RETURNS NULL ON NULL INPUT", "IMMUTABLE")
    run(session, f"{PYTHON} HANDLER = 'f' {BODY}")
    shown = dict(run(session, "DESCRIBE FUNCTION F(INT)").rows)
    assert (shown["null handling"], shown["volatility"]) == ("CALLED ON NULL INPUT", "VOLATILE")


def test_dropping_a_function_names_its_arguments(session):
    run(session, f"{PYTHON} HANDLER = 'f' {BODY}")
    with pytest.raises(SnowflakeError, match="does not exist"):
        run(session, "DROP FUNCTION F(STRING)")
    run(session, "DROP FUNCTION F(INT)")


def test_terse_shows_fewer_columns(session):
    names = [column.name for column in run(session, "SHOW TERSE TABLES").columns]
    assert names == ["created_on", "name", "database_name", "schema_name", "kind"]


def test_a_refresh_below_a_path_leaves_the_rest(session):
    run(session, "CREATE OR REPLACE STAGE LISTED DIRECTORY = (ENABLE = TRUE)")
    folder = session.folders.path(session.need("STAGE", "LISTED"))
    for place in ("a", "b"):
        (folder / place).mkdir()
        (folder / place / "x").write_text("x")
    run(session, "ALTER STAGE LISTED REFRESH SUBPATH = 'a'")
    listed = "SELECT RELATIVE_PATH FROM DIRECTORY(@LISTED) ORDER BY 1"
    assert [row["RELATIVE_PATH"] for row in run(session, listed).to_arrow().to_pylist()] == ["a/x"]
    (folder / "a" / "x").unlink()
    run(session, "ALTER STAGE LISTED REFRESH")
    assert [row["RELATIVE_PATH"] for row in run(session, listed).to_arrow().to_pylist()] == ["b/x"]


def test_a_runs_source_is_in_its_metadata(session):
    run(session, "CREATE OR REPLACE EXPERIMENT X")
    run(session, 'ALTER EXPERIMENT X ADD RUN R WITH (SOURCE_INFO = $${"file": "train.py"}$$)')
    (row,) = run(session, "SHOW RUNS IN EXPERIMENT X").rows
    assert json.loads(json.loads(row[2])["source_info"]) == {"file": "train.py"}

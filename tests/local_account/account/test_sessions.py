"""Sessions, transactions, queries in flight, and the words of refusals."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from snowflake import connector
from snowflake.connector.errors import ProgrammingError
from snowflake.snowpark.exceptions import SnowparkSQLException

from local_account.engine.duckdb_errors import engine_errors
from local_account.server import queries
from local_account.text.errors import SnowflakeError


def test_nothing_is_in_use_at_first(account):
    from tests.local_account.conftest import open_session

    session = open_session(account)
    assert session.get_current_database() is None
    assert session.sql("SELECT CURRENT_WAREHOUSE(), CURRENT_ROLE()").collect() == [("COMPUTE_WH", "SYSADMIN")]
    with pytest.raises(SnowparkSQLException, match="does not have a current database"):
        session.table("T").collect()
    session.close()


def test_an_unknown_object_is_refused_in_snowflakes_words(session):
    with pytest.raises(SnowparkSQLException) as refused:
        session.table("NOPE").collect()
    assert refused.value.error_code == "1304"
    assert "002003 (42S02)" in str(refused.value)
    assert "Object 'TEST_SESSIONS.PUBLIC.NOPE' does not exist or not authorized." in str(refused.value)


@pytest.mark.parametrize(
    "sql, named",
    [
        ("SELECT SOUNDEX_P123('x')", "SOUNDEX_P123"),
        ("CREATE MASKING POLICY P AS (V STRING) RETURNS STRING -> V", "CREATE MASKING POLICY"),
        ("ALTER SESSION SET WEEK_START = 1", "WEEK_START"),
        ("ALTER SESSION UNSET WEEK_START", "WEEK_START"),
        ("ALTER SESSION SET JSON_INDENT = 0", "JSON_INDENT = 0"),
        ("ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = 1", "STATEMENT_TIMEOUT_IN_SECONDS = 1"),
        ("ALTER SESSION SET QUERY_TAG", "syntax error"),
        ("SELECT LAST_QUERY_ID(1)", "LAST_QUERY_ID"),
        ("SELECT GET_PRESIGNED_URL(@S, 'x')", "GET_PRESIGNED_URL"),
        ("CREATE FUNCTION F(X FLOAT) RETURNS FLOAT LANGUAGE JAVASCRIPT AS 'return X'", "LANGUAGE JAVASCRIPT"),
        ("CREATE FUNCTION F() RETURNS INT LANGUAGE PYTHON PACKAGES = ('nosuch==1') HANDLER = 'f' AS 'f=1'", "nosuch"),
        ("SELECT * FROM TABLE(VALIDATE(T, JOB_ID => '_last'))", "VALIDATE"),
        ("CREATE SCHEMA S CLONE PUBLIC", "CLONE PUBLIC"),
        ("CREATE STAGE S URL = 's3://b'", "URL"),
        ("CREATE WAREHOUSE W; DROP WAREHOUSE COMPUTE_WH", "statement count 2"),
        ("SELECT 1 AT(OFFSET => -1)", "syntax error"),
    ],
)
def test_what_is_not_supported_names_itself(session, sql, named):
    with pytest.raises(SnowparkSQLException, match=named):
        session.sql(sql).collect()


def test_a_transaction_commits_or_rolls_back(session, connect):
    other = connect()
    session.sql("CREATE OR REPLACE TABLE T (A INT)").collect()
    for end, expected in (("ROLLBACK", 0), ("COMMIT", 1)):
        session.sql("BEGIN").collect()
        session.sql("INSERT INTO T VALUES (1)").collect()
        assert other.table("T").count() == 0, "not visible before it is committed"
        session.sql(end).collect()
        assert other.table("T").count() == expected


def test_a_definition_is_seen_by_all_at_once(session, connect):
    """What a session has read of the catalog is kept until somebody defines something."""
    other = connect()

    def both(sql: str) -> list[tuple]:
        mine, theirs = ([tuple(row) for row in each.sql(sql).collect()] for each in (session, other))
        assert mine == theirs
        return mine

    session.sql("CREATE TABLE SEEN AS SELECT 1 AS A").collect()
    assert both("SELECT * FROM SEEN") == [(1,)]
    other.sql("ALTER TABLE SEEN ADD COLUMN B INT").collect()
    assert both("SELECT A, B FROM SEEN") == [(1, None)]
    session.sql("CREATE OR REPLACE VIEW LOOK AS SELECT A FROM SEEN").collect()
    assert both("SELECT * FROM LOOK") == [(1,)]
    other.sql("CREATE OR REPLACE VIEW LOOK AS SELECT 7 AS A FROM SEEN").collect()
    assert both("SELECT * FROM LOOK") == [(7,)]
    other.sql("CREATE OR REPLACE TABLE SEEN AS SELECT 'x' AS A").collect()
    assert both("SELECT A || '!' FROM SEEN") == [("x!",)]
    session.sql("DROP TABLE SEEN").collect()
    for each in (session, other):
        with pytest.raises(SnowparkSQLException, match="SEEN' does not exist"):
            each.sql("SELECT * FROM SEEN").collect()
    other.sql("CREATE TABLE SEEN (A INT)").collect()
    assert both("SELECT * FROM SEEN") == []


def test_a_definition_that_fails_is_seen_by_nobody(session, connect):
    other = connect()
    session.sql("CREATE TABLE KEPT AS SELECT 1 AS A").collect()
    with pytest.raises(SnowparkSQLException, match="Division by zero"):
        session.sql("CREATE OR REPLACE TABLE KEPT AS SELECT A / 0 AS B FROM KEPT").collect()
    with pytest.raises(SnowparkSQLException):
        session.sql("CREATE TABLE NEVER AS SELECT A / 0 AS B FROM KEPT").collect()
    for each in (session, other):
        assert each.sql("SELECT A FROM KEPT").collect() == [(1,)]
        with pytest.raises(SnowparkSQLException, match="NEVER' does not exist"):
            each.sql("SELECT * FROM NEVER").collect()


def test_commit_never_pretends(session):
    session.sql("CREATE OR REPLACE TABLE T (A INT)").collect()
    session.sql("BEGIN").collect()
    session.sql("INSERT INTO T VALUES (1)").collect()
    with pytest.raises(SnowparkSQLException, match="Numeric value 'x' is not recognized"):
        session.sql("SELECT 'x'::INT AS A").collect()
    with pytest.raises(SnowparkSQLException, match="Nothing was committed"):
        session.sql("COMMIT").collect()
    assert session.table("T").count() == 0


def test_names_keep_their_case(query):
    query('CREATE TABLE CASES ("lower" INT, UPPER INT)')
    assert query('SELECT "lower", upper FROM cases') == []
    for wrong in ("lower", '"upper"'):
        with pytest.raises(SnowparkSQLException, match="invalid identifier"):
            query(f"SELECT {wrong} FROM CASES")


def test_writers_queue_and_lose_no_update(connect):
    sessions = [connect() for _ in range(4)]
    sessions[0].sql("CREATE OR REPLACE TABLE COUNTER AS SELECT 0 AS N").collect()

    def add(session):
        for _ in range(5):
            session.sql("UPDATE COUNTER SET N = N + 1").collect()

    threads = [threading.Thread(target=add, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sessions[0].table("COUNTER").collect() == [(20,)]


def test_a_long_query_delays_no_other_and_can_be_cancelled(session, connect):
    slow = connect().connection.cursor()
    numbers = "(SELECT SEQ4() AS X FROM TABLE(GENERATOR(ROWCOUNT => 300000)))"
    slow.execute_async(f"SELECT COUNT(A.X * B.X % 7) FROM {numbers} A, {numbers} B")
    started = time.monotonic()
    assert session.sql("SELECT 1").collect() == [(1,)]
    assert time.monotonic() - started < 2
    connection = slow.connection
    assert connection.is_still_running(connection.get_query_status(slow.sfqid))
    slow.connection.rest.request(f"/queries/{slow.sfqid}/abort-request", {})
    with pytest.raises(Exception, match="SQL execution canceled"):
        slow.get_results_from_sfqid(slow.sfqid)
        slow.fetchall()


def test_a_query_is_cancelled_however_early_the_request_comes(connect):
    """The engine forgets an interrupt that reaches it before the statement does."""
    slow = connect().connection.cursor()
    numbers = "(SELECT SEQ4() AS X FROM TABLE(GENERATOR(ROWCOUNT => 300000)))"
    for _ in range(10):
        slow.execute_async(f"SELECT COUNT(A.X * B.X % 7) FROM {numbers} A, {numbers} B")
        slow.connection.rest.request(f"/queries/{slow.sfqid}/abort-request", {})
        with pytest.raises(Exception, match="SQL execution canceled"):
            slow.get_results_from_sfqid(slow.sfqid)
            slow.fetchall()


def test_cancelling_a_query_that_waits_spares_the_one_that_runs(connect):
    session = connect()
    cursor = session.connection.cursor()
    numbers = "(SELECT SEQ4() AS X FROM TABLE(GENERATOR(ROWCOUNT => 8000)))"
    cursor.execute_async(f"SELECT COUNT(A.X * B.X % 7) FROM {numbers} A, {numbers} B")
    first = cursor.sfqid
    cursor.execute_async("SELECT 1")
    session.connection.rest.request(f"/queries/{cursor.sfqid}/abort-request", {})
    cursor.get_results_from_sfqid(first)
    assert cursor.fetchall() == [(64_000_000,)]


def test_a_full_disk_is_named(monkeypatch):
    for error in (
        duckdb.TransactionException("Failed to commit: Could not write file: No space left on device"),
        duckdb.IOException("Could not write file: No space left on device"),
    ):
        with pytest.raises(SnowflakeError, match="disk of the local account's folder is full"), engine_errors():
            raise error
    known = queries.Queries()
    monkeypatch.setattr(queries, "execute", lambda *_: Path("/dev/full").write_text("x" * 10))
    assert "disk" in known.start("one", {"sqlText": ""}, "").failure().message


def test_asynchronous_results(session):
    job = session.sql("SELECT 41 + 1 AS A").collect_nowait()
    assert job.result() == [(42,)]


def test_the_last_result_can_be_queried(query):
    query("SHOW WAREHOUSES")
    assert query('SELECT "name" FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))') == [("COMPUTE_WH",)]
    for made in ("CREATE OR REPLACE TABLE SEEN_A AS SELECT 1 AS A", "CREATE OR REPLACE TABLE SEEN_B (B INT)"):
        query(made)
    query("SHOW TABLES LIKE 'SEEN_%'")
    listed = query('SELECT "name", "rows" FROM TABLE(RESULT_SCAN(LAST_QUERY_ID())) ORDER BY 1')
    assert listed == [("SEEN_A", 1), ("SEEN_B", 0)]
    for number in (8, 9):
        query(f"SELECT {number} AS N")
    assert query("SELECT N FROM TABLE(RESULT_SCAN(LAST_QUERY_ID(-2)))") == [(8,)]


def test_large_answers_come_in_parts(session):
    frame = session.sql("SELECT REPEAT('x', 1000000) AS S, SEQ4() AS I FROM TABLE(GENERATOR(ROWCOUNT => 50))")
    rows = frame.to_pandas()
    assert rows["S"].str.len().sum() == 50_000_000
    assert sorted(rows["I"]) == list(range(50))


def test_temporary_objects_belong_to_one_session(session, connect):
    session.sql("CREATE TEMPORARY TABLE ONLY_MINE AS SELECT 1 AS A").collect()
    session.sql("CREATE TEMPORARY STAGE ONLY_MINE").collect()
    with pytest.raises(SnowparkSQLException, match="does not exist"):
        connect().table("ONLY_MINE").collect()
    with pytest.raises(SnowparkSQLException, match="does not exist"):
        connect().sql("LIST @ONLY_MINE").collect()
    assert session.table("ONLY_MINE").collect() == [(1,)]


def test_variables_keep_their_value_and_type_until_they_are_unset(session, query):
    session.sql("SET LIMIT_ = 1.5").collect()
    session.sql("SET NAME = (SELECT 'a' || 'b')").collect()
    assert query("SELECT $LIMIT_ + 1, $name") == [(Decimal("2.5"), "ab")]
    session.sql("UNSET NAME").collect()
    with pytest.raises(SnowparkSQLException, match=r"'\$NAME' does not exist"):
        query("SELECT $NAME")


def test_a_parameter_that_is_unset_has_its_default_again(connect):
    session = connect()
    session.sql("CREATE OR REPLACE TABLE KEPT (A INT)").collect()
    for sql in ("ALTER SESSION SET AUTOCOMMIT = FALSE", "ALTER SESSION UNSET AUTOCOMMIT", "INSERT INTO KEPT SELECT 1"):
        session.sql(sql).collect()
    session.sql("ROLLBACK").collect()
    assert session.table("KEPT").count() == 1


def test_parameters_that_come_with_a_login_or_a_statement_are_not_ignored(session, connect):
    with pytest.raises(Exception, match="WEEK_START"):
        connect(session_parameters={"WEEK_START": 1})
    with pytest.raises(SnowparkSQLException, match="TIMEZONE = America/New_York"):
        session.sql("SELECT 1").collect(statement_params={"TIMEZONE": "America/New_York"})
    assert session.sql("SELECT 1").collect(statement_params={"QUERY_TAG": "x", "team": "y"}) == [(1,)]


def test_threads_share_a_session(session):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: session.sql(f"SELECT {i}").collect()[0][0], range(40)))
    assert answers == list(range(40))


def test_a_connection_that_is_left_commits(session, account):
    given = {key: account[key] for key in ("account", "user", "password", "host", "port", "protocol")}
    session.sql("CREATE OR REPLACE TABLE LEFT_ (A INT)").collect()
    for expected in (1, 2):
        with connector.connect(**given, database="TEST_SESSIONS", schema="PUBLIC", autocommit=expected > 1) as left:
            left.autocommit(False)
            left.cursor().execute("INSERT INTO LEFT_ VALUES (1)")
        assert session.table("LEFT_").count() == expected


def test_a_warehouse_that_does_not_exist_is_not_in_use(account):
    from tests.local_account.conftest import open_session

    session = open_session(account, warehouse="NOPE")
    assert session.get_current_warehouse() is None
    session.close()


@pytest.mark.parametrize("style, sql", [("qmark", "SELECT ?, ?"), ("numeric", "SELECT :1")])
def test_a_parameter_without_a_value_says_so(account, style, sql):
    given = {key: account[key] for key in ("account", "user", "password", "host", "port", "protocol")}
    words = r"(?s)Bind variable \? not set|parameters by number"
    with connector.connect(**given, paramstyle=style) as connection, pytest.raises(ProgrammingError, match=words):
        connection.cursor().execute(sql, (1,))


def test_several_statements_in_one_request_are_refused_by_name(session):
    with pytest.raises(ProgrammingError, match="several statements in one request"):
        session.connection.cursor().execute("SELECT 1; SELECT 2", num_statements=2)


def test_a_query_that_runs_is_known_however_many_come_after_it(monkeypatch):
    """Its client asks again after a while; meanwhile others may have sent hundreds."""
    over, known = threading.Event(), queries.Queries()
    monkeypatch.setattr(queries, "execute", lambda session, body, query_id, turn: body["work"]())
    slow = known.start("one", {"sqlText": "", "work": over.wait}, "")
    unread = known.start("two", {"sqlText": "", "work": int}, "")
    for _ in range(3 * queries.QUERIES_KEPT):
        last = known.start("three", {"sqlText": "", "work": int}, "")
        last.future.result()
    over.set()
    assert known.get(slow.id).future.result() and known.get(unread.id) and known.get(last.id)
    assert len(known.all()) <= queries.QUERIES_KEPT + 1

"""Tables, views and DataFrames through Snowpark and the plain connector."""

import datetime as dt
from decimal import Decimal

import pandas as pd
import pytest
from snowflake.connector.errors import IntegrityError, ProgrammingError
from snowflake.snowpark import functions as F
from snowflake.snowpark import types as T
from snowflake.snowpark.exceptions import SnowparkSQLException


@pytest.fixture
def people(session):
    """A fresh table of three rows."""
    frame = session.create_dataframe([[1, "x"], [2, "y"], [3, "y"]], schema=["ID", "NAME"])
    frame.write.mode("overwrite").save_as_table("PEOPLE")
    return session.table("PEOPLE")


def test_every_type_survives_the_round_trip(session):
    types = {
        "v": T.VariantType(), "b": T.BinaryType(), "d": T.DecimalType(10, 2), "dd": T.DateType(), "x": T.BooleanType(),
        "ts": T.TimestampType(T.TimestampTimeZone.NTZ), "f": T.DoubleType(), "i": T.LongType(), "s": T.StringType(),
    }  # fmt: skip
    row = [{"a": 1}, b"\x89P", Decimal("1.25"), dt.date(2024, 1, 2), True, dt.datetime(2024, 1, 2, 3, 4, 5, 678000),
           1.5, 7, "é"]  # fmt: skip
    schema = T.StructType([T.StructField(name, kind) for name, kind in types.items()])
    frame = session.create_dataframe([row, [None] * 9], schema=schema)
    frame.write.mode("overwrite").save_as_table("TYPES")
    back = session.table("TYPES")
    assert [type(field.datatype) for field in back.schema.fields] == [type(kind) for kind in types.values()]
    assert back.collect() == [('{\n  "a": 1\n}', bytearray(b"\x89P"), *row[2:]), (None,) * 9]


def test_pandas_goes_in_and_comes_out(session):
    frame = pd.DataFrame({"ID": [1, 2], "S": ["q", None], "F": [1.5, None], "B": [b"ab", b"c"]})
    session.create_dataframe(frame).write.mode("overwrite").save_as_table("FROM_PANDAS")
    back = session.table("FROM_PANDAS").to_pandas()
    assert back["ID"].tolist() == [1, 2]
    assert back["S"].tolist() == ["q", None]
    session.write_pandas(frame, "FROM_PANDAS")
    assert session.table("FROM_PANDAS").count() == 4


def test_pandas_gets_the_types_that_snowflake_sends(query, session):
    """The smallest integers that hold a column, floats for NUMBERs with digits after the point, nanoseconds where they
    can be counted."""
    query("""CREATE TABLE SENT AS SELECT 1 AS A, 300 AS B, 12.50::NUMBER(10,2) AS N, 12345678901234567890::NUMBER AS W,
        '1969-12-31 23:59:59.5'::TIMESTAMP AS TS, '9999-12-31'::TIMESTAMP AS FAR""")
    frame = session.connection.cursor().execute("SELECT * FROM SENT").fetch_pandas_all()
    kinds = ["int8", "int16", "float64", "object", "datetime64[ns]", "datetime64[us]"]
    assert [str(kind) for kind in frame.dtypes] == kinds
    far = dt.datetime(9999, 12, 31)
    row = (1, 300, Decimal("12.50"), 12345678901234567890, dt.datetime(1969, 12, 31, 23, 59, 59, 500_000), far)
    assert query("SELECT * FROM SENT") == [row]
    assert frame["TS"][0] == row[4] and frame["FAR"][0] == far and frame["N"][0] == 12.5


def test_rows_are_split_at_random_and_the_same_again(session):
    session.range(200).to_df("N").write.save_as_table("SPLIT")
    train, test = session.table("SPLIT").random_split([0.8, 0.2], seed=1)
    again, _ = session.table("SPLIT").random_split([0.8, 0.2], seed=1)
    assert train.count() + test.count() == 200 and 20 < test.count() < 60
    assert train.intersect(test).count() == 0 and train.minus(again).count() == 0
    drawn = session.generator(F.uniform(1, 6, F.random()), rowcount=100).to_df("D").distinct().count()
    assert drawn == 6


def test_appending_makes_the_table_when_there_is_none(session):
    session.sql("DROP TABLE IF EXISTS GROWN").collect()
    for _ in range(2):
        session.create_dataframe([[1]], schema=["A"]).write.mode("append").save_as_table("GROWN")
    assert session.table("GROWN").count() == 2


def test_dataframes_query(people):
    assert people.filter(F.col("ID") > 1).sort(F.col("ID").desc()).select("ID").collect() == [(3,), (2,)]
    counted = people.group_by("NAME").agg(F.count("*"), F.avg("ID")).sort("NAME")
    assert counted.collect() == [("x", 1, Decimal("1.000000")), ("y", 2, Decimal("2.500000"))]
    assert people.join(people.filter(F.col("ID") > 1).distinct(), "ID").count() == 2
    assert people.with_column("HALF", F.col("ID") / 2).first()["HALF"] == Decimal("0.500000")


def test_rows_change(session, people):
    source = session.create_dataframe([[2, "m"], [9, "n"]], schema=["ID", "NAME"])
    merged = people.merge(
        source,
        people["ID"] == source["ID"],
        [F.when_matched().update({"NAME": source["NAME"]}), F.when_not_matched().insert({"ID": 9, "NAME": "n"})],
    )
    assert (merged.rows_inserted, merged.rows_updated) == (1, 1)
    assert people.update({"NAME": "z"}, F.col("ID") == 1).rows_updated == 1
    assert people.delete(F.col("ID") == 3).rows_deleted == 1
    assert people.sort("ID").collect() == [(1, "z"), (2, "m"), (9, "n")]


def test_parameters_are_bound(query, people):
    assert query("SELECT NAME FROM PEOPLE WHERE ID = ? AND NAME <> ?", [2, "x"]) == [("y",)]


def test_many_rows_are_inserted_at_once(session):
    cursor = session.connection.cursor()
    session.sql("CREATE OR REPLACE TABLE MANY (A INT, B STRING)").collect()
    cursor.connection._paramstyle = "qmark"
    cursor.executemany("INSERT INTO MANY VALUES (?, ?)", [(i, str(i)) for i in range(1000)])
    assert session.table("MANY").count() == 1000


def test_many_rows_may_lack_values(session):
    """The connector sends a column of values of several types, NULL among them, as text."""
    cursor = session.connection.cursor()
    session.sql("CREATE OR REPLACE TABLE LACKING (I INT, D DATE, TS TIMESTAMP, B BINARY, F FLOAT, T BOOLEAN)").collect()
    cursor.connection._paramstyle = "qmark"
    whole = (7, dt.date(2024, 1, 5), dt.datetime(2024, 1, 5, 1, 2, 3), b"zz", 1.5, True)
    cursor.executemany("INSERT INTO LACKING VALUES (?, ?, ?, ?, ?, ?)", [(None,) * 6, whole])
    assert [tuple(row) for row in cursor.execute("SELECT * FROM LACKING ORDER BY I").fetchall()] == [whole, (None,) * 6]


def test_a_bound_time_of_another_zone_is_refused(session):
    """A TIMESTAMP_NTZ column would keep its wall clock, which the engine does not know."""
    cursor = session.connection.cursor()
    cursor.connection._paramstyle = "qmark"
    east = dt.timezone(dt.timedelta(hours=2))
    with pytest.raises(ProgrammingError, match="does not support a bound timestamp of another zone than UTC"):
        cursor.execute("SELECT ?::TIMESTAMP_NTZ", [("TIMESTAMP_TZ", dt.datetime(2024, 1, 1, 5, tzinfo=east))])
    utc = dt.datetime(2024, 1, 1, 5, tzinfo=dt.UTC)
    cursor.execute("SELECT ?::TIMESTAMP_NTZ", [("TIMESTAMP_TZ", utc)])
    assert cursor.fetchall() == [(dt.datetime(2024, 1, 1, 5),)]


def test_a_schema_says_what_the_columns_were_declared_as(session):
    session.sql("CREATE TABLE SAID (S VARCHAR(5) NOT NULL, A ARRAY, O OBJECT, V VARIANT)").collect()
    said = session.table("SAID").schema
    assert [field.datatype for field in said] == [T.StringType(5), T.ArrayType(), T.MapType(), T.VariantType()]
    assert [field.nullable for field in said] == [False, True, True, True]
    upper = session.table("SAID").select(F.upper("S").alias("U")).schema
    assert (upper["U"].datatype, upper["U"].nullable) == (T.StringType(), True)
    filled = session.sql("SELECT X FROM (SELECT COALESCE(S, 'longer than five') AS X FROM SAID)").schema
    assert filled["X"].datatype == T.StringType(), "it may be longer than the column"
    padded = session.sql("SELECT R.S FROM SAID AS L LEFT JOIN SAID AS R ON L.V = R.V").schema
    assert padded["S"].nullable
    outer = session.table("SAID").join(session.table("SAID"), ["V"], "left", rsuffix="_R").schema
    assert outer["S_R"].nullable


def test_definitions_can_run_twice(query):
    create = """CREATE TABLE IF NOT EXISTS LOG (ID STRING NOT NULL COMMENT 'what', SCORE NUMBER(10, 4), NOTE VARIANT,
        AT TIMESTAMP_NTZ DEFAULT CURRENT_TIMESTAMP()::TIMESTAMP_NTZ, PRIMARY KEY (ID)) COMMENT = 'a log'"""
    for _ in range(2):
        query(create)
        query("ALTER TABLE LOG ADD COLUMN IF NOT EXISTS EXTRA STRING COMMENT 'more'")
    query("INSERT INTO LOG (ID, SCORE) SELECT 'a', 0.5")
    ((at, score),) = query("SELECT AT, SCORE FROM LOG")
    assert isinstance(at, dt.datetime)
    assert score == Decimal("0.5000")
    described = {row[0]: row[1] for row in query("DESCRIBE TABLE LOG")}
    assert described["SCORE"] == "NUMBER(10,4)"
    with pytest.raises(Exception, match="NULL result in a non-nullable column"):
        query("INSERT INTO LOG (SCORE) VALUES (1)")


def test_a_table_from_a_query_keeps_its_constraints(session, query):
    query("CREATE TABLE STRICT_ (A INT NOT NULL, B INT DEFAULT 7) AS SELECT 1, 2")
    with pytest.raises(IntegrityError, match="NULL result in a non-nullable column"):
        query("INSERT INTO STRICT_ (B) VALUES (1)")
    query("INSERT INTO STRICT_ (A) VALUES (3)")
    assert query("SELECT * FROM STRICT_ ORDER BY A") == [(1, 2), (3, 7)]
    for how in ("LIKE", "CLONE"):
        query(f"CREATE TABLE STRICT_{how} {how} STRICT_")
        assert query(f"DESCRIBE TABLE STRICT_{how}") == query("DESCRIBE TABLE STRICT_")
    with pytest.raises(IntegrityError, match="NULL result in a non-nullable column"):
        query("INSERT INTO STRICT_LIKE (B) VALUES (1)")


def test_a_column_that_is_added_keeps_its_constraints(session, query):
    query("CREATE TABLE GROWING (A INT) AS SELECT 1")
    query("ALTER TABLE GROWING ADD COLUMN B INT NOT NULL DEFAULT 5")
    assert query("SELECT * FROM GROWING") == [(1, 5)]
    with pytest.raises(IntegrityError, match="NULL result in a non-nullable column"):
        query("INSERT INTO GROWING VALUES (1, NULL)")


def test_timestamps_with_a_zone_go_in(session, query):
    frame = pd.DataFrame({"T": pd.to_datetime(["2024-01-02 03:04:05"]).tz_localize("UTC")})
    session.write_pandas(frame, "ZONED", auto_create_table=True, use_logical_type=True)
    assert query("SELECT T::TIMESTAMP_NTZ FROM ZONED") == [(dt.datetime(2024, 1, 2, 3, 4, 5),)]


def test_pandas_columns_may_lose_their_case(session, query):
    frame = pd.DataFrame({"a": [1], "b": ["x"]})
    session.write_pandas(frame, "UNQUOTED", auto_create_table=True, quote_identifiers=False)
    assert query("SELECT A, B FROM UNQUOTED") == [(1, "x")]


def test_a_view_reads_anew(query, people):
    query("CREATE OR REPLACE VIEW NAMED AS SELECT NAME, COUNT(*) AS N FROM PEOPLE GROUP BY NAME")
    query("INSERT INTO PEOPLE VALUES (4, 'x')")
    assert query("SELECT N FROM NAMED WHERE NAME = 'x'") == [(2,)]
    assert query("SHOW VIEWS")[0][1] == "NAMED"


def test_a_table_can_be_replaced_by_a_query_that_reads_it(query, people):
    query("CREATE OR REPLACE TABLE PEOPLE AS SELECT ID * 10 AS ID FROM PEOPLE")
    assert query("SELECT * FROM PEOPLE ORDER BY ID") == [(10,), (20,), (30,)]
    with pytest.raises(SnowparkSQLException, match="already exists"):
        query("CREATE OR REPLACE VIEW PEOPLE AS SELECT 1 AS A")


def test_a_table_can_be_given_a_comment(session, query, people):
    query("ALTER TABLE PEOPLE SET COMMENT = 'who'")
    assert session.sql("SHOW TABLES LIKE 'PEOPLE'").collect()[0]["comment"] == "who"


def test_a_table_says_of_what_kind_it_is(session, query):
    for kind in ("TRANSIENT", "TEMPORARY"):
        query(f"CREATE {kind} TABLE KIND_{kind} (A INT)")
    assert [(row["name"], row["kind"]) for row in session.sql("SHOW TABLES LIKE 'KIND_%'").collect()] == [
        ("KIND_TRANSIENT", "TRANSIENT"), ("KIND_TEMPORARY", "TEMPORARY"),
    ]  # fmt: skip


def test_a_temporary_table_hides_a_permanent_one_and_leaves_it(query, people):
    query("CREATE TEMPORARY TABLE PEOPLE AS SELECT 7 AS A")
    assert query("SELECT * FROM PEOPLE") == [(7,)]
    query("DROP TABLE PEOPLE")
    assert people.count() == 3


def test_account_objects_are_recorded_and_say_so(query):
    message = query("CREATE COMPUTE POOL IF NOT EXISTS P MIN_NODES = 1 MAX_NODES = 2 INSTANCE_FAMILY = CPU_X64_S")[0][0]
    assert "recorded, not executed" in message
    assert ("P", 2) in [(row["name"], row["max_nodes"]) for row in map(dict_row, query("SHOW COMPUTE POOLS LIKE 'P'"))]
    query("CREATE ROLE IF NOT EXISTS VIEWER")
    assert "recorded, not executed" in query("GRANT USAGE ON DATABASE TEST_TABLES TO ROLE VIEWER")[0][0]
    assert query("SHOW GRANTS TO ROLE VIEWER")[0][1:] == ("USAGE", "DATABASE", "TEST_TABLES", "VIEWER")
    query("DROP COMPUTE POOL P")


def dict_row(row):
    return {"name": row[0], "max_nodes": row[3]}


@pytest.mark.parametrize("sql", ["CREATE TABLE NOPE.T (A INT)", "SHOW TABLES IN SCHEMA NOPE"])
def test_an_unknown_schema_is_refused(query, sql):
    with pytest.raises(SnowparkSQLException, match="Schema 'TEST_TABLES.NOPE' does not exist or not authorized"):
        query(sql)


def test_grants_are_listed_one_by_one_and_go_with_what_they_were_granted_on(query):
    query("CREATE ROLE READER")
    query("CREATE ROLE ANALYST")
    query("CREATE COMPUTE POOL P MIN_NODES = 1 MAX_NODES = 1 INSTANCE_FAMILY = CPU_X64_XS")
    query("GRANT USAGE, MONITOR ON COMPUTE POOL P TO ROLE READER")
    query("GRANT EXECUTE TASK ON ACCOUNT TO ROLE READER")
    query("GRANT ROLE READER TO ROLE ANALYST")
    query('GRANT ROLE READER TO USER "j.doe"')
    query("GRANT OWNERSHIP ON DATABASE TEST_TABLES TO ROLE READER COPY CURRENT GRANTS")
    query("GRANT DATABASE ROLE SNOWFLAKE.PYPI_REPOSITORY_USER TO ROLE READER")
    shown = {row[1:4] for row in query("SHOW GRANTS TO ROLE READER")}
    assert shown == {
        ("USAGE", "COMPUTE_POOL", "P"),
        ("MONITOR", "COMPUTE_POOL", "P"),
        ("EXECUTE TASK", "ACCOUNT", "ACCOUNT"),
        ("OWNERSHIP", "DATABASE", "TEST_TABLES"),
        ("USAGE", "DATABASE_ROLE", "SNOWFLAKE.PYPI_REPOSITORY_USER"),
    }
    assert [row[1:] for row in query("SHOW GRANTS TO ROLE ANALYST")] == [("USAGE", "ROLE", "READER", "ANALYST")]
    assert query("SHOW GRANTS TO USER j.doe") == [] != query('SHOW GRANTS TO USER "j.doe"')
    query("REVOKE MONITOR ON COMPUTE POOL P FROM ROLE READER")
    query("DROP COMPUTE POOL P")
    assert not [row for row in query("SHOW GRANTS TO ROLE READER") if row[2] == "COMPUTE_POOL"]
    query("DROP ROLE READER")
    assert query("SHOW GRANTS TO ROLE READER") == query("SHOW GRANTS TO ROLE ANALYST") == []
    query("DROP ROLE ANALYST")


@pytest.mark.parametrize(
    ("made", "granted"),
    [
        ("VIEW SHARED {} AS SELECT 1 AS A", "VIEW TEST_TABLES.PUBLIC.SHARED"),
        ("TABLE SHARED (A INT) {}", "TABLE TEST_TABLES.PUBLIC.SHARED"),
        ("FUNCTION SHARED(A INT) {} RETURNS INT AS 'A'", "FUNCTION TEST_TABLES.PUBLIC.SHARED(INT)"),
        ("FUNCTION SHARED(A INT) {} RETURNS INT LANGUAGE PYTHON HANDLER = 'f' AS 'def f(a): return a'",
         "FUNCTION TEST_TABLES.PUBLIC.SHARED(INT)"),
    ],
)  # fmt: skip
def test_what_is_replaced_keeps_its_grants_only_with_copy_grants(query, made, granted):
    query(f"CREATE {made.format('')}")
    query(f"GRANT SELECT ON {granted} TO ROLE READER")
    query(f"CREATE OR REPLACE {made.format('COPY GRANTS')}")
    assert [row[1] for row in query("SHOW GRANTS TO ROLE READER")] == ["SELECT"]
    query(f"CREATE OR REPLACE {made.format('')}")
    assert query("SHOW GRANTS TO ROLE READER") == []
    query(f"GRANT SELECT ON {granted} TO ROLE READER")
    query(f"DROP {granted}")
    assert query("SHOW GRANTS TO ROLE READER") == []


def test_a_column_has_one_place(query):
    with pytest.raises(SnowparkSQLException, match="duplicate column name 'A'"):
        query("CREATE TABLE TWICE (A INT, B INT, a INT)")

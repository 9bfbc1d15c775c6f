"""Files on stages, through the connector's own PUT and GET."""

import datetime as dt
import io

import pandas as pd
import pytest
from snowflake.snowpark.exceptions import SnowparkSQLException


@pytest.fixture(scope="module")
def stage(session):
    session.sql(
        "CREATE STAGE S DIRECTORY = (ENABLE = TRUE) ENCRYPTION = (TYPE = 'SNOWFLAKE_SSE') COMMENT = 'x'"
    ).collect()
    return session


def names(rows):
    return sorted(row[0] for row in rows)


def test_many_files_go_up_in_one_put_and_come_back(stage, query, tmp_path):
    for i in range(300):
        (tmp_path / f"{i}.jpeg").write_bytes(b"%d" % i)
    done = stage.file.put(str(tmp_path / "*.jpeg"), "@S/many", auto_compress=False)
    assert len(done) == 300
    assert {result.status for result in done} == {"UPLOADED"}
    assert len(query("LIST @S/many")) == 300
    assert names(query(r"LIST @S PATTERN = 'many/29[.]jpeg'")) == ["s/many/29.jpeg"]
    stage.file.get("@S/many", str(tmp_path / "back"), pattern=".*/7[.]jpeg")
    assert [f.name for f in (tmp_path / "back").iterdir()] == ["7.jpeg"]
    assert (tmp_path / "back" / "7.jpeg").read_bytes() == b"7"


def test_a_stage_has_many_spellings(stage, query, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    stage.file.put(str(tmp_path / "a.txt"), '@"TEST_STAGES".PUBLIC.s/spelled', auto_compress=False)
    for spelled in ("@S", "@s", "@PUBLIC.S", "@TEST_STAGES.PUBLIC.S", '@"S"'):
        assert names(query(f"LIST {spelled}/spelled")) == ["s/spelled/a.txt"]


def test_a_staged_file_is_overwritten_only_when_asked(stage, tmp_path):
    for text, overwrite, expected in (("one", False, b"one"), ("two", False, b"one"), ("two", True, b"two")):
        (tmp_path / "o.txt").write_text(text)
        stage.file.put(str(tmp_path / "o.txt"), "@S/o", auto_compress=False, overwrite=overwrite)
        assert stage.file.get_stream("@S/o/o.txt").read() == expected


def test_streams_and_compression(stage, query):
    stage.file.put_stream(io.BytesIO(b"abc"), "@S/g/x.csv", auto_compress=True)
    assert names(query("LIST @S/g")) == ["s/g/x.csv.gz"]
    assert stage.file.get_stream("@S/g/x.csv.gz", decompress=True).read() == b"abc"


def test_the_directory_table_shows_the_last_refresh(stage, query):
    stage.file.put_stream(io.BytesIO(b"abc"), "@S/dir/x.bin", auto_compress=False)
    directory = "SELECT SIZE FROM DIRECTORY(@S) WHERE RELATIVE_PATH = 'dir/x.bin'"
    assert query(directory) == []
    assert ("dir/x.bin", "REGISTERED_NEW", "") in query("ALTER STAGE S REFRESH")
    assert query(directory) == [(3,)]
    assert query("REMOVE @S/dir") == [("s/dir/x.bin", "removed")]
    assert query(directory) == [(3,)], "as it was when it was refreshed"
    query("ALTER STAGE S REFRESH")
    assert query(directory) == []


def test_a_directory_table_must_be_enabled(query):
    query("CREATE STAGE PLAIN")
    with pytest.raises(SnowparkSQLException, match="Directory table is not enabled"):
        query("SELECT * FROM DIRECTORY(@PLAIN)")


@pytest.mark.parametrize("sql", ["LIST @NOPE", "REMOVE @NOPE/x", "ALTER STAGE NOPE REFRESH", "DROP STAGE NOPE"])
def test_an_unknown_stage_is_refused(query, sql):
    with pytest.raises(SnowparkSQLException, match="(?s)002003.*Stage 'TEST_STAGES.PUBLIC.NOPE' does not exist"):
        query(sql)


def test_a_path_cannot_leave_its_stage(stage, query):
    with pytest.raises(SnowparkSQLException, match="leaves the stage"):
        query("LIST @S/../../models")


def test_files_become_rows_and_rows_become_files(stage, query, tmp_path):
    pd.DataFrame({"A": [1, 2], "b": ["x", None]}).to_parquet(tmp_path / "p.parquet")
    stage.file.put(str(tmp_path / "p.parquet"), "@S/p", auto_compress=False)
    assert stage.read.parquet("@S/p/p.parquet").collect() == [(1, "x"), (2, None)]
    query("CREATE TABLE FROM_CSV (A INT, B STRING)")
    stage.file.put_stream(io.BytesIO(b"1,x\n2,\n"), "@S/c/c.csv", auto_compress=False)
    assert query("COPY INTO FROM_CSV FROM @S/c FILE_FORMAT = (TYPE = CSV)")[0][:4] == ("s/c/c.csv", "LOADED", 2, 2)
    assert query("SELECT * FROM FROM_CSV ORDER BY A") == [(1, "x"), (2, None)]
    stage.file.put_stream(io.BytesIO(b"9,z\n"), "@S/c/other.csv", auto_compress=False)
    doubled = "COPY INTO FROM_CSV FROM (SELECT $1::INT * 2, $2 FROM @S/c) FILE_FORMAT = (TYPE = CSV)"
    query(f"{doubled} PATTERN = '.*other[.]csv'")
    assert query("SELECT * FROM FROM_CSV WHERE A > 2") == [(18, "z")], "of the files that the pattern leaves"
    query("DELETE FROM FROM_CSV WHERE A > 2")
    query("COPY INTO @S/out/ FROM FROM_CSV FILE_FORMAT = (TYPE = PARQUET) HEADER = TRUE")
    assert stage.read.parquet("@S/out/").count() == 2


CSV = b"""id,name,v,d,b,t,f,z
1,"x, y",1.50,2024-01-02,true,2024-01-02 03:04:05,1e3,
22,b,-10,2024-02-03,FALSE,2024-01-02 03:04:05.5,2,
"""


def test_csv_files_with_a_header_are_copied_by_name(stage, query):
    stage.file.put_stream(io.BytesIO(CSV), "@S/inferred/a.csv", auto_compress=False)
    query("CREATE FILE FORMAT HEADED_CSV TYPE = CSV PARSE_HEADER = TRUE FIELD_OPTIONALLY_ENCLOSED_BY = '\"'")
    query("CREATE TABLE BY_NAME (Z STRING, V FLOAT, ID INT, NAME STRING)")
    by_name = "COPY INTO BY_NAME FROM @S/inferred FILE_FORMAT = HEADED_CSV MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
    assert query(by_name)[0][:3] == ("s/inferred/a.csv", "LOADED", 2)
    assert query("SELECT * FROM BY_NAME ORDER BY ID") == [(None, 1.5, 1, "x, y"), (None, -10.0, 22, "b")]


def test_text_that_is_copied_into_a_table_is_converted_as_a_cast_would(stage, query):
    query("CREATE TABLE CONVERTED (D DATE, B BINARY, T BOOLEAN, V VARIANT, S VARCHAR(3))")
    stage.file.put_stream(io.BytesIO(b"01/05/2024,4142,yes,5,abc\n"), "@S/converted/a.csv", auto_compress=False)
    query("COPY INTO CONVERTED FROM @S/converted")
    assert query("SELECT D, B::STRING, T, V, S FROM CONVERTED") == [(dt.date(2024, 1, 5), "4142", True, '"5"', "abc")]
    for line, words in (
        (b"2024/01/05,,,,", "Date '2024/01/05' is not"),
        (b",,,,abcd", "String 'abcd' is too long"),
        (b",,maybe,,", "Boolean"),
    ):
        stage.file.put_stream(io.BytesIO(line), "@S/converted/b.csv", auto_compress=False, overwrite=True)
        with pytest.raises(SnowparkSQLException, match=words):
            query("COPY INTO CONVERTED FROM @S/converted")


def test_a_table_loads_a_file_once(stage, query):
    query("CREATE TABLE ONCE (A INT)")
    copy, nothing = "COPY INTO ONCE FROM @S/once", [("Copy executed with 0 files processed.",)]

    def put(name: str, text: bytes) -> None:
        stage.file.put_stream(io.BytesIO(text), f"@S/once/{name}", auto_compress=False, overwrite=True)

    put("a.csv", b"1\n2\n")
    assert query(copy)[0][:4] == ("s/once/a.csv", "LOADED", 2, 2)
    assert query(copy) == nothing
    put("b.csv", b"3\n")
    assert [row[:4] for row in query(copy)] == [("s/once/b.csv", "LOADED", 1, 1)]
    put("b.csv", b"4\n")
    assert [row[0] for row in query(copy)] == ["s/once/b.csv"], "it is another file now"
    assert [row[3] for row in query(f"{copy} FORCE = TRUE")] == [2, 1]
    put("bb.csv", b"5\n")
    put("c.csv", b"x\n")
    with pytest.raises(SnowparkSQLException, match="Numeric value 'x' is not recognized"):
        query(copy)
    assert query("SELECT COUNT(*), SUM(A) FROM ONCE") == [(7, 17)], "a file that fails leaves nothing, nor those before"
    put("c.csv", b"9\n")
    assert [row[0] for row in query(copy)] == ["s/once/bb.csv", "s/once/c.csv"]
    query("TRUNCATE TABLE ONCE")
    assert [row[3] for row in query(copy)] == [2, 1, 1, 1]


@pytest.mark.parametrize(
    "options, expected",
    [
        ("", b"1,ann,1.5\n2,\\N,20\n"),
        ("NULL_IF = ('none') FIELD_DELIMITER = '|'", b"1|ann|1.5\n2|none|20\n"),
        ("FIELD_OPTIONALLY_ENCLOSED_BY = '\"'", b'1,"ann",1.5\n2,\\N,20\n'),
    ],
)
def test_unloaded_text_is_snowflakes(stage, query, options, expected):
    rows = "SELECT * FROM VALUES (1, 'ann', 1.5::FLOAT), (2, NULL, 20::FLOAT)"
    query(f"COPY INTO @S/text/ FROM ({rows}) FILE_FORMAT = (TYPE = CSV COMPRESSION = NONE {options}) OVERWRITE = TRUE")
    assert stage.file.get_stream("@S/text/data_0_0_0.csv").read() == expected


def test_an_unloaded_header_is_enclosed_like_the_text_below(stage, query):
    enclosed = "TYPE = CSV COMPRESSION = NONE FIELD_OPTIONALLY_ENCLOSED_BY = '\"'"
    rows = "SELECT 1 AS ID, 'ann' AS NAME"
    query(f"COPY INTO @S/headed/ FROM ({rows}) FILE_FORMAT = ({enclosed}) HEADER = TRUE")
    assert stage.file.get_stream("@S/headed/data_0_0_0.csv").read() == b'"ID","NAME"\n1,"ann"\n'


def test_unloaded_parquet_numbers_its_columns(stage, query):
    query("COPY INTO @S/numbered/ FROM (SELECT 1 AS A) FILE_FORMAT = (TYPE = PARQUET)")
    assert stage.read.parquet("@S/numbered/").columns == ["_COL_0"]


def test_a_stage_reads_with_the_format_that_it_was_given(stage, query):
    query("CREATE STAGE FORMATTED FILE_FORMAT = (TYPE = CSV SKIP_HEADER = 1)")
    stage.file.put_stream(io.BytesIO(b"id\n1\n"), "@FORMATTED/a.csv", auto_compress=False)
    assert query("SELECT $1 FROM @FORMATTED") == [("1",)]
    query("ALTER STAGE FORMATTED SET FILE_FORMAT = (TYPE = CSV)")
    assert query("SELECT $1 FROM @FORMATTED ORDER BY 1") == [("1",), ("id",)]
    query("CREATE FILE FORMAT HEADED TYPE = CSV SKIP_HEADER = 1")
    assert query("SELECT $1 FROM @FORMATTED (FILE_FORMAT => headed)") == [("1",)]


def test_the_files_to_copy_can_be_named(stage, query):
    for name in ("one.txt", "two.txt"):
        stage.file.put_stream(io.BytesIO(b"x"), f"@S/listed/{name}", auto_compress=False)
    assert names(query("COPY FILES INTO @S/picked FROM @S/listed/ FILES = ('two.txt')")) == ["picked/two.txt"]


@pytest.mark.parametrize(
    "sql, words",
    [
        ("COPY INTO @S/no/ FROM (SELECT 1) FILE_FORMAT = (TYPE = CSV COMPRESSION = BROTLI)", "COMPRESSION = BROTLI"),
        ("COPY INTO @S/no/ FROM (SELECT 1) FILE_FORMAT = (TYPE = CSV DATE_FORMAT = 'DD')", "DATE_FORMAT of CSV"),
        ("COPY INTO @S/no/ FROM (SELECT 'a,b') FILE_FORMAT = (TYPE = CSV)", "FIELD_OPTIONALLY_ENCLOSED_BY"),
        ("COPY INTO @S/no/ FROM (SELECT 1) FILE_FORMAT = (TYPE = JSON)", "does not support files of type JSON"),
        ("CREATE FILE FORMAT STRIPPED TYPE = JSON STRIP_NULL_VALUES = TRUE", "STRIP_NULL_VALUES of JSON"),
        ("SELECT $1::INT FROM @S/t.csv", "Numeric value 'x' is not recognized"),
        ("COPY FILES INTO @S/no/ FROM @S/ VALIDATE = TRUE", "VALIDATE"),
        ("PUT file:///tmp/x @S NO_SUCH = 1", "NO_SUCH"),
        ("GET @S file:///tmp/x NO_SUCH = 1", "NO_SUCH"),
        ("LIST @S PATTERN = '('", "invalid regular expression"),
        (
            "SELECT * FROM TABLE(INFER_SCHEMA(LOCATION => '@S/t.csv', FILE_FORMAT => 'PLAIN_CSV'))",
            "does not support INFER_SCHEMA of CSV files",
        ),
    ],
)
def test_what_a_file_command_cannot_do_is_refused_by_name(stage, query, sql, words):
    for name, text in (("t.json", b"{}"), ("t.csv", b"1\nx\n")):
        stage.file.put_stream(io.BytesIO(text), f"@S/{name}", auto_compress=False, overwrite=True)
    query("CREATE FILE FORMAT IF NOT EXISTS PLAIN_CSV TYPE = CSV")
    with pytest.raises(SnowparkSQLException, match=words):
        query(sql)


def test_files_are_copied_between_stages_under_the_names_that_a_query_gives(stage, query):
    for name in ("a b.txt", "c.txt"):
        stage.file.put_stream(io.BytesIO(name.encode()), f"@S/named/{name}", auto_compress=False)
    pairs = "SELECT '@S/named/a b.txt', 'x/one.txt' UNION ALL SELECT '@s/named/c.txt', 'two.txt'"
    assert names(query(f"COPY FILES INTO @S/new FROM ({pairs})")) == ["new/two.txt", "new/x/one.txt"]
    assert stage.file.get_stream("@S/new/x/one.txt").read() == b"a b.txt"
    with pytest.raises(SnowparkSQLException, match="nowhere"):
        query("COPY FILES INTO @S/new FROM (SELECT '@S/nowhere.txt')")


def test_an_array_in_a_json_file_is_one_value_unless_it_is_to_be_stripped(session, query, tmp_path):
    (tmp_path / "list.json").write_text('[{"a": 1}, {"a": 2}]')
    query("CREATE STAGE LISTS")
    query("CREATE FILE FORMAT STRIP TYPE = JSON STRIP_OUTER_ARRAY = TRUE")
    query("CREATE TABLE LISTED (V VARIANT)")
    session.file.put(str(tmp_path / "list.json"), "@LISTS", auto_compress=False)
    query("COPY INTO LISTED FROM @LISTS FILE_FORMAT = (TYPE = JSON)")
    assert query("SELECT ARRAY_SIZE(V) FROM LISTED") == [(2,)]
    query("COPY INTO LISTED FROM @LISTS FILE_FORMAT = STRIP FORCE = TRUE")
    assert query("SELECT V:a::INT FROM LISTED WHERE IS_OBJECT(V) ORDER BY 1") == [(1,), (2,)]

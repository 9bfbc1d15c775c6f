"""Files on stages, through the connector's own PUT and GET."""

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
    assert query("COPY INTO FROM_CSV FROM @S/c FILE_FORMAT = (TYPE = CSV)")[0][1:4] == ("LOADED", 2, 2)
    assert query("SELECT * FROM FROM_CSV ORDER BY A") == [(1, "x"), (2, None)]
    stage.file.put_stream(io.BytesIO(b"9,z\n"), "@S/c/other.csv", auto_compress=False)
    doubled = "COPY INTO FROM_CSV FROM (SELECT $1::INT * 2, $2 FROM @S/c) FILE_FORMAT = (TYPE = CSV)"
    query(f"{doubled} PATTERN = '.*other[.]csv'")
    assert query("SELECT * FROM FROM_CSV WHERE A > 2") == [(18, "z")], "of the files that the pattern leaves"
    query("DELETE FROM FROM_CSV WHERE A > 2")
    query("COPY INTO @S/out/ FROM FROM_CSV FILE_FORMAT = (TYPE = PARQUET) HEADER = TRUE")
    assert stage.read.parquet("@S/out/").count() == 2


def test_files_are_copied_between_stages_under_the_names_that_a_query_gives(stage, query):
    for name in ("a b.txt", "c.txt"):
        stage.file.put_stream(io.BytesIO(name.encode()), f"@S/named/{name}", auto_compress=False)
    pairs = "SELECT '@S/named/a b.txt', 'x/one.txt' UNION ALL SELECT '@s/named/c.txt', 'two.txt'"
    assert names(query(f"COPY FILES INTO @S/new FROM ({pairs})")) == ["new/two.txt", "new/x/one.txt"]
    assert stage.file.get_stream("@S/new/x/one.txt").read() == b"a b.txt"
    with pytest.raises(SnowparkSQLException, match="nowhere"):
        query("COPY FILES INTO @S/new FROM (SELECT '@S/nowhere.txt')")

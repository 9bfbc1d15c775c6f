"""The database is lost, moved away or behind: the files of stages and models stay."""

import shutil
import time

from tests.local_account.conftest import kill, local_account, open_session, start


def fill(root, tmp_path):
    session = open_session(start(root))
    session.sql("CREATE DATABASE D").collect()
    session.sql("CREATE STAGE S").collect()
    (tmp_path / "precious.bin").write_bytes(b"x" * 1_000_000)
    session.file.put(str(tmp_path / "precious.bin"), "@S", auto_compress=False)
    session.close()
    assert local_account("stop", root).returncode == 0


def precious(root):
    return [file for file in root.rglob("precious.bin") if file.stat().st_size == 1_000_000]


def test_without_the_database_nothing_starts_and_nothing_is_removed(root, tmp_path):
    fill(root, tmp_path)
    shutil.move(root / "account.duckdb", tmp_path / "kept.duckdb")
    done = local_account("start", root)
    assert done.returncode == 1
    assert "account.duckdb" in done.stderr and "put it back" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert len(precious(root)) == 1
    shutil.move(tmp_path / "kept.duckdb", root / "account.duckdb")
    session = open_session(start(root), database="D", schema="PUBLIC")
    assert len(session.sql("LIST @S").collect()) == 1
    session.close()


def test_with_an_empty_database_nothing_starts_and_nothing_is_removed(root, tmp_path):
    fill(root, tmp_path)
    other = tmp_path / "other"
    start(other)
    local_account("stop", other)
    shutil.copy(other / "account.duckdb", root / "account.duckdb")
    assert local_account("start", root).returncode == 1
    assert len(precious(root)) == 1


def test_what_an_older_database_does_not_know_goes_aside(root, tmp_path):
    """As after a restore from a backup, or without the write-ahead log."""
    session = open_session(start(root))
    session.sql("CREATE DATABASE D").collect()
    session.sql("CREATE STAGE OLD").collect()
    session.file.put(__file__, "@OLD")
    session.close()
    local_account("stop", root)
    shutil.copy(root / "account.duckdb", tmp_path / "backup.duckdb")
    again = open_session(start(root), database="D", schema="PUBLIC")
    again.sql("CREATE STAGE S").collect()
    (tmp_path / "precious.bin").write_bytes(b"x" * 1_000_000)
    again.file.put(str(tmp_path / "precious.bin"), "@S", auto_compress=False)
    again.close()
    local_account("stop", root)
    shutil.copy(tmp_path / "backup.duckdb", root / "account.duckdb")
    start(root)
    (kept,) = precious(root)
    assert kept.relative_to(root).parts[0] == "orphans"
    assert "orphans" in (root / "server.log").read_text()


def test_a_temporary_stage_of_a_killed_server_is_removed(root, tmp_path):
    account = start(root)
    session = open_session(account)
    session.sql("CREATE DATABASE D").collect()
    session.sql("CREATE TEMPORARY STAGE S").collect()
    (tmp_path / "precious.bin").write_bytes(b"x" * 1_000_000)
    session.file.put(str(tmp_path / "precious.bin"), "@S", auto_compress=False)
    assert len(precious(root)) == 1
    kill(account["pid"])
    start(root)
    session.connection.close()
    assert precious(root) == []


def test_the_log_of_writes_stays_small(root):
    session = open_session(start(root))
    session.sql("CREATE DATABASE D").collect()
    session.sql("CREATE TABLE T (S STRING)").collect()
    session.sql("INSERT INTO T SELECT REPEAT('x', 1000) FROM TABLE(GENERATOR(ROWCOUNT => 3000))").collect()
    log, until = root / "account.duckdb.wal", time.monotonic() + 20
    while log.exists() and log.stat().st_size > 100_000 and time.monotonic() < until:
        time.sleep(0.2)
    assert not log.exists() or log.stat().st_size < 100_000
    session.close()

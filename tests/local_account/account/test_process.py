"""One server for a folder, whatever happens to it."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import snowflake.connector
from tests.local_account.conftest import kill, local_account, open_session, start


def test_two_starters_get_one_server(root):
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(start, [root, root])
    assert first == second
    assert psutil.pid_exists(first["pid"])


def test_data_survive_kill_9(root):
    before = start(root)
    session = open_session(before)
    session.sql("CREATE DATABASE D").collect()
    session.sql("CREATE TABLE T AS SELECT 1 AS A").collect()
    session.sql("BEGIN").collect()
    session.sql("INSERT INTO T VALUES (2)").collect()
    kill(before["pid"])
    after = start(root)
    again = open_session(after, database="D", schema="PUBLIC")
    assert again.table("T").collect() == [(1,)], "what was committed is there, what was not is not"
    again.close()
    session.connection.close()  # left open, the connector would try to close it at exit, for minutes


def test_no_worker_outlives_a_killed_server(root):
    account = start(root)
    session = open_session(account)
    session.sql("CREATE DATABASE D").collect()
    session.sql("CREATE FUNCTION F(X INT) RETURNS INT LANGUAGE PYTHON HANDLER = 'f' AS 'f = abs'").collect()
    assert session.sql("SELECT F(-1)").collect() == [(1,)]
    workers = psutil.Process(account["pid"]).children(recursive=True)
    assert workers
    kill(account["pid"])
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    start(root)
    session.connection.close()


def test_a_wrong_token_is_refused(account):
    with pytest.raises(snowflake.connector.errors.DatabaseError, match="Incorrect username or password"):
        open_session({**account, "password": "guess"})


def test_secrets_are_readable_by_their_owner_alone(account):
    for name in ("server.json", "connections.toml"):
        assert (account["root"] / name).stat().st_mode & 0o777 == 0o600


def test_a_folder_of_another_version_is_refused(root):
    start(root)
    local_account("stop", root)
    (root / "VERSION").write_text("0")
    done = local_account("start", root)
    assert done.returncode == 1
    assert "made by version 0" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_from_before_there_was_a_version_file_says_it_in_server_json(root):
    start(root)
    local_account("stop", root)
    (root / "VERSION").unlink()
    for version, code in (("0", 1), ("1", 0)):
        (root / "server.json").write_text(json.dumps({"version": version, "port": 1, "token": "old", "pid": None}))
        assert local_account("start", root).returncode == code


def test_a_folder_that_cannot_be_had_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    done = local_account("start", tmp_path / "file" / "account")
    assert done.returncode == 1
    assert "cannot be used" in done.stderr


def test_an_idle_server_stops(root):
    info = start(root, "--idle-seconds", "1")
    psutil.Process(info["pid"]).wait(timeout=20)
    assert local_account("status", root).returncode == 1


def test_connections_toml_is_enough_for_the_cli(account):
    environment = {**os.environ, "SNOWFLAKE_HOME": str(account["root"])}
    command = [sys.executable, "-c", "import snowflake.connector as c; print(c.connect(connection_name='local').user)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "LOCAL_USER", done.stderr

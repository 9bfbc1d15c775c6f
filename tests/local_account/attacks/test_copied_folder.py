"""A folder that was copied, replaced or moved is never served by the server of another folder."""

import shutil

import psutil
import pytest
from snowflake.snowpark.exceptions import SnowparkSQLException
from tests.local_account.conftest import local_account, open_session, start


@pytest.fixture
def root(tmp_path):
    yield tmp_path / "a"
    for name in "ab":
        local_account("stop", tmp_path / name)


def filled(root):
    session = open_session(start(root))
    session.sql("CREATE DATABASE D").collect()
    session.sql("CREATE TABLE T AS SELECT 1 AS A").collect()
    return session


def test_a_copy_has_a_server_of_its_own(root):
    session, other = filled(root), root.with_name("b")
    shutil.copytree(root, other)
    copied = open_session(start(other))
    copied.sql("DROP DATABASE IF EXISTS D").collect()
    copied.close()
    assert session.table("T").collect() == [(1,)]
    session.close()
    assert local_account("status", root).stdout != local_account("status", other).stdout


@pytest.mark.parametrize("how", ["removed", "emptied", "moved", "replaced"])
def test_a_server_whose_folder_is_gone_acknowledges_nothing_and_ends(root, how):
    session = filled(root)
    pid = start(root)["pid"]
    if how == "removed":
        shutil.rmtree(root)
    elif how == "emptied":
        for entry in root.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    elif how == "moved":
        root.rename(root.with_name("b"))
    else:
        root.rename(root.with_name("b"))
        shutil.copytree(root.with_name("b"), root)
    with pytest.raises(SnowparkSQLException, match="390111|folder"):
        session.sql("INSERT INTO T VALUES (2)").collect()
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)
    assert not psutil.pid_exists(pid)
    session.connection.close()
    again = open_session(start(root))
    again.sql("CREATE DATABASE E").collect()
    again.close()


def test_an_account_that_was_moved_is_whole_at_its_new_place(root):
    session, other = filled(root), root.with_name("b")
    root.rename(other)
    moved = open_session(start(other), database="D", schema="PUBLIC")
    assert moved.table("T").collect() == [(1,)]
    moved.close()
    session.connection.close()


def test_two_names_of_one_folder_have_one_server(root, tmp_path):
    account = start(root)
    (tmp_path / "link").symlink_to(root)
    assert start(tmp_path / "link") == account

"""Another user of the machine takes the port of an account's server, or of a service, and waits for its clients."""

import contextlib
import json
import signal
import socket
import stat
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
import snowflake.connector
from tests.local_account.conftest import kill, local_account, open_session, start


class Impostor(ThreadingHTTPServer):
    """Answers every request as the server would, and keeps what it was sent."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self, port: int, answers: dict):
        self.heard: list[bytes] = []
        impostor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                impostor.heard.append(f"{self.path} {self.headers}".encode() + body)
                answer = json.dumps(answers.get(self.path.partition("?")[0], {"success": False})).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def ask(account: dict, path: str) -> dict:
    with urllib.request.urlopen(f"http://{account['host']}:{account['port']}{path}", timeout=10) as response:
        return json.load(response)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_client_sends_an_impostor_nothing(root, how):
    before = start(root)
    known = {"/health": ask(before, "/health")}  # what any user of the machine may ask
    kill(before["pid"], how)
    with Impostor(before["port"], known) as impostor:
        after = start(root)
        assert after["port"] != before["port"], "it went to the impostor"
        with contextlib.suppress(snowflake.connector.Error):
            open_session(after).close()
        assert before["password"] != after["password"]
        heard = b"".join(impostor.heard)
        assert before["password"].encode() not in heard and after["password"].encode() not in heard


def test_health_names_no_process(account):
    assert str(account["pid"]) not in json.dumps(ask(account, "/health"))


def test_a_password_that_an_impostor_was_sent_opens_nothing(root):
    """A client that reads connections.toml by itself logs in to whoever has the port."""
    before = start(root)
    kill(before["pid"])
    after = start(root)
    with pytest.raises(snowflake.connector.DatabaseError, match="Incorrect username or password"):
        open_session({**after, "password": before["password"]})


def test_who_knows_the_password_cannot_pass_for_the_server(root):
    """The proof needs a key that no client ever sends."""
    account = start(root)
    written = json.loads((root / "server.json").read_text())
    assert written["key"] not in json.dumps(account)
    assert written["key"] not in (root / "connections.toml").read_text()
    kill(account["pid"])
    proof = {"proof": "0" * 64, "pid": account["pid"]}
    with Impostor(account["port"], {"/proof": proof, "/health": proof}):
        assert local_account("status", root).returncode == 1


def test_an_answer_that_never_ends_does_not_hold_up_a_start(root):
    account = start(root)
    kill(account["pid"])
    with socket.create_server(("127.0.0.1", account["port"])):  # accepts, and says nothing
        assert start(root)["port"] != account["port"]


@pytest.mark.parametrize("how", ["SIGTERM", "stop", "idle"])
def test_a_clean_end_leaves_no_secret_and_no_log_to_replay(root, how):
    account = start(root, *(["--idle-seconds", "3"] if how == "idle" else []))
    session = open_session(account)
    session.sql("CREATE DATABASE D").collect()
    session.sql("CREATE TABLE T AS SELECT 1 AS A").collect()
    session.sql("BEGIN").collect()
    session.sql("INSERT INTO T VALUES (2)").collect()
    if how == "SIGTERM":
        kill(account["pid"], signal.SIGTERM)
    elif how == "stop":
        assert local_account("stop", root).returncode == 0
    else:
        psutil.Process(account["pid"]).wait(timeout=30)
    session.connection.close()
    for file in root.iterdir():
        assert not file.is_file() or account["password"].encode() not in file.read_bytes(), file.name
    assert not (root / "account.duckdb.wal").exists()
    again = open_session(start(root), database="D", schema="PUBLIC")
    assert again.table("T").collect() == [(1,)]
    again.close()


def test_a_running_statement_does_not_hold_up_the_end(root):
    account = start(root)
    # Closing the session must not wait for its query: the server ends first.
    cursor = open_session(account, server_session_keep_alive=True).connection.cursor()
    numbers = "(SELECT SEQ4() AS X FROM TABLE(GENERATOR(ROWCOUNT => 300000)))"
    cursor.execute_async(f"SELECT COUNT(A.X * B.X % 7) FROM {numbers} A, {numbers} B")
    kill(account["pid"], signal.SIGTERM)  # within 20 seconds
    assert not (root / "connections.toml").exists()


def test_everything_in_the_folder_is_private(root):
    account = start(root)
    session = open_session(account)
    session.sql("CREATE DATABASE D").collect()
    session.sql("CREATE STAGE S").collect()
    session.file.put(__file__, "@S", auto_compress=False)
    session.close()
    open_ = [file for file in [root, *root.rglob("*")] if stat.S_IMODE(file.lstat().st_mode) & 0o077]
    assert open_ == []


def test_a_server_file_that_others_could_write_is_not_believed(root):
    account = start(root)
    (root / "server.json").chmod(0o666)
    assert local_account("status", root).returncode == 1
    (root / "server.json").chmod(0o600)
    assert start(root) == account


@pytest.mark.parametrize("text", [b"\xff\xfe\x00", b"[]", b"5", b"{", b"{}", b"", b'{"version": 5, "port": "x"}'])
def test_a_server_file_that_is_no_description_is_replaced(root, text):
    root.mkdir()
    (root / "server.json").write_bytes(text)
    (root / "server.json").chmod(0o600)
    open_session(start(root)).close()

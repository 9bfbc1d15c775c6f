"""Whoever can reach the port, without a token: large, endless and half-sent requests."""

import contextlib
import gzip
import json
import resource
import socket
import threading
import time
import urllib.error
import urllib.request

import psutil
import pytest
from tests.local_account.conftest import local_account, open_session, start

PATIENCE = 4.0  # seconds that the server waits for the rest of a request; ten by default
LOGIN = b"POST /session/v1/login-request HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("flooded")
    (root / "limits.json").write_text(json.dumps({"patience": PATIENCE}))
    yield {**start(root), "root": root}
    local_account("stop", root)


def memory(server: dict) -> int:
    return psutil.Process(server["pid"]).memory_info().rss >> 20


def login_seconds(server: dict) -> float:
    begin = time.monotonic()
    open_session(server, login_timeout="30").close()
    return time.monotonic() - begin


def connect(server: dict) -> socket.socket:
    return socket.create_connection((server["host"], server["port"]), timeout=20)


class Peak:
    """The most memory that the server had meanwhile, above what it had before, in MB."""

    def __init__(self, server: dict):
        self.server, self.over = server, threading.Event()

    def __enter__(self):
        self.before = self.most = memory(self.server)
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.over.wait(0.01):
            self.most = max(self.most, memory(self.server))

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.grown = self.most - self.before


def test_a_small_body_that_inflates_to_much(server):
    body = gzip.compress(b" " * (1 << 30), compresslevel=9)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    url = f"http://{server['host']}:{server['port']}/session/v1/login-request"
    with Peak(server) as peak, contextlib.suppress(urllib.error.URLError, OSError):
        urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60).close()
    assert len(body) < 1 << 20 | 1 << 18
    assert peak.grown < 50


def test_a_body_of_chunks_that_never_ends(server):
    piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with Peak(server) as peak, connect(server) as attacker, contextlib.suppress(OSError):
        attacker.sendall(LOGIN + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(600):
            attacker.sendall(piece)
    assert peak.grown < 50


@pytest.mark.parametrize("length", [b"-1", b"x", b"99999999999999999999", b"1e3"])
def test_a_length_that_is_none(server, length):
    with connect(server) as attacker:
        attacker.sendall(LOGIN + b"Content-Length: " + length + b"\r\n\r\n{}")
        assert attacker.recv(100).split(b" ")[1] in (b"400", b"413")


DEEP = b"[" * 30_000


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'{"data": 5}', b"\xff", DEEP, b'{"data": {"PASSWORD": []}}',
                                  b'{"data": {"PASSWORD": "\\ud800"}}', b"NaN"])  # fmt: skip
def test_a_login_that_is_none_is_refused_in_words(server, body):
    with connect(server) as attacker:
        attacker.sendall(LOGIN + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        answer = b"".join(iter(lambda: attacker.recv(65536), b""))
    head, _, text = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] in (b"200", b"400"), head
    assert json.loads(text)["success"] is False


HALVES = {
    "nothing": b"",
    "half a header": LOGIN,
    "half a body": LOGIN + b"Content-Length: 1000\r\n\r\n{",
    "half a chunk": LOGIN + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
}


@pytest.mark.parametrize("half", HALVES)
def test_requests_that_are_never_finished_stop_no_login(server, half):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    log = server["root"] / "server.log"
    before, attackers = log.stat().st_size, []
    try:
        for _ in range(1200):
            attackers.append(connect(server))
            with contextlib.suppress(OSError):
                attackers[-1].sendall(HALVES[half])
        times = [login_seconds(server) for _ in range(3)]
        assert max(times) < 5, times
        process = psutil.Process(server["pid"])
        assert len(process.net_connections()) < 700
        until = time.monotonic() + 5 * PATIENCE  # before the limit of slow bodies would cut them off
        while len(process.net_connections()) > 20 and time.monotonic() < until:
            time.sleep(0.1)
        assert len(process.net_connections()) <= 20, "they are cut off after a while"
        assert log.stat().st_size - before < 100_000
    finally:
        for attacker in attackers:
            attacker.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_body_that_arrives_as_it_should_is_not_cut_off(server):
    with connect(server) as slow:
        body = b'{"data": {"PASSWORD": "guess"}}'
        slow.sendall(LOGIN + b"Content-Length: %d\r\n\r\n" % len(body))
        time.sleep(0.75 * PATIENCE)
        slow.sendall(body)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            answer += slow.recv(10_000)
        assert b"Incorrect username" in answer


def test_slow_statements_of_one_client_delay_no_login_of_another(server):
    # Closing these sessions must not wait for their queries: the server is killed in the end.
    cursors = [open_session(server, server_session_keep_alive=True).connection.cursor() for _ in range(6)]
    slow = "SELECT COUNT(*) FROM TABLE(GENERATOR(ROWCOUNT => 200000)) A, TABLE(GENERATOR(ROWCOUNT => 200000)) B"
    try:
        for number in range(48):
            cursor = cursors[number % 6].connection.cursor()
            cursor.execute_async(slow)
            path = f"/queries/{cursor.sfqid}/result"
            ask = cursor.connection.rest.request
            threading.Thread(target=ask, args=(path, None, "get"), daemon=True).start()
        time.sleep(1)
        assert login_seconds(server) < 10
    finally:
        psutil.Process(server["pid"]).kill()


def test_the_log_rotates(tmp_path):
    root = tmp_path / "account"
    account = start(root)
    try:
        with open(root / "server.log", "ab") as log:
            log.write(b"x\n" * (6 << 20))
        until = time.monotonic() + 15
        while (root / "server.log").stat().st_size > 5 << 20 and time.monotonic() < until:
            time.sleep(0.2)
        assert (root / "server.log").stat().st_size < 5 << 20
        assert sum(file.stat().st_size for file in root.glob("server.log*")) < 20 << 20
        open_session(account).close()
    finally:
        local_account("stop", root)

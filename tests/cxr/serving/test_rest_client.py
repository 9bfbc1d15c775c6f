"""The REST client against a real HTTP server that misbehaves on purpose."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import httpx
import pandas as pd
import pytest

from cxr.earlier_versions import read_answer, read_answers
from cxr.serving import rest_client


@pytest.fixture
def service():
    """A service that answers with as many rows as it got.

    `refusals` lists the codes that it sends first, 0 for a connection that breaks, and `waits` its Retry-After.
    """
    seen = {"refusals": [], "waits": [], "sizes": [], "thresholds": [], "tokens": []}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen["tokens"].append(self.headers["Authorization"])
            if seen["refusals"]:
                if code := seen["refusals"].pop(0):
                    self.send_response(code)
                    if seen["waits"]:
                        self.send_header("Retry-After", seen["waits"].pop(0))
                    self.end_headers()
                return
            split = body["dataframe_split"]
            seen["sizes"].append(len(split["data"]))
            seen["thresholds"].append(body.get("params", {}).get("threshold"))
            answers = [[i, {"P_POSITIVE": i / 100, "LABEL": "NORMAL", "STATUS": "ok"}] for i in split["index"]]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": answers[::-1]}).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield seen, f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_large_requests_are_split_and_results_keep_their_order(service):
    seen, address = service
    answers = rest_client.ServiceClient(address, "secret").predict([b"x"] * 150, threshold=0.25)
    assert sorted(seen["sizes"], reverse=True) == [32, 32, 32, 32, 22] and seen["thresholds"] == [0.25] * 5
    assert answers["P_POSITIVE"].tolist()[30:34] == [0.30, 0.31, 0.0, 0.01]
    assert list(answers) == rest_client.ANSWER and answers["TRIAGE"].isna().all(), "this version knows no triage"
    assert set(seen["tokens"]) == {'Snowflake Token="secret"'}


def test_calls_are_limited_in_bytes_and_skip_files_above_the_models_limit(monkeypatch):
    monkeypatch.setattr(rest_client, "BYTES_PER_CALL", 10)
    monkeypatch.setattr(rest_client, "MAX_BYTES", 20)
    files = [bytes(size) for size in (4, 4, 4, 21, 4, 4, 20, 1)]
    assert list(rest_client.parts_of(files)) == [[0, 1], [2, 4], [5], [6], [7]]


def test_https_is_used_for_every_host_but_this_machine():
    for address, url in (
        ("abc-org.snowflakecomputing.app", "https://abc-org.snowflakecomputing.app"),
        ("localhost.example.org", "https://localhost.example.org"),
        ("127.0.0.1:9", "http://127.0.0.1:9"),
    ):
        assert str(rest_client.ServiceClient(address, "secret")._client.base_url).rstrip("/") == url


@pytest.mark.parametrize("code", [429, 503, 504, 0])
def test_a_busy_service_is_retried(service, monkeypatch, code):
    monkeypatch.setattr(rest_client, "_BACK_OFF", lambda state: 0.01)
    seen, address = service
    seen["refusals"] = [code, code]
    assert len(rest_client.ServiceClient(address, "secret").predict([b"x"])) == 1


def test_the_retry_after_header_is_respected_up_to_a_limit(service, monkeypatch):
    seen, address = service
    seen["refusals"], seen["waits"] = [429, 503], ["7", "7200"]
    pauses = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=pauses.append))  # other threads may sleep too
    rest_client.ServiceClient(address, "secret").predict([b"x"])
    assert pauses == [7, 30]


@pytest.mark.parametrize("code", [400, 401, 413])
def test_a_rejected_call_is_not_retried(service, code):
    seen, address = service
    seen["refusals"] = [code] * 9
    with pytest.raises(httpx.HTTPStatusError):
        rest_client.ServiceClient(address, "secret").predict([b"x"])
    assert len(seen["refusals"]) == 8


def test_a_dead_service_fails_after_the_last_attempt():
    with pytest.raises(httpx.ConnectError):
        rest_client.ServiceClient("127.0.0.1:9", "secret", attempts=2).predict([b"x"])


def test_an_answer_of_a_version_of_before_triage_has_a_null_one():
    old = {"P_POSITIVE": 0.3, "LABEL": "NORMAL", "STATUS": "ok", "PROBABILITIES": "{}"}
    assert read_answer(old) == old | {"TRIAGE": None}
    assert read_answer({"P_PNEUMONIA": None, "STATUS": "empty"})["TRIAGE"] is None
    assert read_answers(pd.DataFrame([old]))[rest_client.ANSWER]["TRIAGE"].isna().all()
    assert read_answers(pd.DataFrame([old | {"TRIAGE": "rule_out"}]))["TRIAGE"].tolist() == ["rule_out"]

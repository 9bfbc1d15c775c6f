"""The release is fetched from a server on loopback that breaks off, redirects, moves away, and sends other things."""

import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from tests.pictures import encoded

from cxr.data import kermany
from cxr.data.download import NotFetched
from cxr.data.sources import open_local
from cxr.settings import load

NAMES = [
    "chest_xray/train/NORMAL/NORMAL-28501-0001.jpeg",
    "chest_xray/train/PNEUMONIA/BACTERIA-30629-0001.jpeg",
    "chest_xray/test/NORMAL/NORMAL-11419-0001.jpeg",
    "chest_xray/test/PNEUMONIA/VIRUS-1083680-0001.jpeg",
]


def make_zip() -> bytes:
    file, rng = io.BytesIO(), np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("__MACOSX/train/NORMAL/._NORMAL-28501-0001.jpeg", b"x" * 80)
        for name in NAMES:
            archive.writestr(name, encoded(rng.integers(0, 255, (64, 64), dtype=np.uint8), "JPEG"))
    return file.getvalue()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """`answers` are what the next requests meet; then the file is sent. `ranges` are what was asked for."""
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            web.ranges.append(self.headers.get("Range"))
            answer = web.answers.pop(0) if web.answers else "send"
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/file")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if isinstance(answer, int):
                self.send_error(answer)
                return
            start = int(self.headers["Range"][6:-1]) if "Range" in self.headers and "no ranges" not in answer else 0
            body = web.data[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(web.data) - 1}/{len(web.data)}")
            self.end_headers()
            self.wfile.write(body[:700] if "break" in answer else body)
            self.close_connection = True

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.data, web.answers, web.ranges = make_zip(), [], []
    web.address = f"http://127.0.0.1:{web.server_port}/moved"
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield web
    web.shutdown()


def fetch(server, said: list | None = None, **changes):
    known = {"kermany_bytes": len(server.data), "kermany_sha256": hashlib.sha256(server.data).hexdigest()}
    settings = load(argv=[], environ={}, kermany_address=server.address, **known | changes)
    return kermany.fetch_release(settings, say=(said if said is not None else []).append, wait=0.01)


def test_it_is_cited_fetched_through_a_redirect_and_kept(server, tmp_path):
    said = []
    release = fetch(server, said)
    assert "Kermany" in said[0] and kermany.DOI in said[0] and "CC BY 4.0" in said[0]
    assert server.address in said[1] and f"{len(server.data):,} bytes" in said[1], "all of it before the download"
    assert list(open_local(release.train).names()) == [name.split("train/")[1] for name in NAMES[:2]]
    assert list(open_local(release.test).names()) == [name.split("test/")[1] for name in NAMES[2:]]
    assert open_local(release.test).read("NORMAL/NORMAL-11419-0001.jpeg")[:2] == b"\xff\xd8"
    file = tmp_path / "cache" / "downloads" / "ChestXRay2017.zip"
    assert file.stat().st_mode & 0o777 == 0o600 and not file.with_name(f"{file.name}.part").exists()
    requests = len(server.ranges)
    assert fetch(server) == release and len(server.ranges) == requests, "a second call asks nobody"


def test_what_breaks_off_is_gone_on_from(server):
    server.answers = ["send", "break", "send", 503, "send", "break", "send", "break"]  # every other one is a redirect
    fetch(server)
    starts = [int(asked[6:-1]) for asked in server.ranges[::2] if asked]
    assert starts == sorted(starts) and starts[0] == 700 and starts[-1] > starts[0]


def test_what_a_killed_run_left_is_gone_on_from_or_begun_anew(server, tmp_path):
    part = tmp_path / "cache" / "downloads" / "ChestXRay2017.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(server.data[:1000])
    fetch(server)
    assert server.ranges[-1] == "bytes=1000-"
    part.with_suffix("").unlink()
    part.write_bytes(b"x" * 1000)
    server.answers = ["send", "no ranges, break"]
    fetch(server)


@pytest.mark.parametrize("code", [404, 403, 410])
def test_an_address_that_has_moved_says_what_to_do_at_once(server, tmp_path, code):
    server.answers = ["send", code]
    with pytest.raises(NotFetched, match=rf"(?s)answers {code}.*{kermany.PAGE}.*Save it as .*ChestXRay2017.zip"):
        fetch(server)
    assert len(server.ranges) == 2, "it is not asked again"
    file = tmp_path / "cache" / "downloads" / "ChestXRay2017.zip"
    file.write_bytes(server.data)
    assert fetch(server), "a file that was put there by hand is taken"
    file.write_bytes(server.data[:-1])
    with pytest.raises(NotFetched, match="not whole"):
        fetch(server)


def test_without_a_way_out_the_message_is_the_same(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(NotFetched, match=r"(?s)ConnectError.*by hand"):
        fetch(server)


def test_another_file_is_never_taken(server, tmp_path):
    with pytest.raises(NotFetched, match="SHA-256"):
        fetch(server, kermany_sha256="0" * 64)
    assert not list((tmp_path / "cache" / "downloads").iterdir()), "and nothing of it is gone on from"
    with pytest.raises(NotFetched, match=r"bytes instead of"):
        fetch(server, kermany_bytes=len(server.data) + 1)
    with pytest.raises(FileNotFoundError, match="holds no folder"):
        (tmp_path / "a.zip").write_bytes(server.data)
        open_local(tmp_path / "a.zip" / "valid")


def test_a_run_on_it_ingests_the_training_folder_and_names_the_licence(server, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "ci"))
    import notebooks

    for name, value in (("ADDRESS", server.address), ("BYTES", len(server.data))):
        monkeypatch.setenv(f"CXR_KERMANY_{name}", str(value))
    monkeypatch.setenv("CXR_KERMANY_SHA256", hashlib.sha256(server.data).hexdigest())
    monkeypatch.setenv("CXR_DATA_LICENCE", "")
    place = notebooks._find(kermany.NAME)
    assert place.endswith("ChestXRay2017.zip/chest_xray/train")
    assert load(argv=[]).data_licence == "CC BY 4.0 (Kermany et al. 2018, DOI 10.17632/rscbjbr9sj.2)"
    monkeypatch.setenv("CXR_DATA_LICENCE", "ours")
    notebooks._find(kermany.NAME)
    assert load(argv=[]).data_licence == "ours"

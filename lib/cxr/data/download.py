"""Download one large file over HTTP: an interrupted download is resumed, and the file is checked before it is used."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import httpx
import tenacity

from cxr.progress import tqdm

ATTEMPTS = 5  # one after another that bring nothing


class NotFetched(RuntimeError):
    """The file cannot be downloaded, or is a different file. The message says why in one sentence."""


class _BrokenOff(Exception):
    """Worth another attempt."""


def download(address: str, target: Path, size: int, sha256: str, wait: float = 1.0) -> Path:
    """Download to `target`. An incomplete download is kept in `target.part`, and the next attempt or call continues it.

    Args:
        size, sha256: of the whole file, in bytes and hexadecimal digits.
        wait: seconds before the second attempt; each further one waits twice as long, up to half a minute.

    Raises:
        NotFetched: the server refuses, sends another file, or cannot be reached; or `target` is another file.
        OSError: it cannot be written.
    """
    if target.exists():
        _check(target, size, sha256)
        return target
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_name(f"{target.name}.part")
    if (missing := size - _size(part)) > (free := shutil.disk_usage(target.parent).free):
        raise NotFetched(f"{missing / 2**20:,.0f} MB are needed, and {target.parent} has room for {free / 2**20:,.0f}")
    with tqdm(total=size, initial=_size(part), unit="B", unit_scale=True, desc=target.name) as bar:
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((httpx.TransportError, _BrokenOff)),
            wait=tenacity.wait_exponential(multiplier=wait, max=30),
            stop=_StopWithoutProgress(part),
            reraise=True,
        )
        try:
            attempts(_fetch, address, part, size, bar)
        except (httpx.HTTPError, httpx.InvalidURL, _BrokenOff) as error:
            raise NotFetched(f"{type(error).__name__.strip('_')}: {error}") from None
    try:
        _check(part, size, sha256)
    except NotFetched:
        part.unlink()  # going on from it would never end well
        raise
    part.replace(target)
    return target


class _StopWithoutProgress(tenacity.stop.stop_base):
    """Ends after so many attempts that brought nothing: a large file over a poor line may break off often."""

    def __init__(self, part: Path):
        self.part, self.before, self.failures = part, _size(part), 0

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        now = _size(self.part)
        self.failures = self.failures + 1 if now <= self.before else 0
        self.before = now
        return self.failures >= ATTEMPTS


def _fetch(address: str, part: Path, size: int, bar) -> None:
    """Append to the part what it lacks."""
    have = _size(part)
    if have >= size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with httpx.stream("GET", address, headers=headers, follow_redirects=True, timeout=30) as answer:
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            raise _BrokenOff(f"the server answers {answer.status_code}")
        if answer.status_code == 416:
            part.unlink()
            raise _BrokenOff("the server has less than what was fetched before")
        if answer.status_code not in (200, 206):
            raise NotFetched(f"the server answers {answer.status_code} {answer.reason_phrase}")
        start, whole = _place(answer)
        if whole not in (None, size):
            raise NotFetched(f"the server sends a file of {whole:,} bytes instead of {size:,}")
        if start not in (0, have):
            raise NotFetched("the server sends another part of the file than it was asked for")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "r+b") as file:
            file.truncate(start)
            file.seek(start)
            bar.update(start - have)
            for chunk in answer.iter_raw():  # as they come: what arrived before a break is kept
                if start + len(chunk) > size:
                    raise NotFetched(f"the server sends more than {size:,} bytes")
                start += file.write(chunk)
                bar.update(len(chunk))
    if start < size:
        raise _BrokenOff(f"the server ended after {start:,} of {size:,} bytes")


def _place(answer: httpx.Response) -> tuple[int, int | None]:
    """(where in the file the answer begins, the size of the file, where the server says it)."""
    if answer.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if not found:
            raise NotFetched("the server sends a part of the file and does not say which")
        return int(found[1]), int(found[2]) if found[2] != "*" else None
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check(path: Path, size: int, sha256: str) -> None:
    if _size(path) != size:
        raise NotFetched(f"{path} has {_size(path):,} bytes instead of {size:,}: it is another file, or not whole")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise NotFetched(f"{path} has SHA-256 {found} instead of {sha256}: it is another file, or damaged")

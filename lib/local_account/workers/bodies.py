"""Bodies of requests: limited while they arrive, before anything is inflated or parsed."""

import json
import zlib

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

AT_ONCE = 1 << 20  # larger ones are parsed on a thread


class BadBody(Exception):
    """Why a body is refused: the status of the answer, and words for the caller."""

    def __init__(self, status: int, words: str):
        super().__init__(words)
        self.status, self.words = status, words


async def read_raw(request: Request, limit: int) -> bytes:
    """The body as the client meant it, unzipped if it was zipped. Neither form may have more bytes than the limit."""
    inflate = None
    if request.headers.get("content-encoding", "").lower() == "gzip":
        inflate = zlib.decompressobj(wbits=31)
    parts: list[bytes] = []
    arrived = size = 0
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal():
        demand_size(int(announced[:20]), limit)
    async for part in request.stream():
        arrived += len(part)
        demand_size(arrived, limit)
        if inflate:
            try:
                part = inflate.decompress(part, limit - size + 1)
            except zlib.error as error:
                raise BadBody(400, f"The body is not gzip: {error}.") from error
        size += len(part)
        demand_size(size, limit)
        parts.append(part)
    if inflate and arrived and (not inflate.eof or inflate.unused_data):
        raise BadBody(400, "The body is not one whole gzip stream.")
    return b"".join(parts)


def demand_size(size: int, limit: int) -> None:
    if size > limit:
        amount = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
        raise BadBody(413, f"The body is larger than {amount}.")


def parse(raw: bytes) -> object:
    """JSON as its standard has it: without NaN, and not nested without end."""
    try:
        return json.loads(raw, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadBody(400, f"The body is no JSON: {error}") from error


def refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number in JSON")


async def read_json(request: Request, limit: int) -> dict:
    """A JSON object; an empty one without a body."""
    raw = await read_raw(request, limit)
    body = await run_in_threadpool(parse, raw) if len(raw) > AT_ONCE else parse(raw or b"{}")
    if not isinstance(body, dict):
        raise BadBody(400, "The body must be a JSON object.")
    return body

"""REST client of a model service, for programs outside Snowflake. Needs httpx and pandas, but no Snowflake package."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pandas as pd
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from cxr.earlier_versions import read_answer
from cxr.model.limits import MAX_BYTES

ROWS_PER_CALL = 32
BYTES_PER_CALL = 16 * 2**20  # of image files; base64 adds a third
ANSWER = ["P_POSITIVE", "LABEL", "STATUS", "PROBABILITIES", "TRIAGE"]
_RETRIED = (429, 503, 504)
_BACK_OFF = wait_exponential_jitter(multiplier=0.2, max=10)
_TOO_LARGE = {"STATUS": f"too_large: more than {MAX_BYTES // 2**20} MB; not sent"}


class ServiceClient:
    """A client of the model service with batches, parallel calls, timeouts, and retries with exponential backoff.

    It retries after status 429, 503 and 504 and after connection errors. A repeated call is harmless, because the model
    stores nothing.

    Args:
        endpoint: ingress address of the service, as in `ModelVersion.list_services()`.
        token: a programmatic access token.
        timeout: of one call, in seconds.
        attempts: per call. The default bridges about a minute without the service.
        at_once: number of parallel calls.
    """

    def __init__(self, endpoint: str, token: str, timeout: float = 60.0, attempts: int = 12, at_once: int = 2):
        scheme = "http" if endpoint.split(":")[0] in ("127.0.0.1", "localhost") else "https"
        base = endpoint if "://" in endpoint else f"{scheme}://{endpoint}"
        headers = {"Authorization": f'Snowflake Token="{token}"'}
        self._client = httpx.Client(base_url=base, headers=headers, timeout=timeout)
        self._attempts, self._at_once = attempts, at_once

    def predict(self, files: list[bytes], threshold: float | None = None) -> pd.DataFrame:
        """P_POSITIVE, LABEL, STATUS, PROBABILITIES and TRIAGE of each file, in the order of `files`.

        A file above the size limit is not sent; its STATUS begins with `too_large`.

        Raises:
            httpx.HTTPStatusError: a call was rejected (400: invalid threshold; 401: invalid token; ...).
            httpx.TransportError: the service was not reached in any attempt.
        """
        answers: list[dict] = [_TOO_LARGE] * len(files)
        parts = list(parts_of(files))
        with ThreadPoolExecutor(self._at_once) as pool:
            calls = pool.map(lambda part: self.ask("predict", [files[i] for i in part], threshold), parts)
            for part, rows in zip(parts, calls, strict=True):
                for position, row in zip(part, rows, strict=True):
                    answers[position] = row
        return pd.DataFrame(answers, columns=ANSWER)

    def ask(self, method: str, files: list[bytes], threshold: float | None = None) -> list[dict]:
        """Call `method` (predict or explain) once. Returns a dict of its outputs for each file. Raises as `predict`."""
        texts = [[base64.b64encode(data).decode()] for data in files]
        body: dict = {"dataframe_split": {"index": list(range(len(files))), "columns": ["IMAGE"], "data": texts}}
        if threshold is not None:
            body["params"] = {"threshold": threshold}
        for attempt in Retrying(
            retry=retry_if_exception(_is_temporary),
            wait=_wait_seconds,
            stop=stop_after_attempt(self._attempts),
            reraise=True,
        ):
            with attempt:
                answer = self._client.post(f"/{method}", json=body)
                answer.raise_for_status()
        return [read_answer(row) for _, row in sorted(answer.json()["data"], key=lambda pair: pair[0])]

    def close(self) -> None:
        self._client.close()


def parts_of(files: list[bytes]) -> Iterator[list[int]]:
    """Indices of the files of each call. A file above the size limit of the model is in no call."""
    part, weight = [], 0
    for position, data in enumerate(files):
        if len(data) > MAX_BYTES:
            continue
        if part and (len(part) == ROWS_PER_CALL or weight + len(data) > BYTES_PER_CALL):
            yield part
            part, weight = [], 0
        part.append(position)
        weight += len(data)
    if part:
        yield part


def _is_temporary(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _RETRIED
    return isinstance(error, httpx.TransportError)


def _wait_seconds(state: RetryCallState) -> float:
    """The seconds of the Retry-After header, at most 30; without it, exponential backoff."""
    error = state.outcome.exception()
    if isinstance(error, httpx.HTTPStatusError):
        wanted = error.response.headers.get("Retry-After", "")
        if wanted.isdigit():
            return min(float(wanted), 30.0)
    return _BACK_OFF(state)

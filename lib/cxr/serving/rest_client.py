"""Ask a model service over REST, as a program outside Snowflake does. Needs httpx and pandas, nothing of Snowflake."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pandas as pd
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from cxr.earlier_versions import read_answer
from cxr.model.limits import MAX_BYTES

ROWS_PER_CALL = 32
BYTES_PER_CALL = 16 * 2**20  # of images; base64 makes a third more of it
ANSWER = ["P_POSITIVE", "LABEL", "STATUS", "PROBABILITIES"]
_RETRIED = (429, 503, 504)
_BACK_OFF = wait_exponential_jitter(multiplier=0.2, max=10)
_TOO_LARGE = {"STATUS": f"too_large: more than {MAX_BYTES // 2**20} MB; not sent"}


class ServiceClient:
    """A small client of the model service: batches, several calls at once, time-outs, retries with growing pauses.

    Retried are 429, 503, 504 and connections that fail; asking twice is harmless, for the model keeps nothing.

    Args:
        endpoint: the service's ingress address, as `ModelVersion.list_services()` shows it.
        token: a programmatic access token.
        timeout: seconds for one call.
        attempts: of one call; with the default a service may be away for about a minute.
        at_once: calls in flight.
    """

    def __init__(self, endpoint: str, token: str, timeout: float = 60.0, attempts: int = 12, at_once: int = 2):
        scheme = "http" if endpoint.split(":")[0] in ("127.0.0.1", "localhost") else "https"
        base = endpoint if "://" in endpoint else f"{scheme}://{endpoint}"
        headers = {"Authorization": f'Snowflake Token="{token}"'}
        self._client = httpx.Client(base_url=base, headers=headers, timeout=timeout)
        self._attempts, self._at_once = attempts, at_once

    def predict(self, files: list[bytes], threshold: float | None = None) -> pd.DataFrame:
        """P_POSITIVE, LABEL, STATUS and PROBABILITIES of each file, in the order given.

        Raises:
            httpx.HTTPStatusError: a call was refused (400: the threshold is no number, 401: the token, 413, ...).
            httpx.TransportError: the service could not be reached in all attempts.
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
        """One call; a dict of the method's outputs for each file. Raises as :meth:`predict`."""
        texts = [[base64.b64encode(data).decode()] for data in files]
        body: dict = {"dataframe_split": {"index": list(range(len(files))), "columns": ["IMAGE"], "data": texts}}
        if threshold is not None:
            body["params"] = {"threshold": threshold}
        for attempt in Retrying(
            retry=retry_if_exception(_worth_retrying),
            wait=_pause,
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
    """Positions of files that travel in one call; a file larger than any image that is read stands in none."""
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


def _worth_retrying(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _RETRIED
    return isinstance(error, httpx.TransportError)


def _pause(state: RetryCallState) -> float:
    """As long as the service asks for, or a growing time."""
    error = state.outcome.exception()
    if isinstance(error, httpx.HTTPStatusError):
        wanted = error.response.headers.get("Retry-After", "")
        if wanted.isdigit():
            return min(float(wanted), 30.0)
    return _BACK_OFF(state)

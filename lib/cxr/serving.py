"""Ask the registered model: on a warehouse, through its service, over REST; and keep the answers.

Holds no torch, so that the app can import it.
"""

import base64
import json
import os
import time
from collections.abc import Iterator

import httpx
import pandas as pd
from snowflake.ml.model import ModelVersion
from snowflake.ml.registry import Registry
from snowflake.snowpark import Session
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from cxr.session import SERVICE_TOKEN
from cxr.settings import Settings
from cxr.tables import append

ROWS_PER_CALL = 64
_RETRIED = (429, 503, 504)


def open_registry(session: Session, settings: Settings) -> Registry:
    return Registry(session, database_name=settings.database, schema_name=settings.schema)


def find_version(registry: Registry, model_name: str, version_name: str | None = None) -> ModelVersion | None:
    """A version of the model, the default one without a name; None where there is none."""
    models = registry.show_models()
    if models.empty or model_name.upper() not in set(models["name"]):
        return None
    model = registry.get_model(model_name)
    if version_name is None:
        return model.default
    return model.version(version_name) if version_name in set(model.show_versions()["name"]) else None


def encode(files: list[bytes]) -> pd.DataFrame:
    """The model's input: one column IMAGE of base64 text."""
    return pd.DataFrame({"IMAGE": [base64.b64encode(data).decode() for data in files]})


def ensure_service(version: ModelVersion, settings: Settings) -> str:
    """The service's full name; it is created when this version has none of that name. Waits until it runs."""
    name = settings.qualified(settings.service_name)
    services = version.list_services()
    if services.empty or name not in set(services["name"]):
        version.create_service(
            service_name=name,
            service_compute_pool=settings.service_pool,
            ingress_enabled=True,
            min_instances=1,
            max_instances=1,
        )
    return name


def score(
    version: ModelVersion, files: list[bytes], service: str | None = None, rows_per_call: int = ROWS_PER_CALL
) -> pd.DataFrame:
    """P_PNEUMONIA, LABEL and STATUS of each image, on a warehouse or through a service, in the order given."""
    parts = [files[start : start + rows_per_call] for start in range(0, len(files), rows_per_call)]
    answers = [version.run(encode(part), function_name="predict", service_name=service) for part in parts]
    return pd.concat(answers, ignore_index=True)[["P_PNEUMONIA", "LABEL", "STATUS"]]


def connect_client(session: Session, service: str) -> "ServiceClient":
    """A REST client of a running service, with the token in `CXR_SERVICE_TOKEN` (a programmatic access token).

    Raises:
        LookupError: there is no public endpoint, or no token; says what to do.
    """
    endpoints = session.sql(f"SHOW ENDPOINTS IN SERVICE {service}").collect()
    addresses = [row["ingress_url"] for row in endpoints if row["ingress_url"]]
    if not addresses:
        raise LookupError(f"{service} has no public endpoint: create it with ingress_enabled=True")
    if not os.environ.get(SERVICE_TOKEN):
        raise LookupError(f"no token: put a programmatic access token into the environment variable {SERVICE_TOKEN}")
    return ServiceClient(addresses[0], os.environ[SERVICE_TOKEN])


def explain(session: Session, version: ModelVersion, data: bytes, service: str | None = None) -> dict:
    """P_PNEUMONIA, LABEL, STATUS and HEATMAP of one image, in one statement.

    Three times as fast as `ModelVersion.run`, which uploads a table and asks the model twice.
    """
    asked = service or f"MODEL({version.fully_qualified_model_name}, {version.version_name})"
    answer = session.sql(f"SELECT {asked}!EXPLAIN(?)", params=[base64.b64encode(data).decode()]).collect()
    return json.loads(answer[0][0])


class ServiceClient:
    """A small REST client of the model service: retries 429, 503 and 504 with growing pauses, times out, batches.

    Args:
        endpoint: the service's ingress address, as `ModelVersion.list_services()` shows it.
        token: a programmatic access token.
    """

    def __init__(self, endpoint: str, token: str, timeout: float = 60.0, attempts: int = 6):
        scheme = "http" if endpoint.split(":")[0] in ("127.0.0.1", "localhost") else "https"
        base = endpoint if "://" in endpoint else f"{scheme}://{endpoint}"
        self._client = httpx.Client(
            base_url=base, headers={"Authorization": f'Snowflake Token="{token}"'}, timeout=timeout
        )
        self._attempts = attempts

    def predict(self, files: list[bytes], threshold: float | None = None) -> pd.DataFrame:
        """As :func:`score`. Raises httpx.HTTPStatusError for a refused request, httpx.TransportError when all fail."""
        answers = [row for part in self._parts(files) for row in self._call("predict", part, threshold)]
        return pd.DataFrame(answers)[["P_PNEUMONIA", "LABEL", "STATUS"]]

    def _parts(self, files: list[bytes]) -> Iterator[list[bytes]]:
        for start in range(0, len(files), ROWS_PER_CALL):
            yield files[start : start + ROWS_PER_CALL]

    def _call(self, method: str, files: list[bytes], threshold: float | None) -> list[dict]:
        body = {"dataframe_split": {"index": list(range(len(files))), **encode(files).to_dict("split")}}
        if threshold is not None:
            body["params"] = {"threshold": threshold}
        for attempt in Retrying(
            retry=retry_if_exception(_worth_retrying),
            wait=wait_exponential_jitter(multiplier=0.2, max=10),
            stop=stop_after_attempt(self._attempts),
            reraise=True,
        ):
            with attempt:
                answer = self._client.post(f"/{method}", json=body)
                answer.raise_for_status()
        return [row for _, row in sorted(answer.json()["data"], key=lambda pair: pair[0])]


def _worth_retrying(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _RETRIED
    return isinstance(error, httpx.TransportError)


def write_predictions(
    session: Session, settings: Settings, image_ids: list[str], answers: pd.DataFrame, version: str, path: str
) -> None:
    """Append the answers to the predictions table; what stands there stays.

    Args:
        version: the model version's name.
        path: how the model was asked: WAREHOUSE, SERVICE or REST.
    """
    rows = answers.assign(
        IMAGE_ID=image_ids,
        MODEL_NAME=settings.model_name,
        MODEL_VERSION=version,
        PATH_TAKEN=path,
        SCORED_AT=pd.Timestamp.now("UTC").tz_localize(None),
    )
    append(session, settings.qualified(settings.predictions_table), rows)


def timed(function, *arguments) -> tuple[pd.DataFrame, float]:
    """What the call gives, and the seconds it took."""
    start = time.perf_counter()
    answer = function(*arguments)
    return answer, time.perf_counter() - start

"""What the app reads from the account. It caches only what is the same for every viewer."""

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st
from snowflake.ml.model import ModelVersion
from snowflake.snowpark import Session

from cxr.account import staged_images
from cxr.account.project import Project
from cxr.account.session import use_schema
from cxr.data.catalog import label_set as catalog_label_set
from cxr.data.in_account.handlers import is_named_by_content
from cxr.model.labelset import LabelSet
from cxr.serving import scoring
from cxr.settings import Settings, load

MOST_VERSIONS = 20
CHECKED_EVERY = 60  # seconds; a session is checked before its next use after that
_PRODUCTION = '"PRODUCTION"'  # as show_versions writes the alias of cxr.lifecycle.promotion, which needs torch
# Of Snowflake and of the connector: the session, its token or its login has ended, or the connection was closed.
_ENDED = (390104, 390110, 390111, 390112, 390113, 390114, 390115, 390195, 390303, 390318, 250002)
_CATALOG_COLUMNS = (
    "IMAGE_ID, RELATIVE_PATH, LABEL, CAUSE, PATIENT_ID, SPLIT, WIDTH, HEIGHT, FORMAT, VIEW_POSITION, SEX, AGE_BAND, "
    "SET_ASIDE, BURNED_IN"
)


class NotReady(LookupError):
    """Something does not exist yet; the message says what to do."""


@dataclass(frozen=True)
class Version:
    """A version of the registered model, and what the registry says of it."""

    name: str
    asked: ModelVersion
    default: bool
    production: bool
    created: pd.Timestamp
    comment: str
    metrics: dict[str, float]
    threshold: float


@dataclass
class _Opened:
    session: Session
    checked: float  # time.monotonic()


def settings() -> Settings:
    return load(argv=[])  # the process's arguments are Streamlit's


@st.cache_resource(show_spinner=False)
def _opened() -> _Opened:
    """One session for all viewers: Streamlit's connection is shared, and each call would open another session on it."""
    return _Opened(st.connection("snowflake").session(), time.monotonic())


@st.cache_resource(show_spinner=False)
def _lock() -> threading.Lock:
    return threading.Lock()


def session() -> Session:
    return _opened().session


def ready_session() -> Session:
    """The session, in the project's schema. Raises NotReady if there is no such schema."""
    found = session()
    if not found.get_current_schema() and not use_schema(found, settings()):
        raise NotReady(
            f"There is no schema {settings().database}.{settings().schema} yet, or this app may not use it. "
            "Run `notebooks/01_setup.ipynb`."
        )
    return found


def project() -> Project:
    """The session and the names of this project's objects. Raises NotReady where there is no schema."""
    return Project(ready_session(), settings())


def has_ended(error: BaseException | None) -> bool:
    """Whether this error says that the session has ended, so that a new one can be opened."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:  # the registry's client wraps what it is told
        chain.append(error)
        error = error.__cause__ or error.__context__
    codes = (getattr(each, name, None) for each in chain for name in ("sql_error_code", "errno"))
    return any(code in _ENDED for code in codes)


def keep_session(every: float = CHECKED_EVERY) -> None:
    """Open another session if the present one no longer answers. Checks at most once in `every` seconds.

    What viewers have cached stays, except for the model's versions, which hold the session.
    """
    if time.monotonic() - _opened().checked < every:
        return
    with _lock():
        held = _opened()
        if time.monotonic() - held.checked < every:
            return  # another viewer was faster
        try:
            held.session.sql("SELECT 1").collect()
            held.checked = time.monotonic()
        except Exception:  # noqa: BLE001 - whatever ails it, a new one shows whether the account answers
            st.connection("snowflake").reset()
            _opened.clear()
            versions.clear()


@st.cache_resource(ttl=60, show_spinner=False)
def versions() -> dict[str, Version]:
    """The newest versions by name, and always those in production and by default. Raises NotReady if there is none."""
    name = settings().model_name
    registry = scoring.open_registry(project())
    if scoring.find_version(registry, name) is None:
        raise NotReady(
            "No model is registered yet. Run `notebooks/03_train.ipynb`, then `notebooks/04_register.ipynb`."
        )
    model = registry.get_model(name)
    table = model.show_versions().sort_values("created_on", ascending=False)
    rows = [row for _, row in table.iterrows()]
    wanted = [row for place, row in enumerate(rows) if place < MOST_VERSIONS or _is_default(row) or _in_production(row)]
    return {row["name"]: _version(model, row) for row in wanted}


def _version(model, row: pd.Series) -> Version:
    asked = model.version(row["name"])
    predict = next(function for function in asked.show_functions() if function["name"] == "PREDICT")
    (threshold,) = [p.default_value for p in predict["signature"].params if p.name == "threshold"]
    return Version(
        name=row["name"],
        asked=asked,
        default=_is_default(row),
        production=_in_production(row),
        created=pd.Timestamp(row["created_on"]),
        comment=row["comment"] or "",
        metrics=json.loads(row["metadata"] or "{}").get("metrics", {}),
        threshold=float(threshold),
    )


def _is_default(row: pd.Series) -> bool:
    return str(row["is_default_version"]).lower() == "true"


def _in_production(row: pd.Series) -> bool:
    return _PRODUCTION in str(row["aliases"]).upper()


@st.cache_data(ttl=10, show_spinner=False)
def services(version_name: str) -> list[dict[str, str]]:
    """Name and status of the services that run a version."""
    found = versions()[version_name].asked.list_services()
    return [] if found.empty else found[["name", "status"]].to_dict("records")


@st.cache_data(ttl=60, show_spinner=False)
def catalog() -> pd.DataFrame:
    """The catalog without source names, which may hold a person's. Raises NotReady where it is empty.

    It includes images without a label, and images that are set aside.
    """
    # A label without a split: an ingest that has not ended, or an image that is set aside.
    there = "VANISHED_AT IS NULL AND (SPLIT IS NOT NULL OR LABEL IS NULL OR SET_ASIDE IS NOT NULL)"
    query = f"SELECT {_CATALOG_COLUMNS} FROM {project().catalog} WHERE {there} ORDER BY IMAGE_ID"
    rows = ready_session().sql(query).to_pandas()
    if rows.empty:
        raise NotReady("The catalog has no image yet. Run `notebooks/02_data_ingest.ipynb`.")
    return rows.assign(BURNED_IN=rows["BURNED_IN"].map(lambda said: said is True))


def catalog_or_empty() -> pd.DataFrame:
    """The catalog; empty instead of NotReady, for pages that work without it."""
    try:
        return catalog()
    except NotReady:
        return pd.DataFrame(columns=_CATALOG_COLUMNS.split(", "))


@st.cache_data(ttl=60, show_spinner=False)
def label_set() -> LabelSet | None:
    """The catalog's classes; None where no image has a label."""
    return catalog_label_set(project())


def read_staged(places: list[str]) -> list[bytes | None]:
    """The files at these places of the images stage, as :func:`cataloged` gives them. Raises as :func:`staged`."""
    with staged(places) as files:
        return [cataloged(file) for file in files]


@contextlib.contextmanager
def staged(places: list[str]) -> Iterator[list[Path]]:
    """Copies of the files at these places of the images stage, on disk until the block ends; fetched folder by folder.

    Raises NotReady where one is missing.
    """
    names = [Path(place).name for place in places]
    with tempfile.TemporaryDirectory(prefix="cxr-app-") as folder:
        staged_images.fetch(ready_session(), settings().images, places, folder)
        there = {path.name: path for path in Path(folder).rglob("*")}
        missing = [name for name in names if name not in there]
        if missing:
            raise NotReady(
                f"{len(missing)} of {len(names)} images are in the catalog but not on the stage. "
                "Run `notebooks/02_data_ingest.ipynb` again."
            )
        yield [there[name] for name in names]


def cataloged(file: Path) -> bytes | None:
    """What a staged file holds; None if that is not what its name stands for.

    Another image's answer must not stand under the id of the image that the file was.
    """
    data = file.read_bytes()
    return data if is_named_by_content(file.stem, data) else None

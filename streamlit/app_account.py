"""Everything that the app reads from the account. Only data that all viewers may see is cached here."""

import io
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st
from snowflake.ml.model import ModelVersion
from snowflake.snowpark import Session
from snowflake.snowpark.exceptions import SnowparkClientException

from cxr.account.project import Project
from cxr.account.session import use_schema
from cxr.data.checking import STAGE_FOLDER
from cxr.earlier_versions import read_evaluation
from cxr.serving import scoring
from cxr.settings import Settings, load

MOST_VERSIONS = 20
_CATALOG_COLUMNS = (
    "IMAGE_ID, RELATIVE_PATH, LABEL, CAUSE, PATIENT_ID, SPLIT, WIDTH, HEIGHT, FORMAT, VIEW_POSITION, SEX, AGE_BAND"
)


class NotReady(LookupError):
    """Something does not exist yet; the message tells the viewer what to do."""


@dataclass(frozen=True)
class Version:
    """A version of the registered model, with its metadata from the registry."""

    name: str
    asked: ModelVersion
    default: bool
    created: pd.Timestamp
    comment: str
    metrics: dict[str, float]
    threshold: float


def settings() -> Settings:
    return load(argv=[])  # the command-line arguments belong to Streamlit


@st.cache_resource(show_spinner=False)
def session() -> Session:
    """One session for all viewers: Streamlit shares the connection, and each call would open another session on it."""
    return st.connection("snowflake").session()


def ready_session() -> Session:
    """The session, using the project's schema. Raises NotReady if there is no such schema."""
    found = session()
    if not found.get_current_schema() and not use_schema(found, settings()):
        raise NotReady(
            f"The schema {settings().database}.{settings().schema} does not exist, or this app cannot access it. "
            "Run `notebooks/01_setup.ipynb`."
        )
    return found


def project() -> Project:
    """The session and the names of this project's objects. Raises NotReady if there is no schema."""
    return Project(ready_session(), settings())


def reconnect() -> None:
    """Close the session and clear all caches; the next use opens a new session."""
    st.connection("snowflake").reset()
    st.cache_resource.clear()
    st.cache_data.clear()


@st.cache_resource(ttl=60, show_spinner=False)
def versions() -> dict[str, Version]:
    """The model's versions by name, newest first. Raises NotReady if there is none."""
    name = settings().model_name
    registry = scoring.open_registry(project())
    if scoring.find_version(registry, name) is None:
        raise NotReady(
            "No model is registered yet. Run `notebooks/03_train.ipynb`, then `notebooks/04_register.ipynb`."
        )
    model = registry.get_model(name)
    table = model.show_versions().sort_values("created_on", ascending=False).head(MOST_VERSIONS)
    return {row["name"]: _version(model.version(row["name"]), row) for _, row in table.iterrows()}


def _version(asked: ModelVersion, row: pd.Series) -> Version:
    predict = next(function for function in asked.show_functions() if function["name"] == "PREDICT")
    (threshold,) = [p.default_value for p in predict["signature"].params if p.name == "threshold"]
    return Version(
        name=row["name"],
        asked=asked,
        default=str(row["is_default_version"]).lower() == "true",
        created=pd.Timestamp(row["created_on"]),
        comment=row["comment"] or "",
        metrics=json.loads(row["metadata"] or "{}").get("metrics", {}),
        threshold=float(threshold),
    )


@st.cache_data(ttl=10, show_spinner=False)
def services(version_name: str) -> list[dict[str, str]]:
    """Name and status of the services that run a version."""
    found = versions()[version_name].asked.list_services()
    return [] if found.empty else found[["name", "status"]].to_dict("records")


@st.cache_data(ttl=60, show_spinner=False)
def catalog() -> pd.DataFrame:
    """The catalog without SOURCE_NAME, which may contain a person's name. Raises NotReady if the catalog is empty."""
    table = settings().qualified(settings().catalog_table)
    there = "SPLIT IS NOT NULL AND VANISHED_AT IS NULL"  # as in cxr.data.catalog.read_catalog
    rows = ready_session().sql(f"SELECT {_CATALOG_COLUMNS} FROM {table} WHERE {there} ORDER BY IMAGE_ID").to_pandas()
    if rows.empty:
        raise NotReady("The catalog has no images yet. Run `notebooks/02_data_ingest.ipynb`.")
    return rows


def catalog_or_empty() -> pd.DataFrame:
    """The catalog, or an empty table with its columns, for pages that also work without it."""
    try:
        return catalog()
    except NotReady:
        return pd.DataFrame(columns=_CATALOG_COLUMNS.split(", "))


def read_staged(places: list[str]) -> list[bytes]:
    """Files of the images stage, by their paths, fetched in one transfer. Raises NotReady if one is missing."""
    names = [Path(place).name for place in places]
    with tempfile.TemporaryDirectory(prefix="cxr-app-") as folder:
        # Every character but letters and digits becomes `.` (any character), so the pattern needs no escaping.
        pattern = f".*({'|'.join(re.sub('[^0-9A-Za-z]', '.', name) for name in names)})"
        ready_session().file.get(f"{settings().images}/{STAGE_FOLDER}/", folder, pattern=pattern)
        there = {path.name: path for path in Path(folder).rglob("*")}
        missing = [name for name in names if name not in there]
        if missing:
            raise NotReady(
                f"{len(missing)} of {len(names)} images are in the catalog but not on the stage. "
                "Run `notebooks/02_data_ingest.ipynb` again."
            )
        return [there[name].read_bytes() for name in names]


def evaluation(version_name: str) -> dict | None:
    """The evaluation of the version's training run; None if its artifacts are not on the stage."""
    found = _artifact(version_name, "evaluation.json")
    return None if found is None else read_evaluation(json.loads(found))


def run_scores(version_name: str, split: str) -> pd.DataFrame | None:
    """Predictions of the version's training run for a split: IMAGE_ID, LABEL, PATIENT_ID, P_POSITIVE.

    None if the run has no scores. Images that are no longer in the catalog are left out.
    """
    found = _artifact(version_name, "scores.csv")
    if found is None:
        return None
    rows = pd.read_csv(io.BytesIO(found))
    known = catalog_or_empty()[["IMAGE_ID", "LABEL", "PATIENT_ID"]]
    return rows[rows["SPLIT"] == split].merge(known, on="IMAGE_ID", validate="one_to_one")


@st.cache_data(ttl=600, max_entries=100, show_spinner=False)
def _artifact(version_name: str, name: str) -> bytes | None:
    """A file of the version's training run; None if it is not on the stage."""
    run = version_name.removeprefix("V_").lower()
    # Not get_stream: it leaves the file in a temporary folder that all viewers share.
    with tempfile.TemporaryDirectory(prefix="cxr-app-") as folder:
        try:
            ready_session().file.get(f"{settings().artifacts}/runs/{run}/{name}", folder)
            return (Path(folder) / name).read_bytes()
        except (SnowparkClientException, OSError):
            return None


@st.cache_data(ttl=60, show_spinner=False)
def recorded_scores(version_name: str, split: str) -> pd.DataFrame:
    """As :func:`run_scores`, from the table PREDICTIONS: the latest prediction of each image, by any path."""
    known = settings()
    return (
        ready_session()
        .sql(
            f"""
            SELECT P.IMAGE_ID, C.LABEL, C.PATIENT_ID, P.P_POSITIVE
            FROM {known.qualified(known.predictions_table)} P
            JOIN {known.qualified(known.catalog_table)} C ON C.IMAGE_ID = P.IMAGE_ID
            WHERE P.MODEL_NAME = ? AND P.MODEL_VERSION = ? AND P.STATUS = 'ok' AND C.SPLIT = ?
            QUALIFY ROW_NUMBER() OVER (PARTITION BY P.IMAGE_ID ORDER BY P.SCORED_AT DESC) = 1
            ORDER BY P.IMAGE_ID
            """,
            params=[known.model_name, version_name, split],
        )
        .to_pandas()
    )

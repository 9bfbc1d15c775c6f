"""A version's training results from the artifacts stage, and its answers from the predictions table."""

import io
import json
import tempfile
from pathlib import Path

import app_account
import pandas as pd
import streamlit as st
from snowflake.connector.errors import Error as ConnectorError

from cxr.data.classes import DEFAULT
from cxr.earlier_versions import read_evaluation, read_scores
from cxr.model.labelset import LabelSet, is_negative

_NO_SUCH_FILE = 253006  # of the connector, when it gets a file that the stage does not hold


def evaluation(version_name: str) -> dict | None:
    """The evaluation of the version's training run; None if its artifacts are gone from the stage."""
    found = _artifact(version_name, "evaluation.json")
    return None if found is None else read_evaluation(json.loads(found))


def run_scores(version_name: str, split: str) -> pd.DataFrame | None:
    """A split's scores from the training run: IMAGE_ID, LABEL, PATIENT_ID, P_POSITIVE, PROBABILITIES.

    None if the run left no scores. Images that are no longer in the catalog, or have no label now, are left out.
    """
    found = _artifact(version_name, "scores.csv")
    if found is None:
        return None
    rows = read_scores(pd.read_csv(io.BytesIO(found), dtype={"IMAGE_ID": str}))
    if "PROBABILITIES" not in rows:
        rows["PROBABILITIES"] = None
    known = app_account.catalog_or_empty()[["IMAGE_ID", "LABEL", "PATIENT_ID"]].dropna(subset=["LABEL"])
    return rows[rows["SPLIT"] == split].merge(known, on="IMAGE_ID", validate="one_to_one")


def labels(version_name: str) -> LabelSet:
    """The classes of a version: from its training run, else from its answers, else the catalog's."""
    found = _artifact(version_name, "model.json")
    if found is not None:
        return LabelSet.from_list(json.loads(found)["labels"])
    return _answered_labels(version_name) or app_account.label_set() or DEFAULT


def triage(version_name: str) -> dict:
    """Triage thresholds and their test (`cxr.evaluation.triage.Triage.to_json`); empty for a version without triage."""
    found = _artifact(version_name, "model.json")
    return {} if found is None else json.loads(found).get("triage", {})


@st.cache_data(ttl=600, max_entries=100, show_spinner=False)
def _artifact(version_name: str, name: str) -> bytes | None:
    """A file of the version's training run; None where the stage does not hold it."""
    run = version_name.removeprefix("V_").lower()
    # Not by get_stream: it leaves each file under its bare name in the folder that all viewers share.
    with tempfile.TemporaryDirectory(prefix="cxr-app-") as folder:
        try:
            app_account.ready_session().file.get(f"{app_account.settings().artifacts}/runs/{run}/{name}", folder)
            return (Path(folder) / name).read_bytes()
        except FileNotFoundError:
            return None
        except ConnectorError as error:
            if error.errno == _NO_SUCH_FILE:
                return None
            raise


@st.cache_data(ttl=60, show_spinner=False)
def _answered_labels(version_name: str) -> LabelSet | None:
    known = app_account.settings()
    query = f"""
        SELECT PROBABILITIES FROM {known.qualified(known.predictions_table)}
        WHERE MODEL_NAME = ? AND MODEL_VERSION = ? AND PROBABILITIES IS NOT NULL LIMIT 1"""
    rows = app_account.ready_session().sql(query, params=[known.model_name, version_name]).collect()
    if not rows:
        return None
    names = list(json.loads(rows[0][0]))
    negative = next((name for name in names if is_negative(name, known.negative_label)), names[0])
    return LabelSet(negative, tuple(name for name in names if name != negative))


@st.cache_data(ttl=60, show_spinner=False)
def answered_images(version_name: str, split: str) -> set[str]:
    """The ids of a split's images that have any answer of the version in the predictions table, refusals included."""
    known = app_account.settings()
    query = f"""
        SELECT DISTINCT P.IMAGE_ID FROM {known.qualified(known.predictions_table)} P
        JOIN {known.qualified(known.catalog_table)} C ON C.IMAGE_ID = P.IMAGE_ID
        WHERE P.MODEL_NAME = ? AND P.MODEL_VERSION = ? AND C.SPLIT = ?"""
    rows = app_account.ready_session().sql(query, params=[known.model_name, version_name, split]).collect()
    return {row["IMAGE_ID"] for row in rows}


@st.cache_data(ttl=60, show_spinner=False)
def recorded_scores(version_name: str, split: str) -> pd.DataFrame:
    """As :func:`run_scores`, from the predictions table: the latest answer for each image, by any path."""
    known = app_account.settings()
    return (
        app_account.ready_session()
        .sql(
            f"""
            SELECT P.IMAGE_ID, C.LABEL, C.PATIENT_ID, P.P_POSITIVE, P.PROBABILITIES
            FROM {known.qualified(known.predictions_table)} P
            JOIN {known.qualified(known.catalog_table)} C ON C.IMAGE_ID = P.IMAGE_ID
            WHERE P.MODEL_NAME = ? AND P.MODEL_VERSION = ? AND P.STATUS = 'ok' AND C.SPLIT = ? AND C.LABEL IS NOT NULL
            QUALIFY ROW_NUMBER() OVER (PARTITION BY P.IMAGE_ID ORDER BY P.SCORED_AT DESC) = 1
            ORDER BY P.IMAGE_ID
            """,
            params=[known.model_name, version_name, split],
        )
        .to_pandas()
    )

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import streamlit
from tests.app.elements import metric
from tests.drift import read_baseline, stability_index

from cxr.account.project import Project
from cxr.account.tables import append
from cxr.serving import monitoring


@pytest.fixture
def history(session, account):
    """Three days of answers: two as on validation images, one far higher; some refused; and one rejected file."""
    table = account.qualified(account.predictions_table)
    session.sql(f"DELETE FROM {table}").collect()
    rng = np.random.default_rng(0)
    today = dt.datetime.combine(dt.date.today(), dt.time(1))
    rows = []
    for ago, (low, high) in ((3, (0.0, 0.5)), (2, (0.0, 0.5)), (1, (0.5, 1.0))):
        for number, p in enumerate(rng.uniform(low, high, 120)):
            answer = {"P_POSITIVE": p, "LABEL": "PNEUMONIA" if p >= 0.4 else "NORMAL", "STATUS": "ok"}
            if number < 6:
                answer = {"P_POSITIVE": None, "LABEL": None, "STATUS": "blank: only 2 grey levels"}
            rows.append(answer | {"IMAGE_ID": f"{ago}-{number}", "SCORED_AT": today - dt.timedelta(days=ago)})
    frame = pd.DataFrame(rows).assign(MODEL_NAME=account.model_name, MODEL_VERSION="V_OLD", PATH_TAKEN="WAREHOUSE")
    append(session, table, frame)
    monitoring.write_baseline(Project(session, account), "V_OLD", rng.uniform(0.0, 0.5, 120), "NORMAL")
    yield frame
    session.sql(f"DELETE FROM {table}").collect()


def test_volume_rate_drift_and_refusals_are_shown(open_app, history, words):
    app = open_app("monitoring")
    assert not app.exception
    assert metric(app, "Images") == "360"
    assert metric(app, "Rejected") == "5%"
    called = (history["LABEL"] == "PNEUMONIA").sum() / (history["STATUS"] == "ok").sum()
    assert metric(app, "Predicted positive") == f"{called:.0%}"
    assert metric(app, "On the latest day").endswith("large")
    refused = app.dataframe[0].value.set_index("Reason")["Images"].to_dict()
    assert refused["blank"] == 18
    assert refused["unreadable"] == 1, "the file that was rejected when cataloged"


def test_an_image_that_several_paths_answered_counts_once(open_app, history, session, account):
    """As the view MONITORING counts it. Large files are refused by all paths but one."""
    refused = dict(PATH_TAKEN="REST", STATUS="too_large: for SQL", P_POSITIVE=None, LABEL=None)
    append(session, account.qualified(account.predictions_table), history.assign(**refused))
    streamlit.cache_data.clear()
    app = open_app("monitoring")
    assert not app.exception
    assert (metric(app, "Images"), metric(app, "Rejected")) == ("360", "5%")


def test_images_unlike_training_are_told_apart_from_rejected_ones(open_app, history, session, account, words):
    rows = answers(account, "V_OLD", 1, np.full(20, 0.6))
    rows["TRIAGE"] = ["uncertain"] * 5 + ["rule_in"] * 5 + [None] * 10
    rows.loc[10:, ["STATUS", "LABEL"]] = ["unlike_training: 3 times as far", None]
    append(session, account.qualified(account.predictions_table), rows)
    streamlit.cache_data.clear()
    app = open_app("monitoring")
    assert not app.exception
    shown = {name: metric(app, name) for name in ("Images", "Rejected", "Unlike training", "Uncertain")}
    assert shown == {"Images": "380", "Rejected": "5%", "Unlike training": "3%", "Uncertain": "50%"}
    assert "unlike_training" not in app.dataframe[0].value["Reason"].tolist()


def answers(account, version, ago, scores):
    rows = pd.DataFrame({"P_POSITIVE": scores, "LABEL": "NORMAL", "STATUS": "ok", "PATH_TAKEN": "WAREHOUSE"})
    rows["SCORED_AT"] = dt.datetime.combine(dt.date.today(), dt.time(1)) - dt.timedelta(days=ago)
    ids = [f"{version}-{ago}-{number}" for number in range(len(rows))]
    return rows.assign(MODEL_NAME=account.model_name, MODEL_VERSION=version, IMAGE_ID=ids)


def test_a_day_with_few_answers_says_nothing_of_drift(open_app, history, session, account):
    before = metric(open_app("monitoring"), "On the latest day")
    append(session, account.qualified(account.predictions_table), answers(account, "V_OLD", 0, np.full(99, 0.05)))
    streamlit.cache_data.clear()
    assert metric(open_app("monitoring"), "On the latest day") == before


def test_one_version_is_shown_without_the_others(open_app, history, session, account):
    import app_account

    open_app("monitoring")
    (version,) = app_account.versions()
    scores = np.linspace(0, 1, 100)
    append(session, account.qualified(account.predictions_table), answers(account, version, 4, scores))
    streamlit.cache_data.clear()
    app = open_app("monitoring", of=version)
    assert not app.exception
    assert metric(app, "Images") == "100"
    before = read_baseline(Project(session, account), version)
    index = stability_index(before, monitoring.histogram(scores))
    assert metric(app, "On the latest day").startswith(f"{index:.2f}, ")


def test_where_the_truth_is_known_answers_are_right_or_wrong(open_app, history, session, account, words):
    assert "None of these images has a label" in words(open_app("monitoring"))
    catalog = session.table(account.qualified(account.catalog_table)).to_pandas()
    known = catalog[catalog["SPLIT"] == "test"].groupby("LABEL").head(1).set_index("LABEL")["IMAGE_ID"]
    learnt = catalog.loc[catalog["SPLIT"].isin(["train", "validation"]), "IMAGE_ID"].head(5)
    ids = [*known.loc[["NORMAL", "PNEUMONIA"]], *learnt]
    rows = pd.DataFrame({"IMAGE_ID": ids, "LABEL": "PNEUMONIA", "P_POSITIVE": 0.9})
    same = dict(MODEL_NAME=account.model_name, MODEL_VERSION="V_OLD", PATH_TAKEN="SERVICE", STATUS="ok")
    append(session, account.qualified(account.predictions_table), rows.assign(**same, SCORED_AT=dt.datetime.now()))
    streamlit.cache_data.clear()  # a minute has passed
    app = open_app("monitoring")
    assert not app.exception
    assert (metric(app, "Accuracy"), metric(app, "Sensitivity"), metric(app, "Specificity")) == ("50%", "100%", "0%")
    assert "5 images of training" in words(app)


def test_with_nothing_scored_the_page_says_what_to_do(open_app, session, account, words):
    session.sql(f"DELETE FROM {account.qualified(account.predictions_table)}").collect()
    app = open_app("monitoring")
    assert "Nothing was scored" in words(app)
    assert "05_deploy.ipynb" in words(app)
    assert not app.exception

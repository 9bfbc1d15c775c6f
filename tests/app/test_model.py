import numpy as np
import pandas as pd
import pytest
import streamlit
from tests.app.elements import button, metric

from cxr.serving import scoring
from cxr.serving.rest_client import ANSWER


def measured(version):
    import app_runs

    return app_runs.evaluation(version)


@pytest.fixture
def without_artifacts(open_app, monkeypatch):
    """The training run's files are gone from the stage."""
    import app_runs

    monkeypatch.setattr(app_runs, "_artifact", lambda version, name: None)


@pytest.fixture
def nothing_scored(session, account):
    """The next test starts from an empty table of predictions."""
    session.sql(f"DELETE FROM {account.qualified(account.predictions_table)}").collect()


def test_versions_card_and_intervals_are_shown(open_app, words):
    app = open_app("model")
    assert not app.exception
    assert app.dataframe[0].value["Default"].tolist() == [True]
    assert "not a medical device" in words(app).lower()
    (figures,) = app.table[0].value.filter(like="V_").loc[["AUROC", "Sensitivity"]].T.itertuples(index=False)
    test = measured(app.selectbox(key="version").value)["test"]["metrics"]
    for shown, name in zip(figures, ("auroc", "sensitivity"), strict=True):
        assert shown == "{:.3f} ({:.3f} to {:.3f})".format(test[name]["value"], *test[name]["interval"])


def test_the_training_runs_scores_are_explored_without_asking_the_model(open_app, predictions, words):
    before = predictions()
    app = open_app("model")
    assert not app.exception
    assert app.slider(key="threshold").value == 40.0
    assert {"ROC", "Reliability", "Another threshold"} <= {each.value for each in app.header}
    assert predictions() == before


def test_the_dot_on_the_curve_is_the_registered_threshold(open_app, monkeypatch):
    import app_pictures

    dots, draw = [], app_pictures.roc
    monkeypatch.setattr(app_pictures, "roc", lambda curves, points: dots.append(points) or draw(curves, points))
    app = open_app("model", scores="test")
    assert not app.exception
    at = measured(app.selectbox(key="version").value)["test"]["metrics"]
    assert dots[-1]["sensitivity"].tolist() == [at["sensitivity"]["value"]]
    assert dots[-1]["false_positive_rate"].tolist() == pytest.approx([1 - at["specificity"]["value"]])


def test_without_the_runs_scores_the_page_can_make_them(
    open_app, without_artifacts, nothing_scored, predictions, words
):
    app = open_app("model")
    assert "are gone from the stage: no intervals" in words(app)
    assert "has scored 0 of the" in words(app)
    assert not app.slider, "no threshold to explore yet"
    button(app, "Score the other").click().run()
    assert not app.exception
    assert predictions() > 0
    assert app.slider(key="threshold").value == 40.0


def test_a_click_scores_no_more_images_than_a_worklist_holds(
    open_app, without_artifacts, nothing_scored, predictions, words, monkeypatch
):
    import app_scoring

    monkeypatch.setattr(app_scoring, "MOST", 4)
    app = open_app("model")
    button(app, "Score 4 of the other").click().run()
    assert not app.exception
    assert predictions() == 4 and "has scored 4 of the" in words(app)


def test_an_image_without_a_prediction_is_scored_once(
    open_app, without_artifacts, nothing_scored, predictions, words, monkeypatch
):
    def refuses(version, files, service=None, rows_per_call=64):
        return pd.DataFrame({"STATUS": ["unlike_training: a hand"] * len(files)}, columns=ANSWER)

    monkeypatch.setattr(scoring, "score", refuses)
    app = open_app("model")
    button(app, "Score the other").click().run()
    assert not app.exception and predictions()
    assert "has scored 0 of the" in words(app) and "gave no prediction for" in words(app)
    assert not [each for each in app.button if each.label.startswith("Score")]


def test_after_scoring_the_model_page_names_files_with_other_content(
    open_app, written_over, without_artifacts, nothing_scored, session, account, words
):
    table = account.qualified(account.catalog_table)
    split = session.sql(f"SELECT SPLIT FROM {table} WHERE IMAGE_ID = ?", params=[written_over]).collect()[0][0]
    session.sql(f"UPDATE {table} SET SPLIT = 'validation' WHERE IMAGE_ID = ?", params=[written_over]).collect()
    app = open_app("model")
    button(app, "Score the other").click().run()
    session.sql(f"UPDATE {table} SET SPLIT = ? WHERE IMAGE_ID = ?", params=[split, written_over]).collect()
    assert not app.exception
    assert "REMOVE" in words(app)
    assert "REMOVE" not in words(app.run())


def test_the_threshold_explorer_trades_sensitivity_for_specificity(open_app):
    app = open_app("model", threshold="0")
    assert metric(app, "Sensitivity") == "100.0%"
    assert metric(app, "Specificity") == "0.0%"
    app.slider(key="threshold").set_value(100.0).run()
    assert metric(app, "Sensitivity") == "0.0%"
    assert metric(app, "PPV") == "-", "nothing is called, so nothing is predicted"
    assert app.query_params["threshold"] in ("100.0", ["100.0"])


@pytest.mark.parametrize("threshold", ["nan", "900", "half"])
def test_a_threshold_that_is_none_is_not_taken_from_the_url(open_app, threshold):
    assert open_app("model", threshold=threshold).slider(key="threshold").value == 40.0


def test_no_threshold_is_looked_for_on_test_images(open_app, words):
    app = open_app("model", scores="test")
    assert "ROC" in words(app)
    assert not app.slider
    assert "test images are for measuring only" in words(app)


def test_two_versions_stand_side_by_side_and_the_comparison_ends_with_a_word(
    open_app, second_version, words, monkeypatch
):
    app = open_app("model")
    assert len(app.dataframe[0].value) == 2
    others = app.selectbox(key="against").options
    app.selectbox(key="against").set_value(others[1]).run()
    assert not app.exception
    assert len(app.table[0].value.filter(like="V_").columns) == 2
    name = app.selectbox(key="version").value
    difference = np.subtract(*(measured(each)["validation"]["metrics"]["auroc"]["value"] for each in (name, others[1])))
    assert f"the AUROC of {name} minus that of {others[1]} is **{difference:+.3f}**" in words(app)
    for interval, verdict in (
        ([0.01, 0.05], "better"),
        ([-0.05, -0.01], "worse"),
        ([-0.02, 0.04], "the difference may be chance"),
    ):
        found = {"difference": 0.0, "interval": interval}
        monkeypatch.setattr("cxr.evaluation.bootstrap.paired_bootstrap", lambda *_, found=found: found)
        streamlit.cache_data.clear()
        assert f"(95% interval {interval[0]:+.3f} to {interval[1]:+.3f}): {verdict}." in words(app.run())


@pytest.mark.parametrize("page", ["", "worklist", "model", "monitoring"])
def test_without_a_model_the_notebooks_that_make_one_are_named(open_app, empty_schema, words, page):
    assert "04_register.ipynb" in words(open_app(page))


def test_with_an_empty_catalog_card_and_curves_stand(open_app, empty_catalog, words):
    app = open_app("model")
    assert not app.exception
    assert {"ROC", "Another threshold"} <= {each.value for each in app.header}


def test_with_an_empty_catalog_and_no_scores_the_notebook_is_named(open_app, empty_catalog, without_artifacts, words):
    assert "02_data_ingest.ipynb" in words(open_app("model"))

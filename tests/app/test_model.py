import pytest


def button(app, start):
    return next(each for each in app.button if each.label.startswith(start))


def metric(app, label):
    return next(each.value for each in app.metric if each.label == label)


@pytest.fixture
def nothing_scored(session, account):
    """The next test starts from an empty table of predictions."""
    session.sql(f"DELETE FROM {account.qualified(account.predictions_table)}").collect()


def test_versions_card_and_intervals_are_shown(open_app, words):
    app = open_app("model")
    assert not app.exception
    assert app.dataframe[0].value["Default"].tolist() == [True]
    assert "not a medical device" in app.text[0].value
    assert app.table[0].value.filter(like="V_").iloc[0].str.contains("to").all()


def test_curves_need_scores_and_the_page_can_make_them(open_app, nothing_scored, predictions, words):
    app = open_app("model")
    assert "has scored 0 of the" in words(app)
    assert not app.slider, "no threshold to explore yet"
    button(app, "Score the other").click().run()
    assert not app.exception
    assert predictions() > 0
    assert app.slider(key="threshold").value == 40.0
    assert {"ROC", "Reliability", "Another threshold"} <= {each.value for each in app.subheader}


def test_the_threshold_explorer_trades_sensitivity_for_specificity(open_app):
    app = open_app("model", scores="test")
    if not app.slider:
        button(app, "Score the other").click().run()
    app.slider(key="threshold").set_value(0.0).run()
    assert metric(app, "Sensitivity") == "100.0%"
    assert metric(app, "Specificity") == "0.0%"
    app.slider(key="threshold").set_value(100.0).run()
    assert metric(app, "Sensitivity") == "0.0%"
    assert metric(app, "PPV") == "-", "nothing is called, so nothing is predicted"


def test_two_versions_stand_side_by_side(open_app, second_version):
    app = open_app("model")
    assert len(app.dataframe[0].value) == 2
    others = app.selectbox(key="against").options
    app.selectbox(key="against").set_value(others[1]).run()
    assert not app.exception
    assert len(app.table[0].value.filter(like="V_").columns) == 2


def test_a_version_whose_run_is_gone_shows_no_intervals_and_no_error(open_app, session, account, words):
    import app_account

    original = app_account._evaluation
    try:
        app_account._evaluation = lambda name: (_ for _ in ()).throw(FileNotFoundError(name))
        app = open_app("model")
        assert "is not on the stage" in words(app)
        assert not app.exception
    finally:
        app_account._evaluation = original


def test_without_a_model_the_notebooks_that_make_one_are_named(open_app, empty_schema, words):
    assert "04_register.ipynb" in words(open_app("model"))


def test_with_an_empty_catalog_the_card_stands_and_the_notebook_is_named(open_app, empty_catalog, words):
    app = open_app("model")
    assert app.dataframe
    assert "02_data_ingest.ipynb" in words(app)

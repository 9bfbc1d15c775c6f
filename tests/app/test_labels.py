"""The four pages with other classes than the default's, and with images that nobody has labelled."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from tests.app.elements import button, metric
from tests.dicom_files import dicom
from tests.pictures import encoded

from cxr.account.session import PROJECT
from cxr.data import ingest
from cxr.phantoms import dataset

TWO, THREE, FOUR = ("HEALTHY", "TB"), ("NORMAL", "BACTERIA", "VIRUS"), ("NO FINDING", "COVID-19", "MASS_1", "PÜR")
WITH_EXTRAS = ("HEALTHY", "BACTERIA", "VIRUS")


def a_phantom(seed: int, kind: str = "PNG") -> bytes:
    pixels = dataset.phantom("NORMAL", rng=np.random.default_rng(seed), size=128)
    return encoded(pixels, kind)


@pytest.fixture
def with_extras(with_classes, session, tmp_path, monkeypatch):
    """Three classes, three images without a label, one lateral view, and one with text in its pixels."""
    project = with_classes(*WITH_EXTRAS)
    rows = session.table(project.catalog)
    if rows.filter(rows["LABEL"].isNull()).count() == 0:
        folder = tmp_path / "extras"
        folder.mkdir()
        for number in range(3):
            (folder / f"scan-{number}.png").write_bytes(a_phantom(700 + number))
        ingest.ingest(project, folder)
        session.sql(
            f"UPDATE {project.catalog} SET BURNED_IN = TRUE "
            f"WHERE IMAGE_ID = (SELECT MIN(IMAGE_ID) FROM {project.catalog} WHERE LABEL = 'VIRUS')"
        ).collect()
        session.sql(
            f"UPDATE {project.catalog} SET SET_ASIDE = 'lateral' "
            f"WHERE IMAGE_ID = (SELECT MIN(IMAGE_ID) FROM {project.catalog} WHERE LABEL = 'BACTERIA')"
        ).collect()
    return project


def test_no_page_names_a_class():
    for path in [*(PROJECT / "streamlit").rglob("*.py")]:
        assert not re.search("pneumonia", path.read_text(), re.IGNORECASE), path.name


@pytest.mark.parametrize("names", [TWO, THREE, FOUR])
def test_every_page_works_with_these_classes(with_classes, open_app, xray, words, names, session):
    import app_labels

    project = with_classes(*names)
    app = open_app()
    app.file_uploader[0].upload("xray.png", xray).run()
    assert not app.exception
    finding = names[1] if len(names) == 2 else f"anything but {names[0]}"
    shown = metric(app, f"Probability of {finding}")
    called = metric(app, "Prediction").replace("\\", "")
    assert called in names
    assert ("below the threshold" in words(app)) == (called == names[0])
    assert "What this means" in words(app)
    said = session.table(project.predictions).to_pandas().sort_values("SCORED_AT").iloc[-1]
    assert f"{said['P_POSITIVE']:.1%}" == shown
    assert list(json.loads(said["PROBABILITIES"])) == list(names)

    app = open_app("worklist", split="all", n="100")
    assert [name for name in app.selectbox(key="label").options if name != "all"] == list(names)
    button(app, "Score 100 images").click().run()
    assert not app.exception
    table = app.dataframe[0].value
    assert set(table["Truth"]) == set(names) and set(table["Predicted"]) <= set(names)
    assert ("Classes" in table) == (len(names) > 2)
    right = (table["Truth"] == table["Predicted"]).sum()
    assert metric(app, "Correct") == str(right)
    missed = ((table["Truth"] != names[0]) & (table["Predicted"] == names[0])).sum()
    assert metric(app, "Missed") == str(missed)
    other = (table["Result"] == app_labels.OTHER_CLASS).sum()
    assert other == 0 if len(names) == 2 else other == 100 - right - missed - int(metric(app, "False alarm"))

    app = open_app("model")
    assert not app.exception
    assert {"ROC", "Another threshold"} <= {each.value for each in app.header}
    assert ("screening question" in words(app)) == (len(names) > 2)
    if len(names) > 2:
        classes = app.table[1].value
        assert [name.replace("\\", "") for name in classes.index] == list(names)
        assert "Macro AUROC" in words(app)

    app = open_app("monitoring")
    assert not app.exception
    answers = session.table(project.predictions).to_pandas()
    positive = (answers["LABEL"] != names[0]).mean()
    assert metric(app, "Predicted positive") == f"{positive:.0%}"
    assert ("Predictions by class" in words(app)) == (answers.loc[answers["LABEL"] != names[0], "LABEL"].nunique() > 1)


def test_the_matrix_is_over_all_classes_at_any_threshold(with_classes, open_app, monkeypatch):
    import app_pictures

    with_classes(*THREE)
    drawn, draw = [], app_pictures.confusion
    monkeypatch.setattr(app_pictures, "confusion", lambda counts: drawn.append(counts) or draw(counts))
    app = open_app("model")
    assert not app.exception
    of_test, of_validation = drawn
    assert list(of_test.index) == list(of_validation.index) == list(of_validation.columns) == list(THREE)
    app.slider(key="threshold").set_value(0.0).run()
    assert drawn[-1]["NORMAL"].sum() == 0, "everything is called something"
    assert drawn[-1].to_numpy().sum() == of_validation.to_numpy().sum()
    app.slider(key="threshold").set_value(100.0).run()
    assert drawn[-1][["BACTERIA", "VIRUS"]].to_numpy().sum() == 0


def test_without_the_runs_artifacts_the_answers_name_the_classes_and_the_page_says_they_are_gone(
    with_classes, open_app, xray, words, session
):
    import app_runs

    project = with_classes(*TWO)
    app = open_app()
    app.file_uploader[0].upload("xray.png", xray).run()
    run = app.selectbox(key="version").value.removeprefix("V_").lower()
    artifacts = f"{project.artifacts_stage}/runs/{run}"
    names = [row["name"].rsplit("/", 1)[-1] for row in session.sql(f"LIST {artifacts}/").collect()]
    kept = {}
    for name in names:
        with session.file.get_stream(f"{artifacts}/{name}") as stream:
            kept[name] = stream.read()
    session.sql(f"REMOVE {artifacts}/").collect()
    try:
        app_runs._artifact.clear()
        app = open_app("model")
        assert not app.exception
        assert "artifacts of" in words(app) and "are gone from the stage" in words(app)
        assert "did not answer" not in words(app)
        app = open_app()
        app.file_uploader[0].upload("xray.png", xray).run()
        assert "are gone from the stage" in words(app) and "did not answer" not in words(app)
        assert metric(app, "Probability of TB")
    finally:
        for name, data in kept.items():
            session.file.put_stream(io.BytesIO(data), f"{artifacts}/{name}", auto_compress=False)


def test_images_without_truth_are_scored_and_neither_right_nor_wrong(with_extras, open_app, words):
    app = open_app("worklist", split="all", label="no label")
    assert "no split" in app.selectbox(key="split").options
    button(app, "Score 3 images").click().run()
    assert not app.exception
    assert set(app.dataframe[0].value["Result"]) == {"No truth"}
    assert metric(app, "No truth") == "3"
    assert [metric(app, name) for name in ("Correct", "Missed", "False alarm")] == ["0", "0", "0"]
    assert "Truth against prediction" not in words(app)
    button(app, "Open").click().run()
    assert not app.exception
    assert metric(app, "Truth") == "Unknown"
    assert "has no label for this image yet" in words(app)
    assert "contradicts" not in words(app)


def test_pictures_with_text_about_the_patient_are_flagged_wherever_they_are_drawn(with_extras, open_app, words):
    app = open_app("worklist", split="all", label="VIRUS", n="100")
    button(app, "Score").click().run()
    table = app.dataframe[0].value
    flagged = table[table["Note"].str.contains("text about the patient")]
    assert len(flagged) == 1
    assert table.columns.get_loc("Note") == table.columns.get_loc("X-ray") + 1
    app = open_app(source="stage", label="VIRUS", order="by image id")
    captions = [image.captions[0] for image in app.image]
    assert captions[0].startswith("VIRUS") and "text about the patient" in captions[0]
    assert not any("text about the patient" in caption for caption in captions[1:])


def test_a_dicom_that_says_so_is_flagged_when_it_is_uploaded(open_app, words):
    app = open_app()
    app.file_uploader[0].upload(
        "x.dcm", dicom(np.asarray(Image.open(io.BytesIO(a_phantom(5)))), BurnedInAnnotation="YES")
    )
    app.run()
    assert not app.exception
    assert "The picture contains text about the patient" in words(app)


def test_images_that_are_set_aside_are_left_out_unless_asked_for(with_extras, open_app, words):
    app = open_app("worklist", split="all", n="500")
    assert "102 images match" in words(app)
    app.toggle(key="aside").set_value(True).run()
    assert "103 images match" in words(app)
    button(app, "Score").click().run()
    assert app.dataframe[0].value["Note"].str.contains("Lateral view").sum() == 1


def test_a_version_that_is_not_in_production_is_said_to_be_so(open_app, fresh_caches, session, account, words):
    app = open_app()
    assert "not in production" in words(app)
    (name,) = (option.removesuffix(" (default)") for option in app.selectbox(key="version").options)
    model = f"{account.qualified(account.model_name)}"
    session.sql(f"ALTER MODEL {model} VERSION {name} SET ALIAS = PRODUCTION").collect()
    try:
        import app_account

        app_account.versions.clear()
        app = open_app()
        assert app.selectbox(key="version").options == [f"{name} (in production)"]
        assert "not in production" not in words(app)
    finally:
        session.sql(f"ALTER MODEL {model} VERSION PRODUCTION UNSET ALIAS").collect()


def test_how_an_answer_stands_to_the_truth(open_app):
    import app_labels

    from cxr.model.labelset import LabelSet

    labels = LabelSet("OK", ("A", "B"))
    for truth, called, probability, expected in [
        ("OK", "OK", 0.1, "Correct"),
        ("A", "A", 0.9, "Correct"),
        ("A", "B", 0.9, "Other class"),
        ("C", "B", 0.9, "Other class"),
        ("A", "OK", 0.1, "Missed"),
        ("OK", "B", 0.9, "False alarm"),
        (None, "B", 0.9, "No truth"),
        ("A", None, 0.9, "No prediction"),
        (None, None, float("nan"), "Not scored"),
    ]:
        assert app_labels.result(truth, called, probability, labels, "OK") == expected
    assert app_labels.result("HEALTHY", "OK", 0.1, labels, "HEALTHY") == "Correct"

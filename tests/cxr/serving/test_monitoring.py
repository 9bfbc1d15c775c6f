"""The views over PREDICTIONS, compared with counts by hand and with the formula of the stability index."""

import numpy as np
import pandas as pd
import pytest
from tests.drift import read_baseline, stability_index

from cxr.account import tables
from cxr.serving import monitoring, predictions


@pytest.fixture(scope="module")
def answered(account):
    """80 predictions of V1 as on validation images; 40 of V2, all high; some rejected; half with known truth."""
    project = account
    for name in (project.settings.predictions_table, project.settings.catalog_table, project.settings.baseline_table):
        project.session.sql(f"DELETE FROM {project.qualified(name)}").collect()
    rng = np.random.default_rng(0)
    validation = rng.uniform(0, 1, 200)
    frames = {"V1": rng.uniform(0, 1, 80), "V2": np.append(rng.uniform(0.9, 1, 39), 1.0)}
    truth = []
    for version, scores in frames.items():
        monitoring.write_baseline(project, version, validation, "NORMAL")
        answers = pd.DataFrame({"P_POSITIVE": scores, "STATUS": "ok"})
        answers["LABEL"] = np.where(scores >= 0.5, "PNEUMONIA", "NORMAL")
        answers.loc[:3, ["P_POSITIVE", "LABEL", "STATUS"]] = [None, None, "blank: only 2 grey levels"]
        ids = [f"{version}-{number}" for number in range(len(scores))]
        for _ in range(2):  # as after a failure
            predictions.write_predictions(project, ids, answers, version, "REST")
        frames[version] = answers.assign(IMAGE_ID=ids)
        truth += [{"IMAGE_ID": i, "LABEL": ("PNEUMONIA", "NORMAL")[n % 2]} for n, i in enumerate(ids[::2])]
    fixed = dict(
        RELATIVE_PATH="x", SOURCE="x", SOURCE_NAME="x", PERCEPTUAL_HASH="0", PATIENT_ID="p", SPLIT="test", SPLIT_SEED=0
    )
    known = pd.DataFrame(truth).assign(**fixed, WIDTH=1, HEIGHT=1, BYTES=1, FORMAT="PNG")
    tables.append(project.session, project.catalog, known)
    yield project, frames, validation
    project.session.sql(f"DELETE FROM {project.catalog}").collect()


def test_the_views_count_a_day_as_by_hand(answered):
    project, frames, _ = answered
    rows = monitoring.daily(project, 1).set_index("MODEL_VERSION")
    for version, answers in frames.items():
        ok = answers[answers["STATUS"] == "ok"]
        known = ok[ok["IMAGE_ID"].str.split("-").str[1].astype(int) % 2 == 0]
        row = rows.loc[version]
        assert row["IMAGES"] == len(answers) and row["WITH_TRUTH"] == len(known)
        assert row["SHARE_REFUSED"] == pytest.approx(4 / len(answers))
        assert row["SHARE_POSITIVE"] == pytest.approx((ok["LABEL"] == "PNEUMONIA").mean())
        assert row["MEAN_PROBABILITY"] == pytest.approx(ok["P_POSITIVE"].mean())
        ill = known["IMAGE_ID"].str.split("-").str[1].astype(int) % 4 == 0
        called = known["LABEL"] == "PNEUMONIA"
        assert row["ACCURACY"] == pytest.approx((called == ill).mean())
        assert row["SENSITIVITY"] == pytest.approx(called[ill].mean())
        assert row["SPECIFICITY"] == pytest.approx((~called[~ill]).mean())


def test_drift_is_the_stability_index_of_a_day_and_the_validation_baseline(answered):
    project, frames, validation = answered
    rows = monitoring.daily(project, 1).set_index("MODEL_VERSION")["STABILITY_INDEX"]
    for version, answers in frames.items():
        after = monitoring.histogram(answers["P_POSITIVE"].dropna())
        assert rows[version] == pytest.approx(stability_index(monitoring.histogram(validation), after))
    assert rows["V1"] < monitoring.LARGE < rows["V2"]
    assert (read_baseline(project, "V1") == monitoring.histogram(validation)).all()
    assert not len(read_baseline(project, "V_UNKNOWN"))


@pytest.mark.parametrize(("images", "rates"), [(30, (0.2, 0.6)), (100, (0.0, 0.02))])
def test_without_drift_a_day_of_few_images_often_exceeds_the_limit_and_a_larger_one_seldom(images, rates):
    """1,000 days of probabilities drawn as those of 500 validation images were; most are near 0 or 1."""
    rng = np.random.default_rng(0)
    drawn = ((rng.beta(0.5, 0.5, 500), rng.beta(0.5, 0.5, images)) for _ in range(1000))
    false = np.mean([stability_index(*map(monitoring.histogram, pair)) > monitoring.LARGE for pair in drawn])
    assert rates[0] <= false <= rates[1], false
    assert (images >= monitoring.FEWEST) == (rates[1] < 0.05)


def test_an_image_that_several_paths_scored_counts_once(answered):
    """As after notebook 05, which asks every path about the same test images; one path could not be reached."""
    project, ids = answered[0], [f"V7-{number}" for number in range(8)]
    scores = np.linspace(0.05, 0.95, 8)
    for path in ("WAREHOUSE", "SERVICE", "REST", "BATCH"):
        answers = pd.DataFrame({"P_POSITIVE": scores, "STATUS": "ok", "LABEL": "NORMAL"})
        if path == "WAREHOUSE":
            answers.loc[0, ["P_POSITIVE", "LABEL", "STATUS"]] = [None, None, "unreadable: no answer"]
        predictions.write_predictions(project, ids, answers, "V7", path)
    monitoring.write_baseline(project, "V7", np.linspace(0, 1, 200), "NORMAL")
    row = monitoring.daily(project, 1).set_index("MODEL_VERSION").loc["V7"]
    assert (row["IMAGES"], row["SHARE_REFUSED"]) == (8, 0)
    expected = stability_index(monitoring.histogram(np.linspace(0, 1, 200)), monitoring.histogram(scores))
    assert row["STABILITY_INDEX"] == pytest.approx(expected)
    assert monitoring.counts(project, 1).query("MODEL_VERSION == 'V7'")["IMAGES"].sum() == 32, "every answer"
    project.session.sql(f"DELETE FROM {project.predictions} WHERE IMAGE_ID LIKE 'V7-%'").collect()


def test_the_counts_have_no_image_id_and_add_up(answered):
    project, frames, _ = answered
    counts = monitoring.counts(project, 1)
    assert "IMAGE_ID" not in counts and counts["IMAGES"].sum() == sum(map(len, frames.values()))
    refused = counts[counts["STATUS"] != "ok"]
    assert set(refused["STATUS"]) == {"blank"} and refused["TENTH"].isna().all()


@pytest.fixture
def earlier(answered):
    """V3 on three earlier days: as on validation, all high, a fifth rejected. V4: 99 all high. Another model's."""
    project, _, validation = answered
    today = project.session.sql("SELECT TO_DATE(SYSDATE())").collect()[0][0]
    rng = np.random.default_rng(1)
    days = {("V3", 5): rng.permutation(validation)[:100], ("V3", 6): rng.uniform(0.9, 1, 110)}
    days |= {("V3", 7): np.append(rng.permutation(validation)[:80], [np.nan] * 20), ("V4", 6): np.full(99, 0.95)}
    table, rows = project.predictions, []
    for (version, ago), scores in days.items():
        day = pd.DataFrame({"P_POSITIVE": scores, "MODEL_VERSION": version, "MODEL_NAME": project.settings.model_name})
        day["STATUS"] = np.where(np.isnan(scores), "blank: only 2 grey levels", "ok")
        day["SCORED_AT"] = pd.Timestamp(today) - pd.Timedelta(days=ago) + pd.Timedelta(hours=12)
        rows += [day, day.assign(MODEL_NAME="Z_ANOTHER")]
    rows = pd.concat(rows, ignore_index=True).assign(LABEL=None, PATH_TAKEN="REST")
    rows["SCORING_ID"] = rows["IMAGE_ID"] = [f"earlier-{number}" for number in range(len(rows))]
    tables.append(project.session, table, rows)
    for version in ("V3", "V4"):
        monitoring.write_baseline(project, version, validation, "NORMAL")
    yield project, days, validation
    project.session.sql(f"DELETE FROM {table} WHERE IMAGE_ID LIKE 'earlier-%'").collect()


def test_each_day_and_model_is_counted_separately(earlier):
    project, days, validation = earlier
    rows = monitoring.daily(project, 7)
    rows = rows[rows["MODEL_VERSION"] == "V3"].sort_values("DAY", ascending=False)
    for row, ago in zip(rows.itertuples(), (5, 6, 7), strict=True):
        scores = days["V3", ago]
        assert row.IMAGES == len(scores)
        after = monitoring.histogram(scores[~np.isnan(scores)])
        expected = stability_index(monitoring.histogram(validation), after)
        assert row.STABILITY_INDEX == pytest.approx(expected)


def test_the_view_drift_lists_days_with_drift_or_many_rejections_and_enough_predictions(earlier):
    project, *_ = earlier
    told = project.session.table(project.qualified(project.settings.drift_view)).to_pandas()
    told = told[(told["MODEL_NAME"] == project.settings.model_name) & told["MODEL_VERSION"].isin(["V3", "V4"])]
    (refused, drifted) = told.sort_values("DAY")["DETAIL"]
    assert "100 images" in refused and refused.endswith("20% refused")
    assert "110 images" in drifted and drifted.endswith("0% refused")


@pytest.fixture
def gated(answered):
    """V5: 40 answers of today: 4 unlike training, 6 refused, 10 uncertain, 20 decided; the truth of all is known."""
    project = answered[0]
    answers = pd.DataFrame({"P_POSITIVE": np.linspace(0.01, 0.99, 40), "STATUS": "ok", "LABEL": "NORMAL"})
    answers["TRIAGE"] = ["uncertain"] * 20 + ["rule_out"] * 20
    answers.loc[:3, ["STATUS", "LABEL", "TRIAGE"]] = ["unlike_training: 3 times as far", None, None]
    answers.loc[4:9, ["P_POSITIVE", "STATUS", "LABEL", "TRIAGE"]] = [None, "blank: 2 levels", None, None]
    ids = [f"V5-{number}" for number in range(40)]
    predictions.write_predictions(project, ids, answers, "V5", "REST")
    monitoring.write_baseline(project, "V5", np.linspace(0, 1, 200), "NORMAL")
    fixed = dict(RELATIVE_PATH="x", SOURCE="x", SOURCE_NAME="x", PERCEPTUAL_HASH="0", PATIENT_ID="p", FORMAT="PNG")
    known = pd.DataFrame({"IMAGE_ID": ids, "LABEL": "NORMAL"}).assign(**fixed, WIDTH=1, HEIGHT=1, BYTES=1)
    tables.append(project.session, project.catalog, known)
    yield project, answers
    for table in (project.catalog, project.predictions):
        project.session.sql(f"DELETE FROM {table} WHERE IMAGE_ID LIKE 'V5-%'").collect()


def test_an_image_unlike_training_is_neither_refused_nor_right_nor_wrong(gated):
    project, answers = gated
    row = monitoring.daily(project, 1).set_index("MODEL_VERSION").loc["V5"]
    assert (row["SHARE_UNLIKE"], row["SHARE_REFUSED"]) == (pytest.approx(0.1), pytest.approx(0.15))
    assert row["SHARE_UNCERTAIN"] == pytest.approx(1 / 3), "of the images that got an answer"
    assert (row["WITH_TRUTH"], row["UNLIKE_WITH_TRUTH"], row["ACCURACY"]) == (30, 4, 1.0)
    assert row["MEAN_PROBABILITY"] == pytest.approx(answers["P_POSITIVE"].iloc[10:].mean())
    counts = monitoring.counts(project, 1).query("MODEL_VERSION == 'V5'")
    assert counts.groupby("TRIAGE")["IMAGES"].sum().to_dict() == {"rule_out": 20, "uncertain": 10}


def test_unlike_is_a_signal_of_its_own(gated):
    project, _ = gated
    told = project.session.table(project.qualified(project.settings.drift_view)).to_pandas()
    told = told[told["MODEL_VERSION"] == "V5"].set_index("SIGNAL")["DETAIL"]
    assert told["UNLIKE"].endswith("10% of 40 images are unlike those of training")
    assert "15% refused" in told["DRIFT"]


def test_images_of_training_do_not_count_as_truth(answered):
    """An image that got its split after it had been scored was no image of training then."""
    project = answered[0]
    splits = ["test", None, "train", "validation", "train", "train"]
    ids = [f"V6-{number}" for number in range(len(splits))]
    answers = pd.DataFrame({"P_POSITIVE": 0.1, "STATUS": ["ok"] * 6, "LABEL": "NORMAL"})
    predictions.write_predictions(project, ids, answers, "V6", "REST")
    monitoring.write_baseline(project, "V6", np.linspace(0, 1, 200), "NORMAL")
    fixed = dict(RELATIVE_PATH="x", SOURCE="x", SOURCE_NAME="x", PERCEPTUAL_HASH="0", PATIENT_ID="p", FORMAT="PNG")
    known = pd.DataFrame({"IMAGE_ID": ids, "SPLIT": splits}).assign(**fixed, WIDTH=1, HEIGHT=1, BYTES=1)
    known["LABEL"] = ["NORMAL", "PNEUMONIA", "NORMAL", "NORMAL", "NORMAL", "NORMAL"]
    now = pd.Timestamp.now("UTC").tz_localize(None)
    known["SPLIT_AT"] = [now, None, None, None, now - pd.Timedelta(days=1), now + pd.Timedelta(days=1)]
    tables.append(project.session, project.catalog, known)
    row = monitoring.daily(project, 1).set_index("MODEL_VERSION").loc["V6"]
    assert (row["IMAGES"], row["WITH_TRUTH"]) == (6, 3), "test, without a split, and with one that came later"
    assert row["ACCURACY"] == pytest.approx(2 / 3)
    assert (row["SENSITIVITY"], row["SPECIFICITY"]) == (0, 1)
    counts = monitoring.counts(project, 1).query("MODEL_VERSION == 'V6'")
    assert counts.groupby("IN_TRAINING")["IMAGES"].sum().to_dict() == {False: 3, True: 3}
    assert counts.loc[counts["IN_TRAINING"], "TRUTH"].isna().all()
    for table in (project.catalog, project.predictions):
        project.session.sql(f"DELETE FROM {table} WHERE IMAGE_ID LIKE 'V6-%'").collect()

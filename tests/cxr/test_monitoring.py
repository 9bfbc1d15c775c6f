"""The views over PREDICTIONS: what a person counts by hand, and drift as the textbook's formula gives it."""

import numpy as np
import pandas as pd
import pytest

from cxr import monitoring, serving, tables


@pytest.fixture(scope="module")
def answered(account):
    """80 answers of V1 like those on validation, 40 of V2 that are all high, some refused, half with known truth."""
    session, settings = account
    for name in (settings.predictions_table, settings.catalog_table, settings.baseline_table):
        session.sql(f"DELETE FROM {settings.qualified(name)}").collect()
    rng = np.random.default_rng(0)
    validation = rng.uniform(0, 1, 200)
    frames = {"V1": rng.uniform(0, 1, 80), "V2": rng.uniform(0.9, 1, 40)}
    truth = []
    for version, scores in frames.items():
        monitoring.write_baseline(session, settings, version, validation)
        answers = pd.DataFrame({"P_PNEUMONIA": scores, "STATUS": "ok"})
        answers["LABEL"] = np.where(scores >= 0.5, "PNEUMONIA", "NORMAL")
        answers.loc[:3, ["P_PNEUMONIA", "LABEL", "STATUS"]] = [None, None, "blank: only 2 grey levels"]
        ids = [f"{version}-{number}" for number in range(len(scores))]
        for _ in range(2):  # as after a failure
            serving.write_predictions(session, settings, ids, answers, version, "REST")
        frames[version] = answers.assign(IMAGE_ID=ids)
        truth += [{"IMAGE_ID": i, "LABEL": "NORMAL"} for i in ids[::2]]
    fixed = dict(
        RELATIVE_PATH="x", SOURCE="x", SOURCE_NAME="x", PERCEPTUAL_HASH="0", PATIENT_ID="p", SPLIT="test", SPLIT_SEED=0
    )
    known = pd.DataFrame(truth).assign(**fixed, WIDTH=1, HEIGHT=1, BYTES=1, FORMAT="PNG")
    tables.append(session, settings.qualified(settings.catalog_table), known)
    yield session, settings, frames, validation
    session.sql(f"DELETE FROM {settings.qualified(settings.catalog_table)}").collect()


def test_a_day_is_counted_as_a_person_counts_it(answered):
    session, settings, frames, _ = answered
    rows = monitoring.daily(session, settings, 1).set_index("MODEL_VERSION")
    for version, answers in frames.items():
        ok = answers[answers["STATUS"] == "ok"]
        known = ok[ok["IMAGE_ID"].str.split("-").str[1].astype(int) % 2 == 0]
        row = rows.loc[version]
        assert row["IMAGES"] == len(answers) and row["WITH_TRUTH"] == len(known)
        assert row["SHARE_REFUSED"] == pytest.approx(4 / len(answers))
        assert row["SHARE_PNEUMONIA"] == pytest.approx((ok["LABEL"] == "PNEUMONIA").mean())
        assert row["MEAN_PROBABILITY"] == pytest.approx(ok["P_PNEUMONIA"].mean())
        assert row["ACCURACY"] == row["SPECIFICITY"] == pytest.approx((known["LABEL"] == "NORMAL").mean())
        assert np.isnan(row["SENSITIVITY"]), "no image is known to show pneumonia"


def test_drift_is_the_stability_index_against_validation(answered):
    session, settings, frames, validation = answered
    rows = monitoring.daily(session, settings, 1).set_index("MODEL_VERSION")["STABILITY_INDEX"]
    for version, answers in frames.items():
        after = monitoring.histogram(answers["P_PNEUMONIA"].dropna())
        assert rows[version] == pytest.approx(monitoring.stability_index(monitoring.histogram(validation), after))
    assert rows["V1"] < monitoring.LARGE < rows["V2"]
    assert (monitoring.baseline(session, settings, "V1") == monitoring.histogram(validation)).all()
    assert monitoring.baseline(session, settings, "V_UNKNOWN") is None


def test_the_counts_hold_no_image_and_add_up(answered):
    session, settings, frames, _ = answered
    counts = monitoring.counts(session, settings, 1)
    assert "IMAGE_ID" not in counts and counts["IMAGES"].sum() == sum(map(len, frames.values()))
    refused = counts[counts["STATUS"] != "ok"]
    assert set(refused["STATUS"]) == {"blank"} and refused["TENTH"].isna().all()

"""Promotion: only a version that is good enough and not worse, despite interruptions and concurrent promotions."""

import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests.trained import model_config, report_of

from cxr.account.project import Project
from cxr.lifecycle import comparison, promotion, promotion_records
from cxr.lifecycle.comparison import Comparison
from cxr.serving import scoring

NORMAL_AND = ("NORMAL", "PNEUMONIA")


@pytest.fixture
def model(account, first):
    """The registered model, with nothing in production and no record."""
    opened = scoring.open_registry(account).get_model(account.settings.model_name)
    for name in promotion.aliases(opened).values():
        for alias in [alias for alias, of in promotion.aliases(opened).items() if of == name]:
            opened.version(name).unset_alias(alias)
    account.session.sql(f"DELETE FROM {account.promotions}").collect()
    return opened


def records(project: Project) -> list[tuple]:
    rows = project.session.table(project.promotions).sort("STARTED_AT").collect()
    return [(row["FROM_VERSION"], row["TO_VERSION"], row["STATUS"]) for row in rows]


def test_promote_only_if_not_worse_and_roll_back(account, first, log, model):
    name = first[0].version_name
    assert promotion.promote(account, first[0]).promoted
    worse, better = log(seed=1, skill=1.0)[0], log(seed=2, skill=4.0)[0]
    refused = promotion.promote(account, worse)
    assert not refused.promoted and refused.difference < -0.01 and "worse on the same test patients" in refused.reason
    assert promotion.aliases(model) == {"PRODUCTION": name}
    assert promotion.promote(account, better).promoted
    expected = {"PRODUCTION": better.version_name, "PREVIOUS": name}
    assert promotion.aliases(model) == expected and model.default.version_name == better.version_name
    assert promotion.promote(account, better).reason == "it is in production already"
    assert promotion.aliases(model) == expected, "asked twice, the way back stays"
    assert promotion.roll_back(account) == name
    assert promotion.aliases(model) == {"PRODUCTION": name, "PREVIOUS": better.version_name}
    assert model.default.version_name == name
    assert {name, worse.version_name, better.version_name} <= set(model.show_versions()["name"])
    assert records(account) == [
        (None, name, "done"), (name, better.version_name, "done"), (better.version_name, name, "done"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (dict(skill=0.0), "AUROC 0."),
        (dict(skill=3.0, data={"phantoms": True, **dict.fromkeys(("images", "patients"), 1)}), "phantoms"),
        (dict(skill=3.0, profile="smoke"), "smoke run"),
    ],
)
def test_a_first_version_must_also_be_good_enough(account, model, save_run, tmp_path, changes, reason):
    run = save_run(seed=9, **changes)
    version = f"V_{run.upper()}"
    assert reason in promotion.below_the_floor(account, version)


@pytest.mark.parametrize(("patients", "enough"), [((1, 1), False), ((1, 50), False), ((5, 6), False), ((6, 6), True)])
def test_a_perfect_auroc_of_a_handful_of_patients_may_be_chance(account, monkeypatch, tmp_path, patients, enough):
    """A coin that is thrown for each of five patients is right of all in 3% of cases."""
    truth = np.repeat([1, 0], patients)
    rows = pd.DataFrame({"PATIENT_ID": np.arange(len(truth)).astype(str), "LABEL": np.array(NORMAL_AND)[truth]})
    report = {"test": report_of(rows, 2.0 * truth - 1)}
    assert report["test"]["metrics"]["auroc"] == {"value": 1.0, "interval": [1.0, 1.0]}
    model_config(data="patients").write(tmp_path / "model.json")
    (tmp_path / "evaluation.json").write_text(json.dumps(report))
    monkeypatch.setattr(promotion, "artifacts_of", lambda project, version: tmp_path)
    why = promotion.below_the_floor(account, "V_FEW")
    if enough:
        assert why is None
    else:
        assert f"{patients[0]} positive and {patients[1]} negative" in why and "at least 6 of either" in why


def test_version_in_use_says_whether_it_is_in_production(account, first, model):
    version, words = promotion.version_in_use(account)
    assert words == f"{version.version_name}, which is not in production"
    promotion.promote(account, first[0])
    assert promotion.version_in_use(account)[1] == f"{first[0].version_name}, which is in production"


class Killed(BaseException):
    """Acts as a kill: none of our code runs after it."""


@pytest.mark.parametrize("after", range(1, 5))
def test_after_a_kill_between_two_alias_changes_the_old_version_stays_and_a_worse_one_is_not_promoted(
    account, first, log, model, monkeypatch, after
):
    promotion.promote(account, first[0])
    better, worse = log(seed=2, skill=4.0)[0], log(seed=1, skill=1.0)[0]
    moves = []

    def or_die(move):
        def counted(self, *arguments):
            moves.append(move)
            if len(moves) == after:
                raise Killed
            return move(self, *arguments)

        return counted

    version_class = type(first[0])
    with monkeypatch.context() as patch, pytest.raises(Killed):
        for name in ("set_alias", "unset_alias"):
            patch.setattr(version_class, name, or_die(getattr(version_class, name)))
        patch.setattr(promotion_records, "end", or_die(promotion_records.end))
        promotion.promote(account, better)
    monkeypatch.setattr(promotion_records, "wait_for_others", lambda project: None)  # as a minute later
    decision = promotion.promote(account, worse)
    assert not decision.promoted and "worse" in decision.reason
    production = promotion.aliases(model)["PRODUCTION"]
    assert production in (first[0].version_name, better.version_name) and decision.production == production
    assert model.default.version_name == production
    assert records(account)[-1][2] in ("done", "broken off")


def started_hours_ago(project: Project, hours: int) -> None:
    project.session.sql(
        f"""INSERT INTO {project.promotions} (PROMOTION_ID, STARTED_AT, MODEL_NAME, TO_VERSION, STATUS)
        SELECT 'other', DATEADD('hour', ?, SYSDATE()), ?, 'V_OTHER', 'started'""",
        params=[-hours, project.settings.model_name],
    ).collect()


@pytest.mark.parametrize("hours", [-9, 0, 9])
def test_only_a_promotion_of_this_minute_is_waited_for_and_it_is_said(account, model, monkeypatch, caplog, hours):
    """An earlier version wrote the time of its session's zone: hours ahead of UTC in Berlin, behind in Los Angeles."""
    started_hours_ago(account, hours)
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            promotion_records.end(account, "other", "done")

    # Not time.sleep itself, which other threads use too.
    monkeypatch.setattr(promotion_records, "time", SimpleNamespace(sleep=sleep))
    promotion_records.wait_for_others(account)
    said = ["the promotion of V_OTHER is in progress: waiting, at most 60 s"]
    assert (len(waits), caplog.messages) == ((0, []) if hours else (2, said))


def test_a_promotion_starts_in_utc_whatever_the_table_was_made_with(account, model):
    """A table keeps the default that it was created with, in the session's zone."""
    own = Project(account.session, replace(account.settings, promotions_table="EARLIER"))
    account.session.sql(f"""CREATE TEMPORARY TABLE {own.promotions} (PROMOTION_ID STRING,
        STARTED_AT TIMESTAMP_NTZ DEFAULT DATEADD('hour', 9, SYSDATE()), MODEL_NAME STRING, FROM_VERSION STRING,
        TO_VERSION STRING, STATUS STRING, REASON STRING)""").collect()
    assert promotion_records.begin(own, None, "V", "a test")
    ago = account.session.sql(f"SELECT DATEDIFF('second', STARTED_AT, SYSDATE()) FROM {own.promotions}").collect()
    account.session.sql(f"DROP TABLE {own.promotions}").collect()
    assert 0 <= ago[0][0] < 60


def test_a_missing_alias_is_restored_from_the_record(account, first, log, model):
    promotion.promote(account, first[0])
    model.version(first[0].version_name).unset_alias("PRODUCTION")
    worse = log(seed=1, skill=1.0)[0]
    assert not promotion.promote(account, worse).promoted
    assert promotion.aliases(model) == {"PRODUCTION": first[0].version_name}


def test_of_two_concurrent_promotions_one_waits_or_gives_way_and_alias_and_default_agree(account, first, log, model):
    candidates = [log(seed=2, skill=4.0)[0], log(seed=3, skill=6.0)[0]]
    promotion.promote(account, first[0])
    decisions = []
    threads = [threading.Thread(target=lambda c=c: decisions.append(promotion.promote(account, c))) for c in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    production = promotion.aliases(model)["PRODUCTION"]
    assert model.default.version_name == production and len(decisions) == 2
    assert production in {c.version_name for c in candidates}


@pytest.mark.parametrize(
    ("difference", "interval", "worse", "promoted"),
    [
        (-0.005, (-0.009, -0.001), True, False),  # a little, and surely
        (-0.02, (-0.10, 0.06), False, False),  # more than the margin, however unsure
        (-0.009, (-0.10, 0.08), False, True),
    ],
)
def test_what_counts_as_not_worse(account, first, log, model, monkeypatch, difference, interval, worse, promoted):
    promotion.promote(account, first[0])
    candidate = log(seed=1, skill=1.0)[0]
    found = [Comparison("AUROC", 0.1, (0.0, 0.2), False), Comparison("macro AUROC", difference, interval, worse)]
    monkeypatch.setattr(promotion, "compare", lambda *_: found)
    assert promotion.promote(account, candidate).promoted == promoted


def test_too_few_images_to_compare_give_a_reason_instead_of_a_comparison(account, rows, monkeypatch):
    scored = rows[["IMAGE_ID"]].assign(P_POSITIVE=np.linspace(0, 1, len(rows)))
    kept = {"V_OLD": scored}
    monkeypatch.setattr(comparison, "kept_scores", lambda project, version: kept.get(version))
    monkeypatch.setattr(comparison, "read_labels", lambda project, version: NORMAL_AND)
    for candidate, reason in (
        (None, "V_NEW left no scores"),
        (scored.head(3), "only 3 test images have a score of both V_NEW and V_OLD: 4 are needed"),
        (scored[rows["LABEL"] == "NORMAL"], "of one class"),
    ):
        kept["V_NEW"] = candidate
        assert reason in comparison.compare(account, None, "V_NEW", "V_OLD")
    kept["V_NEW"] = scored.groupby(rows["LABEL"]).head(2)
    (found,) = comparison.compare(account, None, "V_NEW", "V_OLD")
    assert found.metric == "AUROC", "4 are enough"


def test_production_scores_the_images_of_which_it_kept_no_score(account, rows, monkeypatch):
    """A pilot's four test images are among those of today, and on four images both versions are perfect."""
    truth = (rows["LABEL"] == "PNEUMONIA").astype(float)
    scored = rows[["IMAGE_ID"]].assign(P_POSITIVE=truth)
    few = scored.groupby(rows["LABEL"]).head(2)
    kept = {"V_NEW": scored.assign(P_POSITIVE=truth.where(scored.index.isin(few.index), 1 - truth)), "V_OLD": few}
    monkeypatch.setattr(comparison, "kept_scores", lambda project, version: kept[version])
    monkeypatch.setattr(comparison, "read_labels", lambda project, version: NORMAL_AND)
    asked = []

    def ask(project, model, version, images):
        asked.extend(images["IMAGE_ID"])
        return scored[scored["IMAGE_ID"].isin(images["IMAGE_ID"])]

    monkeypatch.setattr(comparison, "ask", ask)
    (found,) = comparison.compare(account, None, "V_NEW", "V_OLD")
    assert found.worse and found.difference < -0.5
    assert sorted(asked) == sorted(set(rows["IMAGE_ID"]) - set(few["IMAGE_ID"]))


def test_versions_with_different_classes_are_compared_only_on_request(account, rows, monkeypatch):
    scored = rows[["IMAGE_ID"]].assign(P_POSITIVE=np.linspace(0, 1, len(rows)))
    monkeypatch.setattr(comparison, "kept_scores", lambda project, version: scored)
    classes = {"V_NEW": NORMAL_AND, "V_OLD": ("NORMAL", "BACTERIA", "VIRUS")}
    monkeypatch.setattr(comparison, "read_labels", lambda project, version: classes[version])
    assert "has the classes NORMAL, PNEUMONIA" in comparison.compare(account, None, "V_NEW", "V_OLD")
    (found,) = comparison.compare(account, None, "V_NEW", "V_OLD", across_labels=True)
    assert found.metric == "AUROC" and found.difference == 0


def test_a_class_without_a_test_image_is_a_reason_and_no_silent_pass(account, rows, monkeypatch):
    """The macro AUROC is undefined then, and nothing is below an undefined number."""
    classes = (*NORMAL_AND, "VIRUS")
    texts = [json.dumps(dict.fromkeys(classes, 1 / 3))] * len(rows)
    scored = rows[["IMAGE_ID"]].assign(P_POSITIVE=np.linspace(0, 1, len(rows)), PROBABILITIES=texts)
    monkeypatch.setattr(comparison, "kept_scores", lambda project, version: scored)
    monkeypatch.setattr(comparison, "read_labels", lambda project, version: classes)
    found = comparison.compare(account, None, "V_NEW", "V_OLD")
    assert "VIRUS" in found and "macro AUROC cannot be compared" in found
    (found,) = comparison.compare(account, None, "V_NEW", "V_OLD", across_labels=True)
    assert found.metric == "AUROC" and found.difference == 0


def test_production_without_scores_of_these_images_scores_them(account, rows, first, log, model, monkeypatch):
    """As after training on other images: without a comparison, production could never be replaced."""
    promotion.promote(account, first[0])
    asked = []

    def ask(version, files):
        """The model rejects the first image."""
        asked.append(files)
        answers = scoring.score(version, files)
        answers.loc[0, ["P_POSITIVE", "LABEL", "STATUS", "PROBABILITIES"]] = [
            None,
            None,
            "blank: few grey levels",
            None,
        ]
        return answers

    monkeypatch.setattr(comparison, "score", ask)
    kept = comparison.kept_scores
    elsewhere = pd.DataFrame({"IMAGE_ID": ["of another set"], "P_POSITIVE": [0.5], "PROBABILITIES": ["{}"]})
    monkeypatch.setattr(
        comparison, "kept_scores", lambda *given: elsewhere if given[1] == first[0].version_name else kept(*given)
    )
    decision = promotion.promote(account, log(seed=3, skill=6.0)[0])
    assert decision.promoted and decision.difference > 0 and len(asked[0]) == len(rows)


def test_images_to_score_again_are_read_a_few_at_a_time(account, rows, first, model, monkeypatch):
    """A thousand uncompressed DICOM files are 15 GB."""
    sizes = []

    def score(version, files):
        sizes.append(len(files))
        return scoring.score(version, files)

    monkeypatch.setattr(comparison, "score", score)
    monkeypatch.setattr(comparison, "ROWS_PER_CALL", 8)
    name = first[0].version_name
    small = comparison.ask(account, model, name, rows)
    assert sizes == [8, 8, 8, 6] and list(small["IMAGE_ID"]) == list(rows["IMAGE_ID"])
    sizes.clear()
    large = comparison.ask(account, model, name, rows.assign(BYTES=comparison.BYTES_PER_CALL // 2))
    assert max(sizes) == 2 and large.equals(small)


def test_the_setting_least_auroc_raises_the_floor(account, first):
    strict = Project(account.session, replace(account.settings, least_auroc=1.1))
    assert "1.10" in promotion.below_the_floor(strict, first[0].version_name)


@pytest.mark.parametrize(
    ("now", "before", "images_of_a_patient", "worse"),
    [
        ((6, 0), (3, 0), 1, []),  # twice as many are allowed
        ((7, 0), (3, 0), 1, ["share uncertain"]),
        ((0, 7), (0, 3), 1, ["share unlike training"]),
        ((2, 1), (0, 0), 1, []),  # so few of 30 images may be chance
        ((0, 6), (0, 0), 1, ["share unlike training"]),
        ((0, 6), (0, 0), 6, []),  # one patient of five
    ],
)
def test_neither_share_without_a_decision_may_double(
    account, rows, monkeypatch, now, before, images_of_a_patient, worse
):
    def scores(uncertain, unlike):
        zones = ["uncertain"] * uncertain + ["unlike"] * unlike
        zones += ["rule_in"] * (len(rows) - len(zones))
        return rows[["IMAGE_ID"]].assign(P_POSITIVE=np.linspace(0, 1, len(rows)), TRIAGE=zones)

    patients = [f"p{number // images_of_a_patient}" for number in range(len(rows))]
    monkeypatch.setattr(comparison, "read_catalog", lambda project: rows.assign(PATIENT_ID=patients))
    kept = {"V_NEW": scores(*now), "V_OLD": scores(*before)}
    monkeypatch.setattr(comparison, "kept_scores", lambda project, version: kept[version])
    monkeypatch.setattr(comparison, "read_labels", lambda project, version: NORMAL_AND)
    found = comparison.compare(account, None, "V_NEW", "V_OLD")
    assert [each.metric for each in found if each.worse] == worse and len(found) == 3
    kept["V_OLD"] = kept["V_OLD"].drop(columns="TRIAGE")
    assert len(comparison.compare(account, None, "V_NEW", "V_OLD")) == 1, "a version of before triage has no shares"

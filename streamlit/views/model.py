"""Model: the versions, their quality, and sensitivity and specificity at other thresholds."""

import altair as alt
import app_account
import app_labels
import app_pictures
import app_runs
import app_tables
import numpy as np
import pandas as pd
import streamlit as st
from app_common import Choice, choose_model, chosen, forget_choice, fragment, inert, plain, typed
from app_scoring import MOST, score_rows

from cxr.evaluation.bootstrap import bootstrap, paired_bootstrap, roc_band
from cxr.evaluation.intervals import words_of
from cxr.evaluation.metrics import measure, reliability
from cxr.model.labelset import LabelSet

NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "accuracy": "Accuracy",
    "ece": "Calibration error (ECE)",
}
SETS = {
    "validation": "validation images",
    "validation_shifted": "validation images as another hospital might take them",
    "test": "test images",
}
RESAMPLES = 400  # bootstrap; enough for the two digits shown
NONE = "none"


def main() -> None:
    st.title("Model")
    choice = choose_model()
    versions = app_account.versions()
    name = choice.version.name
    others = [NONE, *(each for each in versions if each != name)]
    other = chosen("against", others, NONE, lambda key, options: st.selectbox("Compare with", options, key=key))
    shown = [name] + ([other] if other != NONE else [])
    _versions(versions)
    _card(choice.version)
    _measured(shown)
    images = chosen(
        "scores",
        list(SETS),
        "validation",
        lambda key, options: st.radio("Curves of", options, key=key, horizontal=True, format_func=SETS.get),
    )
    if app_runs.evaluation(name) is None and images in ("validation", "test"):
        _offer_scoring(choice, app_runs.recorded_scores(name, images), images)
    parts = {each: part for each in shown if (part := _part(each, images))}
    if parts:
        _curves(parts)
    if len(parts) == 2 and images in ("validation", "test"):
        _compare(*shown, images)
    if images == "test":
        st.caption("Look for another threshold on validation images: test images are for measuring only.")
    elif "scores" in parts.get(name, {}):
        if st.session_state.setdefault("threshold-of", name) != name:
            forget_choice("threshold")
            st.session_state["threshold-of"] = name
        _explorer(parts[name]["scores"], choice.version, images)


def _part(name: str, images: str) -> dict | None:
    """ROC, reliability and, for validation images, scores: from the training run, else from the predictions table.

    As :func:`cxr.evaluation.report.evaluate` gives them; None where there are none.
    """
    report = app_runs.evaluation(name)
    if report is not None:
        return report.get(images)
    rows = app_runs.recorded_scores(name, images)
    if len(set(_truth(rows))) < 2:
        return None
    truth, probabilities, patients = _truth(rows), rows["P_POSITIVE"].to_numpy(dtype=float), rows["PATIENT_ID"]
    observed, predicted = reliability(truth, probabilities)
    return {
        "roc": roc_band(truth, probabilities, patients.to_numpy()),
        "reliability": {"after_temperature": {"observed": observed, "predicted": predicted}},
        "scores": {"labels": truth, "probabilities": probabilities, "patients": patients},
    }


def _versions(versions: dict[str, app_account.Version]) -> None:
    st.header("Versions")
    titles = {key: NAMES[key] for key in ("auroc", "sensitivity", "specificity")} | {"ece": "ECE"}
    table = pd.DataFrame(
        [
            {"Version": v.name, "In production": v.production, "Default": v.default}
            | {title: v.metrics.get(f"test_{key}") for key, title in titles.items()}
            | {"Threshold": v.threshold, "Registered": v.created}
            for v in versions.values()
        ]
    )
    columns = {title: st.column_config.NumberColumn(format="%.3f") for title in ("Threshold", *titles.values())}
    columns["Registered"] = st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm")
    app_tables.show(table, column_config=columns)
    st.caption("Measured on the test patients of each version's own training run. ECE: expected calibration error.")


def _card(version: app_account.Version) -> None:
    st.header(f"Card of {plain(version.name)}")
    st.markdown(inert(version.comment) or "This version was registered without a model card.")


def _measured(shown: list[str]) -> None:
    """The metrics of the training runs, with intervals, side by side."""
    reports = {name: app_runs.evaluation(name) for name in shown}
    tests = {name: report["test"] for name, report in reports.items() if report}
    for name in set(shown) - set(tests):
        st.caption(f"The artifacts of {name}'s training run are gone from the stage: no intervals can be shown.")
    if not tests:
        return
    parts = {
        "validation_shifted": "Validation images changed like another hospital's",
        "test": "Test patients of the same source",
    }
    for part, title in parts.items():
        figures = {
            name: {NAMES[key]: words_of(report[part]["metrics"][key]) for key in NAMES}
            for name, report in reports.items()
            if report and part in report
        }
        if figures:
            st.table(pd.DataFrame(figures).rename_axis(f"{title}, 95% interval"))
    st.caption(
        "Test patients come from the same source as the training images. At another hospital, expect the figures on "
        "changed images, or lower ones."
    )
    for name, test in tests.items():
        labels = app_runs.labels(name)
        if len(labels) > 2:
            st.caption(f"{plain(name)}: the figures above answer the screening question, {_screening(labels)}.")
        if "by_class" in test:
            _by_class(name, test["by_class"])
    lines = [
        f"{name}: {plain(group['value'])} {_percent(group['sensitivity']['value'])} of {group['images']}"
        for name, test in tests.items()
        for group in test.get("subgroups", ())
        if group["column"] == "CAUSE"
    ]
    if lines:
        st.caption("Sensitivity by cause. " + "; ".join(lines) + ".")


def _screening(labels: LabelSet) -> str:
    return f"{plain(app_labels.finding(labels))} against {plain(labels.negative)}"


def _by_class(name: str, found: dict) -> None:
    """Metrics of each class and the confusion matrix, on the test patients of the version's own run."""
    rows = found["classes"]
    st.header(f"Classes of {plain(name)}")
    left, right = st.columns(2)
    with left:
        table = pd.DataFrame(
            {
                "Images": [row["images"] for row in rows],
                "AUROC against the rest": [words_of(row["auroc"]) for row in rows],
                "Sensitivity": [words_of(row["sensitivity"]) for row in rows],
            },
            index=[plain(row["class"]) for row in rows],
        )
        st.table(table.rename_axis("Test patients, 95% interval"))
        st.caption(
            f"Macro AUROC {words_of(found['macro_auroc'])}; accuracy over all classes {words_of(found['accuracy'])}."
        )
    with right:
        names = [row["class"] for row in rows]
        st.altair_chart(app_pictures.confusion(pd.DataFrame(found["confusion_matrix"], index=names, columns=names)))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _offer_scoring(choice: Choice, scored: pd.DataFrame, split: str) -> None:
    if changed := st.session_state.pop("changed-files", 0):
        st.error(app_labels.changed_files(changed), icon=":material/block:")
    rows = app_account.catalog_or_empty()
    mine = (rows["SPLIT"] == split) & rows["LABEL"].notna()
    if not app_account.settings().include_set_aside:
        mine &= rows["SET_ASIDE"].isna()
    answered = rows["IMAGE_ID"].isin(app_runs.answered_images(choice.version.name, split))
    left = rows[mine & ~answered]
    refused = int((mine & answered & ~rows["IMAGE_ID"].isin(scored["IMAGE_ID"])).sum())
    total = len(left) + len(scored) + refused
    if not total:
        st.info(f"The catalog has no {split} image. Run `notebooks/02_data_ingest.ipynb`.")
    if len(scored) == total:
        return
    st.info(
        f"{choice.version.name} has scored {len(scored):,} of the {total:,} {split} images"
        + (f", and gave no prediction for {refused:,} others" if refused else "")
        + ". The curves and figures below use only these.",
        icon=":material/info:",
    )
    if left.empty:
        return
    part = left.head(MOST)
    those = f"the other {len(left):,}" if len(part) == len(left) else f"{len(part):,} of the other {len(left):,}"
    if st.button(f"Score {those}", type="primary"):
        bar = st.progress(0.0, "Starting")
        found = score_rows(part, choice, bar.progress)
        st.session_state["changed-files"] = int((found["STATUS"] == app_labels.CHANGED).sum())
        st.rerun()


def _truth(rows: pd.DataFrame) -> np.ndarray:
    """1 for each label that is not the catalog's negative class, else 0: int [N]."""
    known = app_account.label_set()
    return (rows["LABEL"] != known.negative).to_numpy().astype(int) if known else np.zeros(len(rows), int)


def _curves(parts: dict[str, dict]) -> None:
    roc, shares, points = [], [], []
    for name, part in parts.items():
        roc.append(pd.DataFrame(part["roc"]).assign(version=name))
        shares.append(pd.DataFrame(part["reliability"]["after_temperature"]).assign(version=name))
        at = {metric: found["value"] for metric, found in part.get("metrics", {}).items()}
        if None not in (at.get("specificity"), at.get("sensitivity")):  # undefined without images of a class
            here = {"false_positive_rate": 1 - at["specificity"], "sensitivity": at["sensitivity"]}
            points.append(here | {"version": name})
    left, right = st.columns(2)
    with left:
        st.header("ROC")
        st.altair_chart(app_pictures.roc(pd.concat(roc), pd.DataFrame(points)))
        st.caption("With its 95% band" + ("; the dot is the registered threshold." if points else "."))
    with right:
        st.header("Reliability")
        st.altair_chart(app_pictures.reliability(pd.concat(shares)))
        st.caption("On the dotted line, 80 of 100 images with a probability of 80% are positive.")


def _compare(name: str, other: str, split: str) -> None:
    """Compare the AUROC of two versions on the images that both have scored."""
    first, second = (_scored(each, split) for each in (name, other))
    both = first.merge(second[["IMAGE_ID", "P_POSITIVE"]], on="IMAGE_ID", suffixes=("", "_OTHER"))
    if len(set(_truth(both))) < 2:
        return
    found = paired_bootstrap(
        _truth(both),
        both["P_POSITIVE"].to_numpy(dtype=float),
        both["P_POSITIVE_OTHER"].to_numpy(dtype=float),
        both["PATIENT_ID"].to_numpy(),
        RESAMPLES,
    )
    low, high = found["interval"]
    what = "AUROC" if all(len(app_runs.labels(each)) == 2 for each in (name, other)) else "screening AUROC"
    verdict = "better" if low > 0 else "worse" if high < 0 else "the difference may be chance"
    st.markdown(
        f"On the {len(both):,} {split} images that both have scored, the {what} of {name} minus that of {other} is "
        f"**{found['difference']:+.3f}** (95% interval {low:+.3f} to {high:+.3f}): {verdict}."
    )


def _scored(name: str, split: str) -> pd.DataFrame:
    rows = app_runs.run_scores(name, split)
    return app_runs.recorded_scores(name, split) if rows is None else rows


@fragment
def _explorer(scores: dict[str, list], version: app_account.Version, images: str) -> None:
    st.header("Another threshold")
    labels, default = app_runs.labels(version.name), version.threshold
    registered = round(100 * default, 1)
    percent = typed(
        "threshold",
        registered,
        lambda key: st.slider("Threshold", 0.0, 100.0, step=0.1, format="%.1f%%", key=key),
        within=(0, 100),
    )
    threshold = default if percent == registered else percent / 100
    truth, probabilities, patients = (np.asarray(scores[key]) for key in ("labels", "probabilities", "patients"))
    values = measure(truth, probabilities, threshold)
    ranges = bootstrap(truth, probabilities, patients, threshold, RESAMPLES)
    with st.container(horizontal=True):
        for key in ("sensitivity", "specificity", "ppv", "npv"):
            with st.container(width=180):
                defined = not np.isnan(values[key])
                st.metric(NAMES[key], f"{values[key]:.1%}" if defined else "-")
                if defined:
                    st.caption("95% interval {:.1%} to {:.1%}".format(*ranges[key]))
    left, right = st.columns(2)
    left.altair_chart(app_pictures.confusion(_counts(truth, probabilities, threshold, version.name, images)))
    right.altair_chart(_trade(truth, probabilities, threshold))
    screening = f" Of {_screening(labels)}." if len(labels) > 2 else ""
    st.caption(
        f"{len(truth):,} {SETS[images]}.{screening} The registered threshold of {default:.1%} does not change: "
        "`notebooks/03_train.ipynb` chooses it."
    )


def _counts(truth: np.ndarray, probabilities: np.ndarray, threshold: float, name: str, images: str) -> pd.DataFrame:
    """Truth against prediction over all classes, or, where only the screening question is stored, over its two."""
    labels = app_runs.labels(name)
    if len(labels) > 2 and images != "validation_shifted":
        rows = _scored(name, images)
        shares = rows["PROBABILITIES"].map(app_labels.read_probabilities)
        if len(rows) and shares.map(bool).all():
            called = [
                app_labels.choose_class(each, positive, threshold, labels)
                for each, positive in zip(shares, rows["P_POSITIVE"], strict=True)
            ]
            return app_pictures.count(rows["LABEL"], called, app_labels.all_names(labels, rows["LABEL"]))
    names = np.array([labels.negative, app_labels.finding(labels)], dtype=object)
    return app_pictures.count(names[truth], names[(probabilities >= threshold).astype(int)], names)


def _trade(truth: np.ndarray, probabilities: np.ndarray, threshold: float) -> alt.LayerChart:
    grid = np.linspace(0, 1, 101)
    lines = [
        {"threshold": at, "share": share, "of": name}
        for at in grid
        for name, share in (
            ("sensitivity", (probabilities[truth == 1] >= at).mean()),
            ("specificity", (probabilities[truth == 0] < at).mean()),
        )
    ]
    colours = alt.Scale(domain=["sensitivity", "specificity"], range=[app_pictures.ORANGE, app_pictures.BLUE])
    chart = (
        alt.Chart(pd.DataFrame(lines))
        .mark_line()
        .encode(
            x=alt.X("threshold:Q", axis=alt.Axis(format="%")),
            y=alt.Y("share:Q", title=None, axis=alt.Axis(format="%")),
            color=alt.Color("of:N", title=None, scale=colours, legend=alt.Legend(orient="bottom")),
            strokeDash=alt.StrokeDash("of:N", legend=None),
        )
    )
    rule = alt.Chart(pd.DataFrame({"threshold": [threshold]})).mark_rule(color=app_pictures.GREY, strokeWidth=2)
    return alt.layer(chart, rule.encode(x="threshold:Q")).properties(height=220)


main()

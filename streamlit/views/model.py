"""Model: which versions there are, how good they are, and what another threshold would trade."""

import altair as alt
import app_account
import app_pictures
import numpy as np
import pandas as pd
import streamlit as st
from app_common import Choice, choose_model, chosen, forget_choice, fragment, plain, typed
from app_scoring import score_rows
from sklearn.metrics import roc_curve

from cxr import evaluation

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
RESAMPLES = 400  # bootstrap; enough for the two digits shown
NONE = "none"


def main() -> None:
    st.title("Model")
    choice = choose_model()
    versions = app_account.versions()
    others = [NONE, *(name for name in versions if name != choice.version.name)]
    other = chosen("against", others, NONE, lambda key, options: st.selectbox("Compare with", options, key=key))
    shown = [choice.version.name] + ([other] if other != NONE else [])
    _versions(versions)
    _card(choice.version)
    _measured(shown)
    split = chosen(
        "scores",
        ["validation", "test"],
        "validation",
        lambda key, options: st.radio(
            "Scores of", options, key=key, horizontal=True, format_func=lambda name: f"{name} images"
        ),
    )
    scores = {name: app_account.run_scores(name, split) for name in shown}
    own = scores[choice.version.name] is not None
    for name in [name for name, rows in scores.items() if rows is None]:
        scores[name] = app_account.recorded_scores(name, split)
    if own:
        st.caption(f"As the training run of {choice.version.name} scored them.")
    else:
        _offer_scoring(choice, scores[choice.version.name], split)
    usable = {name: rows for name, rows in scores.items() if rows["LABEL"].nunique() == 2}
    if usable:
        _curves(usable)
    if len(usable) == 2:
        _compare(*usable.items(), split)
    if choice.version.name in usable:
        if st.session_state.setdefault("threshold-of", choice.version.name) != choice.version.name:
            forget_choice("threshold")
            st.session_state["threshold-of"] = choice.version.name
        _explorer(usable[choice.version.name], choice.version.threshold, split)


def _versions(versions: dict[str, app_account.Version]) -> None:
    st.subheader("Versions")
    table = pd.DataFrame(
        [
            {"Version": v.name, "Default": v.default, "Registered": v.created, "Threshold": v.threshold}
            | {title: v.metrics.get(f"test_{key}") for key, title in NAMES.items()}
            for v in versions.values()
        ]
    )
    numbers = {title: st.column_config.NumberColumn(format="%.3f") for title in ("Threshold", *NAMES.values())}
    st.dataframe(table, hide_index=True, column_config=numbers)
    st.caption("Measured on the test patients of each version's own training run.")


def _card(version: app_account.Version) -> None:
    st.subheader(f"Card of {version.name}")
    st.text(version.comment or "This version was registered without a description.")


def _measured(shown: list[str]) -> None:
    """The training run's own figures, with intervals, side by side."""
    reports = {name: app_account.evaluation(name) for name in shown}
    known = {name: report["test"]["metrics"] for name, report in reports.items() if report}
    for name in set(shown) - set(known):
        st.caption(f"The training run of {name} is not on the stage: no intervals.")
    if known:
        table = pd.DataFrame({name: {NAMES[key]: _interval(m[key]) for key in NAMES} for name, m in known.items()})
        st.table(table.rename_axis("Test patients, 95% interval"))
    lines = [
        f"{name}: {plain(group['value'])} {group['sensitivity']['value']:.0%} of {group['images']}"
        for name, report in reports.items()
        for group in (report["test"].get("subgroups", ()) if report else ())
        if group["column"] == "CAUSE"
    ]
    if lines:
        st.caption("Sensitivity by cause. " + "; ".join(lines) + ".")


def _interval(metric: dict) -> str:
    low, high = metric["interval"] or (None, None)
    return f"{metric['value']:.3f}" + (f" ({low:.3f} to {high:.3f})" if low is not None else "")


def _offer_scoring(choice: Choice, scored: pd.DataFrame, split: str) -> None:
    rows = app_account.catalog_or_empty()
    left = rows[(rows["SPLIT"] == split) & ~rows["IMAGE_ID"].isin(scored["IMAGE_ID"])]
    total = len(left) + len(scored)
    if not total:
        st.info(f"The catalog holds no {split} image. Run `notebooks/02_data_ingest.ipynb`.")
    if left.empty:
        return
    st.info(
        f"{choice.version.name} has scored {len(scored):,} of the {total:,} {split} images. The curves and the "
        "threshold explorer below use what is scored.",
        icon=":material/info:",
    )
    if st.button(f"Score the other {len(left):,}", type="primary"):
        bar = st.progress(0.0, "Starting")
        score_rows(left, choice, bar.progress)
        st.rerun()


def _truth(rows: pd.DataFrame) -> np.ndarray:
    return (rows["LABEL"] == "PNEUMONIA").to_numpy().astype(int)


def _curves(scores: dict[str, pd.DataFrame]) -> None:
    roc, calibration = [], []
    for name, rows in scores.items():
        truth, probabilities = _truth(rows), rows["P_PNEUMONIA"].to_numpy(dtype=float)
        false_alarms, sensitivity, _ = roc_curve(truth, probabilities)
        roc += [
            {"x": x, "y": y, "order": i, "version": name}
            for i, (x, y) in enumerate(zip(false_alarms, sensitivity, strict=True))
        ]
        observed, predicted = evaluation.reliability(truth, probabilities)
        calibration += [{"x": x, "y": y, "order": x, "version": name} for x, y in zip(predicted, observed, strict=True)]
    left, right = st.columns(2)
    with left:
        st.subheader("ROC")
        st.altair_chart(_square(pd.DataFrame(roc), "1 - specificity", "sensitivity", points=False))
    with right:
        st.subheader("Reliability")
        st.altair_chart(_square(pd.DataFrame(calibration), "predicted probability", "observed share", points=True))


def _compare(one: tuple[str, pd.DataFrame], other: tuple[str, pd.DataFrame], split: str) -> None:
    """Which of two versions tells the classes apart better, on the images that both have scored."""
    both = one[1].merge(other[1][["IMAGE_ID", "P_PNEUMONIA"]], on="IMAGE_ID", suffixes=("", "_OTHER"))
    if both["LABEL"].nunique() < 2:
        return
    found = evaluation.paired_bootstrap(
        _truth(both),
        both["P_PNEUMONIA"].to_numpy(dtype=float),
        both["P_PNEUMONIA_OTHER"].to_numpy(dtype=float),
        both["PATIENT_ID"].to_numpy(),
        RESAMPLES,
    )
    low, high = found["interval"]
    verdict = "better" if low > 0 else "worse" if high < 0 else "neither better nor worse than chance allows"
    st.markdown(
        f"On {len(both):,} {split} images the AUROC of {one[0]} less that of {other[0]} is "
        f"**{found['difference']:+.3f}** (95% interval {low:+.3f} to {high:+.3f}): {verdict}."
    )


def _square(rows: pd.DataFrame, x: str, y: str, points: bool) -> alt.LayerChart:
    unit = alt.Scale(domain=[0, 1])
    colour = alt.Color(
        "version:N",
        title=None,
        scale=alt.Scale(range=app_pictures.OKABE_ITO),
        legend=alt.Legend(orient="bottom", labelLimit=0),
    )
    lines = (
        alt.Chart(rows)
        .mark_line(point=points, clip=True)
        .encode(
            x=alt.X("x:Q", title=x, scale=unit),
            y=alt.Y("y:Q", title=y, scale=unit),
            order="order:Q",
            color=colour,
            strokeDash=alt.StrokeDash("version:N", legend=None),
        )
    )
    diagonal = pd.DataFrame({"x": [0, 1], "y": [0, 1]})
    chance = alt.Chart(diagonal).mark_line(strokeDash=[2, 3], color=app_pictures.GREY).encode(x="x:Q", y="y:Q")
    return alt.layer(chance, lines).properties(height=340)


@fragment
def _explorer(rows: pd.DataFrame, default: float, split: str) -> None:
    st.subheader("Another threshold")
    registered = round(100 * default, 1)
    percent = typed(
        "threshold",
        registered,
        lambda key: st.slider("Threshold", 0.0, 100.0, step=0.1, format="%.1f%%", key=key),
        within=(0, 100),
    )
    threshold = default if percent == registered else percent / 100
    truth, probabilities = _truth(rows), rows["P_PNEUMONIA"].to_numpy(dtype=float)
    values = evaluation.measure(truth, probabilities, threshold)
    ranges = evaluation.bootstrap(truth, probabilities, rows["PATIENT_ID"].to_numpy(), threshold, RESAMPLES)
    for column, key in zip(st.columns(4), ("sensitivity", "specificity", "ppv", "npv"), strict=True):
        with column:
            defined = not np.isnan(values[key])
            st.metric(NAMES[key], f"{values[key]:.1%}" if defined else "-")
            if defined:
                st.caption(f"95% interval {ranges[key][0]:.1%} to {ranges[key][1]:.1%}")
    called = pd.Series(np.where(probabilities >= threshold, "PNEUMONIA", "NORMAL"), index=rows.index)
    left, right = st.columns(2)
    left.altair_chart(app_pictures.confusion(rows["LABEL"], called, ("NORMAL", "PNEUMONIA")))
    right.altair_chart(_trade(truth, probabilities, threshold))
    st.caption(
        f"{len(rows):,} {split} images. The registered threshold of {default:.1%} stays as it is; "
        "`notebooks/03_train.ipynb` chooses it."
    )


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

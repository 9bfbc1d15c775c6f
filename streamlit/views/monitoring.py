"""Monitoring: volume, fraction predicted positive, drift, accuracy where the truth is known, rejected images."""

import altair as alt
import app_account
import app_labels
import app_pictures
import app_runs
import app_tables
import pandas as pd
import streamlit as st
from app_common import chosen, with_place

from cxr.model.zones import UNCERTAIN
from cxr.serving import monitoring

WINDOWS = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "a year"}
POSITIVE = "Any class but the negative one of the version that answered"
DRIFT_LEVELS = ((monitoring.LARGE, "large"), (monitoring.SMALL, "moderate"), (0.0, "small"))


def main() -> None:
    st.title("Monitoring")
    versions = app_account.versions()
    with st.container(horizontal=True):
        days = int(
            chosen(
                "days",
                list(WINDOWS),
                "30",
                lambda key, options: st.selectbox("Last", options, key=key, format_func=WINDOWS.get),
            )
        )
        places = {"all": "all"} | {name: with_place(version) for name, version in versions.items()}
        name = chosen(
            "of",
            list(places),
            "all",
            lambda key, options: st.selectbox("Version", options, key=key, format_func=places.get),
        )
    counts, daily = _recent(days)
    if name != "all":
        counts, daily = (rows[rows["MODEL_VERSION"] == name] for rows in (counts, daily))
    if counts.empty:
        st.info(
            "Nothing was scored in this time. Open a study, score a worklist, or run `notebooks/05_deploy.ipynb`.",
            icon=":material/info:",
        )
    else:
        once = counts[counts["COUNTED"].eq(True)] if "COUNTED" in counts else counts  # views of before an upgrade
        _volume(once, counts)
        _positive_rate(once)
        _drift(daily)
        _truth(once, daily)
    _rejected(counts, _rejected_files(days))


@st.cache_data(ttl=60, show_spinner=False)
def _recent(days: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The monitoring views. Their rows are counts over many images, so all viewers may share them."""
    project = app_account.project()
    return _with_signs(monitoring.counts(project, days)), monitoring.daily(project, days)


def _with_signs(counts: pd.DataFrame) -> pd.DataFrame:
    """POSITIVE and TRULY_POSITIVE as bool, also where the views do not know a version's negative class."""
    unknown = counts.loc[counts["LABEL"].notna() & counts["POSITIVE"].isna(), "MODEL_VERSION"].unique()
    negative = counts["MODEL_VERSION"].map({name: app_runs.labels(name).negative for name in unknown})
    for sign, label in (("POSITIVE", "LABEL"), ("TRULY_POSITIVE", "TRUTH")):
        otherwise = counts[label].notna() & (counts[label] != negative)
        counts[sign] = counts[sign].where(counts[sign].notna(), otherwise).astype(bool)
    return counts


@st.cache_data(ttl=60, show_spinner=False)
def _rejected_files(days: int) -> pd.DataFrame:
    known = app_account.settings()
    return (
        app_account.ready_session()
        .sql(
            f"""
            SELECT TO_DATE(REJECTED_AT) AS DAY, REASON, COUNT(*) AS IMAGES
            FROM {known.qualified(known.rejected_table)}
            WHERE REJECTED_AT >= DATEADD(day, ?, TO_DATE(SYSDATE()))
            GROUP BY ALL
            """,
            params=[-days],
        )
        .to_pandas()
        .assign(DAY=lambda rows: pd.to_datetime(rows["DAY"]))
    )


def _bars(rows: pd.DataFrame, colour: str, title: str) -> alt.Chart:
    return (
        alt.Chart(app_tables.without_formulas(rows))
        .mark_bar(size=min(28, 560 // rows["DAY"].nunique()))
        .encode(
            x=alt.X("yearmonthdate(DAY):O", title=None, axis=alt.Axis(format="%d %b", labelAngle=0)),
            y=alt.Y("sum(IMAGES):Q", title=title, axis=alt.Axis(tickMinStep=1)),
            color=alt.Color(
                f"{colour}:N",
                title=None,
                scale=alt.Scale(range=app_pictures.OKABE_ITO),
                legend=alt.Legend(orient="bottom"),
            ),
            tooltip=["yearmonthdate(DAY):T", f"{colour}:N", "sum(IMAGES):Q"],
        )
        .properties(height=220)
    )


def _volume(counts: pd.DataFrame, by_path: pd.DataFrame) -> None:
    """`counts` has an image once a day and version; `by_path` once for each path that answered it."""
    answered = counts[counts["STATUS"] == "ok"]
    total, good = int(counts["IMAGES"].sum()), int(answered["IMAGES"].sum())
    unlike = int(counts.loc[counts["STATUS"] == app_labels.UNLIKE, "IMAGES"].sum())
    with st.container(horizontal=True):
        st.metric("Images", f"{total:,}")
        st.metric("Predicted positive", _percent(_positives(answered), good), help=POSITIVE)
        st.metric("Uncertain", _percent(*_uncertain(answered)), help="Left to a reader by triage")
        st.metric("Unlike training", _percent(unlike, total), help="They get a probability and no prediction")
        st.metric("Rejected", _percent(total - good - unlike, total))
    st.header("Volume")
    st.altair_chart(_bars(by_path, "PATH_TAKEN", "answers a day"))


def _uncertain(answered: pd.DataFrame) -> tuple[int, int]:
    """(images left to a reader, all that a version with triage answered)."""
    triaged = answered[answered["TRIAGE"].notna()]
    return int(triaged.loc[triaged["TRIAGE"] == UNCERTAIN, "IMAGES"].sum()), int(triaged["IMAGES"].sum())


def _positives(rows: pd.DataFrame) -> int:
    return int(rows.loc[rows["POSITIVE"], "IMAGES"].sum())


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _positive_rate(counts: pd.DataFrame) -> None:
    answered = counts[counts["STATUS"] == "ok"]
    if answered.empty:
        return
    st.header("Fraction predicted positive")
    days = [
        {"DAY": day, "share": _positives(rows) / rows["IMAGES"].sum(), "images": int(rows["IMAGES"].sum())}
        for day, rows in answered.groupby("DAY")
    ]
    chart = alt.Chart(pd.DataFrame(days)).encode(
        x=alt.X("yearmonthdate(DAY):O", title=None, axis=alt.Axis(format="%d %b", labelAngle=0)),
        y=alt.Y("share:Q", title="share", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        tooltip=["yearmonthdate(DAY):T", alt.Tooltip("share:Q", format=".1%"), "images:Q"],
    )
    layers = chart.mark_line(color=app_pictures.ORANGE) + chart.mark_point(
        color=app_pictures.ORANGE, filled=True, size=60
    )
    st.altair_chart(layers.properties(height=200))
    if answered.loc[answered["POSITIVE"], "LABEL"].nunique() > 1:
        st.header("Predictions by class")
        st.altair_chart(_bars(answered, "LABEL", "images a day"))


def _drift(daily: pd.DataFrame) -> None:
    st.header("Drift of the probabilities")
    known = daily[daily["STABILITY_INDEX"].notna() & (daily["IMAGES"] >= monitoring.FEWEST)]
    if known.empty:
        st.info(
            f"Drift is shown for days with at least {monitoring.FEWEST} images of a version whose probabilities on "
            "validation images are stored. `notebooks/04_register.ipynb` stores them.",
            icon=":material/timeline:",
        )
        return
    latest = known[known["DAY"] == known["DAY"].max()]["STABILITY_INDEX"].max()
    level = next(word for limit, word in DRIFT_LEVELS if latest >= limit)
    st.metric("On the latest day", f"{latest:.2f}, {level}")
    st.caption(
        "Population stability index of a day's probabilities against those on validation images: "
        f"below {monitoring.SMALL} small, above {monitoring.LARGE} large."
    )
    limit = alt.Chart(pd.DataFrame({"limit": [monitoring.LARGE]})).mark_rule(strokeDash=[4, 4], color=app_pictures.GREY)
    st.altair_chart(_lines(known, "STABILITY_INDEX", "stability index", ".2f") + limit.encode(y="limit:Q"))


def _truth(counts: pd.DataFrame, daily: pd.DataFrame) -> None:
    """How often the answers were right, for images whose label the catalog has."""
    st.header("Accuracy where the truth is known")
    known = counts[(counts["STATUS"] == "ok") & counts["TRUTH"].notna()]
    of_training = int(counts.loc[counts["IN_TRAINING"].eq(True), "IMAGES"].sum())
    left_out = f"{of_training:,} images of training (splits train and validation) are not counted. "
    if known.empty:
        st.caption(
            (f"{left_out}None of the others" if of_training else "None of these images")
            + " has a label in the catalog yet. `python3 ci truth TABLE` adds labels."
        )
        return

    stopped = counts[(counts["STATUS"] == app_labels.UNLIKE) & counts["TRUTH"].notna()]
    sick = known["TRULY_POSITIVE"]
    with st.container(horizontal=True):
        st.metric("Accuracy", _share(known, known["TRUTH"] == known["LABEL"]))
        st.metric("Sensitivity", _share(known[sick], known["POSITIVE"]), help=POSITIVE)
        st.metric("Specificity", _share(known[~sick], ~known["POSITIVE"]))
    st.caption(
        f"{int(known['IMAGES'].sum()):,} images whose label is in the catalog. {left_out}"
        f"{int(stopped['IMAGES'].sum()):,} more labelled images are not counted: they are unlike the training images, "
        "so the model gave no prediction."
    )
    st.altair_chart(_lines(daily[daily["ACCURACY"].notna()], "ACCURACY", "accuracy", ".0%"))


def _share(rows: pd.DataFrame, right: pd.Series) -> str:
    return _percent(int(rows.loc[right, "IMAGES"].sum()), int(rows["IMAGES"].sum()))


def _lines(daily: pd.DataFrame, column: str, title: str, numbers: str) -> alt.Chart:
    return (
        alt.Chart(app_tables.without_formulas(daily))
        .mark_line(point=True)
        .encode(
            x=alt.X("yearmonthdate(DAY):O", title=None, axis=alt.Axis(format="%d %b", labelAngle=0)),
            y=alt.Y(f"{column}:Q", title=title, axis=alt.Axis(format=numbers)),
            color=alt.Color(
                "MODEL_VERSION:N",
                title=None,
                scale=alt.Scale(range=app_pictures.OKABE_ITO),
                legend=alt.Legend(orient="bottom", labelLimit=0),
            ),
            tooltip=["yearmonthdate(DAY):T", "MODEL_VERSION:N", alt.Tooltip(f"{column}:Q", format=numbers), "IMAGES:Q"],
        )
        .properties(height=200)
    )


def _rejected(counts: pd.DataFrame, files: pd.DataFrame) -> None:
    st.header("Rejected images")
    refused = counts[~counts["STATUS"].isin(["ok", app_labels.UNLIKE])].rename(columns={"STATUS": "REASON"})
    both = pd.concat(
        [refused[["DAY", "REASON", "IMAGES"]].assign(WHERE="when scored"), files.assign(WHERE="when cataloged")]
    )
    if both.empty:
        st.caption("None in this time.")
        return
    st.altair_chart(_bars(both, "REASON", "images a day"))
    table = both.groupby(["WHERE", "REASON"], as_index=False)["IMAGES"].sum().sort_values("IMAGES", ascending=False)
    app_tables.show(table.set_axis(["Where", "Reason", "Images"], axis=1))


main()

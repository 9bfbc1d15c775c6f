"""Monitoring: how much is asked, how often the answer is pneumonia, whether it drifts, and what is refused."""

import altair as alt
import app_account
import app_pictures
import numpy as np
import pandas as pd
import streamlit as st
from app_common import chosen

WINDOWS = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "a year"}
BINS = 10
FEW = 30  # scores; below that many a day's drift is noise
# The usual reading of the population stability index.
DRIFT_LEVELS = ((0.25, "large"), (0.10, "moderate"), (0.0, "small"))


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
        name = chosen("of", ["all", *versions], "all", lambda key, options: st.selectbox("Version", options, key=key))
    counts = _daily(days)
    if name != "all":
        counts = counts[counts["MODEL_VERSION"] == name]
    if counts.empty:
        st.info(
            "Nothing was scored in this time. Open a study, score a worklist, or run `notebooks/05_deploy.ipynb`.",
            icon=":material/info:",
        )
    else:
        _volume(counts)
        _positive_rate(counts)
        _drift(counts)
    _rejected(counts, _rejected_files(days))


@st.cache_data(ttl=60, show_spinner=False)
def _daily(days: int) -> pd.DataFrame:
    """How many answers by day, version, path, refusal and tenth of probability; no row of it is one image's."""
    known = app_account.settings()
    return (
        app_account.ready_session()
        .sql(
            f"""
            SELECT TO_DATE(SCORED_AT) AS DAY, MODEL_VERSION, PATH_TAKEN, LABEL,
                SPLIT_PART(STATUS, ':', 1) AS STATUS, LEAST(FLOOR(P_PNEUMONIA * {BINS}), {BINS - 1}) AS TENTH,
                COUNT(*) AS IMAGES
            FROM {known.qualified(known.predictions_table)}
            WHERE MODEL_NAME = ? AND SCORED_AT >= DATEADD(day, ?, CURRENT_DATE())
            GROUP BY ALL
            """,
            params=[known.model_name, -days],
        )
        .to_pandas()
        .assign(DAY=lambda rows: pd.to_datetime(rows["DAY"]))
    )


@st.cache_data(ttl=60, show_spinner=False)
def _rejected_files(days: int) -> pd.DataFrame:
    known = app_account.settings()
    return (
        app_account.ready_session()
        .sql(
            f"""
            SELECT TO_DATE(REJECTED_AT) AS DAY, REASON, COUNT(*) AS IMAGES
            FROM {known.qualified(known.rejected_table)}
            WHERE REJECTED_AT >= DATEADD(day, ?, CURRENT_DATE())
            GROUP BY ALL
            """,
            params=[-days],
        )
        .to_pandas()
        .assign(DAY=lambda rows: pd.to_datetime(rows["DAY"]))
    )


def _bars(rows: pd.DataFrame, colour: str, title: str) -> alt.Chart:
    return (
        alt.Chart(rows)
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


def _volume(counts: pd.DataFrame) -> None:
    answered = counts[counts["STATUS"] == "ok"]
    total, good = int(counts["IMAGES"].sum()), int(answered["IMAGES"].sum())
    with st.container(horizontal=True):
        st.metric("Images", f"{total:,}")
        st.metric("Called pneumonia", _percent(_positives(answered), good))
        st.metric("Refused", _percent(total - good, total))
    st.header("Volume")
    st.altair_chart(_bars(counts, "PATH_TAKEN", "images a day"))


def _positives(rows: pd.DataFrame) -> int:
    return int(rows.loc[rows["LABEL"] == "PNEUMONIA", "IMAGES"].sum())


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _positive_rate(counts: pd.DataFrame) -> None:
    answered = counts[counts["STATUS"] == "ok"]
    if answered.empty:
        return
    st.header("Share called pneumonia")
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


def _drift(counts: pd.DataFrame) -> None:
    st.header("Drift of the probabilities")
    answered = counts[(counts["STATUS"] == "ok") & counts["TENTH"].notna()]
    by_day = answered.pivot_table(index="DAY", columns="TENTH", values="IMAGES", aggfunc="sum", fill_value=0)
    by_day = by_day.reindex(columns=range(BINS), fill_value=0)
    reference = _reference(by_day)
    if reference is None:
        st.info(
            f"Drift needs two days with at least {FEW} answers each: the first is what later days are compared with.",
            icon=":material/timeline:",
        )
        return
    later = by_day.loc[by_day.index > reference]
    later = later[later.sum(axis=1) >= FEW]
    values = [stability_index(by_day.loc[reference].to_numpy(), row.to_numpy()) for _, row in later.iterrows()]
    level = next(word for limit, word in DRIFT_LEVELS if values[-1] >= limit)
    st.metric("On the latest day", f"{values[-1]:.2f}, {level}")
    st.caption(
        f"Population stability index of the probabilities against {reference:%d %B}: below 0.1 small, above 0.25 large."
    )
    days = pd.DataFrame({"DAY": later.index, "index": values})
    chart = alt.Chart(days).encode(
        x=alt.X("yearmonthdate(DAY):O", title=None, axis=alt.Axis(format="%d %b", labelAngle=0)),
        y=alt.Y("index:Q", title="stability index"),
    )
    limit = alt.Chart(pd.DataFrame({"limit": [0.25]})).mark_rule(strokeDash=[4, 4], color=app_pictures.GREY)
    st.altair_chart(chart.mark_line(point=True, color=app_pictures.BLUE) + limit.encode(y="limit:Q"))


def _reference(by_day: pd.DataFrame) -> pd.Timestamp | None:
    """The first day with enough answers, if a later one has enough too."""
    enough = by_day.index[by_day.sum(axis=1) >= FEW]
    return enough[0] if len(enough) > 1 else None


def stability_index(before: np.ndarray, after: np.ndarray) -> float:
    """Population stability index of two histograms; half a count is added to each bin, so that none is empty."""
    p, q = (before + 0.5) / (before + 0.5).sum(), (after + 0.5) / (after + 0.5).sum()
    return float(((q - p) * np.log(q / p)).sum())


def _rejected(counts: pd.DataFrame, files: pd.DataFrame) -> None:
    st.header("Refused images")
    refused = counts[counts["STATUS"] != "ok"].rename(columns={"STATUS": "REASON"})
    both = pd.concat(
        [refused[["DAY", "REASON", "IMAGES"]].assign(WHERE="when scored"), files.assign(WHERE="when cataloged")]
    )
    if both.empty:
        st.caption("None in this time.")
        return
    st.altair_chart(_bars(both, "REASON", "images a day"))
    table = both.groupby(["WHERE", "REASON"], as_index=False)["IMAGES"].sum().sort_values("IMAGES", ascending=False)
    st.dataframe(table.set_axis(["Where", "Reason", "Images"], axis=1), hide_index=True)


main()

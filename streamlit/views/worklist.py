"""Worklist: score many images of the catalog together, and compare predictions with the truth."""

import app_account
import app_pictures
import pandas as pd
import streamlit as st
from app_common import PATHS, choose_model, chosen, typed
from app_scoring import score_rows, to_csv

from cxr.settings import LABELS, SPLITS

MOST = 500  # images; for more, use a batch job (`notebooks/05_deploy.ipynb`)
RESULTS = {
    ("NORMAL", "NORMAL"): "Correct",
    ("PNEUMONIA", "PNEUMONIA"): "Correct",
    ("PNEUMONIA", "NORMAL"): "Missed",
    ("NORMAL", "PNEUMONIA"): "False alarm",
}
NOT_SCORED = "Not scored"
HIDDEN = ["image_id", "model_version", "path"]  # only in the downloaded file
# The palette of Okabe and Ito, pale enough for text on top. The column Result has the same information in words.
_TINTS = {"Missed": "#D55E0055", "False alarm": "#E69F0055", NOT_SCORED: "#80808055"}
_COLUMNS = {
    "X-ray": st.column_config.ImageColumn("X-ray", width="small"),
    "Image": st.column_config.TextColumn("Image", help="The first digits of the file's SHA-256"),
    "Probability": st.column_config.ProgressColumn("Probability", format="percent", min_value=0, max_value=1),
}


def main() -> None:
    st.title("Worklist")
    choice = choose_model()
    rows = app_account.catalog()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = chosen("split", ["all", *SPLITS], "test", lambda key, options: st.selectbox("Split", options, key=key))
        label = chosen("label", ["all", *LABELS], "all", lambda key, options: st.selectbox("Truth", options, key=key))
        causes = ["all", *sorted(rows["CAUSE"].dropna().unique())]
        cause = chosen("cause", causes, "all", lambda key, options: st.selectbox("Cause", options, key=key))
        order = chosen(
            "order", ["mixed", "by image id"], "mixed", lambda key, options: st.selectbox("Order", options, key=key)
        )
        wanted = typed("n", 20, lambda key: st.number_input("At most", 1, MOST, step=10, key=key), (1, MOST))
    found = _filter(rows, SPLIT=split, LABEL=label, CAUSE=cause)
    if found.empty:
        st.info("No image matches these filters. Change them.", icon=":material/search_off:")
        return
    # With a fixed seed, the same filters give the same images, so that a shared link shows the same worklist.
    picked = found.sample(frac=1, random_state=0).head(wanted) if order == "mixed" else found.head(wanted)
    st.caption(f"{len(found):,} images match.")
    if st.button(f"Score {len(picked)} image{'s' if len(picked) > 1 else ''}", type="primary"):
        bar = st.progress(0.0, "Starting")
        scored, files = score_rows(picked, choice, bar.progress)
        bar.empty()
        st.session_state["worklist"] = (
            _table(scored.assign(VERSION=choice.version.name, PATH=choice.path), files),
            f"{len(scored)} images by {PATHS[choice.path].lower()} with {choice.version.name}",
        )
    if "worklist" in st.session_state:
        _show(*st.session_state["worklist"])
    else:
        st.info("Choose images, then score them. Every prediction is added to the table PREDICTIONS.")


def _filter(rows: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for column, value in wanted.items():
        if value != "all":
            rows = rows[rows[column] == value]
    return rows


def _table(scored: pd.DataFrame, files: list[bytes]) -> pd.DataFrame:
    pairs = zip(scored["TRUTH"], scored["PREDICTED"], strict=True)
    return pd.DataFrame(
        {
            "image_id": scored["IMAGE_ID"],
            "X-ray": [app_pictures.thumbnail(data) for data in files],
            "Result": [RESULTS.get(pair, NOT_SCORED) for pair in pairs],
            "Truth": scored["TRUTH"],
            "Predicted": scored["PREDICTED"],
            "Probability": scored["P_POSITIVE"],
            "Patient": scored["PATIENT_ID"],
            "Split": scored["SPLIT"],
            "Status": scored["STATUS"],
            "Image": scored["IMAGE_ID"].str[:12],
            "model_version": scored["VERSION"],
            "path": scored["PATH"],
        }
    )


def _show(table: pd.DataFrame, what: str) -> None:
    st.header("Results")
    st.caption(what)
    counts = table["Result"].value_counts()
    with st.container(horizontal=True):
        for result in ("Correct", "Missed", "False alarm", NOT_SCORED):
            st.metric(result, int(counts.get(result, 0)))
    errors = st.toggle("Errors first", value=True, help="Show missed cases and false alarms first")
    shown = table.sort_values("Result", key=lambda column: column == "Correct", kind="stable") if errors else table
    st.dataframe(
        shown.drop(columns=HIDDEN).style.apply(_tint, axis=1),
        hide_index=True,
        row_height=64,
        height=min(80 + 64 * len(shown), 560),
        column_config=_COLUMNS,
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.download_button(
            "Download results",
            to_csv(table.drop(columns=["X-ray", "Image"])),
            "worklist.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        _open_study(shown)
    answered = table[table["Predicted"].notna()]
    if len(answered):
        st.header("Confusion matrix")
        left, _ = st.columns([1, 1])
        left.altair_chart(app_pictures.confusion(answered["Truth"], answered["Predicted"], LABELS))


def _open_study(shown: pd.DataFrame) -> None:
    """A select box to open a study: the table is a canvas, without access for keyboards and screen readers."""
    words = {
        row.image_id: f"{row.Result}: {row.Truth.title()}, patient {row.Patient}, image {row.Image}"
        for row in shown.itertuples()
    }
    image = st.selectbox("Open a study", list(words), format_func=words.get, width=420)
    if st.button("Open", help="Shows the X-ray with its heat map"):
        st.session_state["open-image"] = image
        st.switch_page("views/single_study.py")


def _tint(row: pd.Series) -> list[str]:
    colour = _TINTS.get(row["Result"])
    tinted = ("Predicted", "Result") if colour else ()
    return [f"background-color: {colour}; font-weight: bold" if name in tinted else "" for name in row.index]


main()

"""Worklist: many images of the catalog, scored together, with truth and prediction side by side."""

import app_account
import app_labels
import app_pictures
import app_runs
import app_tables
import pandas as pd
import streamlit as st
from app_common import PATHS, choose_filters, choose_model, chosen, typed
from app_scoring import MOST, score_rows

from cxr.model.labelset import LabelSet
from cxr.model.zones import RULE_IN, RULE_OUT

HIDDEN = ["image_id", "model_version", "path"]  # for the file that is downloaded
# Okabe and Ito's, pale enough for the text on them; the word in the column says the same.
_TINTS = {
    app_labels.MISSED: "#D55E0055",
    app_labels.FALSE_ALARM: "#E69F0055",
    app_labels.OTHER_CLASS: "#E69F0055",
    app_labels.NO_PREDICTION: "#80808055",
    app_labels.NOT_SCORED: "#80808055",
}
_COLUMNS = {
    "X-ray": st.column_config.ImageColumn("X-ray", width="small"),
    "Note": st.column_config.TextColumn("Note", width="medium"),
    "Image": st.column_config.TextColumn("Image", help="The first digits of the file's SHA-256"),
}


def main() -> None:
    st.title("Worklist")
    choice = choose_model()
    rows = app_account.catalog()
    found = choose_filters(rows, split="test")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = chosen(
            "order", ["mixed", "by image id"], "mixed", lambda key, options: st.selectbox("Order", options, key=key)
        )
        wanted = typed("n", 20, lambda key: st.number_input("Images, at most", 1, MOST, step=10, key=key), (1, MOST))
    if found.empty:
        st.info("No image matches these filters. Widen them.", icon=":material/search_off:")
        return
    # The same seed gives the same images to the same filters, so that a link shows what its sender saw.
    picked = found.sample(frac=1, random_state=0).head(wanted) if order == "mixed" else found.head(wanted)
    st.caption(f"{len(found):,} images match.")
    if st.button(f"Score {len(picked)} image{'s' if len(picked) > 1 else ''}", type="primary"):
        bar = st.progress(0.0, "Starting")
        scored = score_rows(picked, choice, bar.progress, picture=app_pictures.thumbnail)
        bar.empty()
        labels = app_runs.labels(choice.version.name)
        st.session_state["worklist"] = (
            _table(scored.assign(VERSION=choice.version.name, PATH=choice.path), labels),
            f"{len(scored)} images, scored by version {choice.version.name} ({PATHS[choice.path].lower()})",
            labels,
        )
    if "worklist" in st.session_state:
        _show(*st.session_state["worklist"])
    else:
        st.info("Choose the images, then score them. Every answer is added to the table of predictions.")


def _table(scored: pd.DataFrame, labels: LabelSet) -> pd.DataFrame:
    known = app_account.label_set() or labels
    answers = zip(scored["TRUTH"], scored["CALLED"], scored["P_POSITIVE"], strict=True)
    table = pd.DataFrame(
        {
            "image_id": scored["IMAGE_ID"],
            "X-ray": scored["PICTURE"],
            "Note": [app_labels.note(row) for row in scored.to_dict("records")],
            "Result": [app_labels.result(*answer, labels, known.negative) for answer in answers],
            "Truth": scored["TRUTH"].where(scored["TRUTH"].notna(), None),
            "Predicted": scored["CALLED"].where(scored["CALLED"].notna(), None),
            "Triage": scored["TRIAGE"].map(app_labels.TRIAGE),
            "Probability": scored["P_POSITIVE"],
            "Classes": scored["PROBABILITIES"].map(
                lambda text: app_labels.in_words(app_labels.read_probabilities(text))
            ),
            "Patient": scored["PATIENT_ID"],
            "Split": scored["SPLIT"],
            "Status": scored["STATUS"],
            "Image": scored["IMAGE_ID"].str[:12],
            "model_version": scored["VERSION"],
            "path": scored["PATH"],
        }
    )
    empty = [] if table["Note"].any() else ["Note"]
    empty += [] if table["Triage"].notna().any() else ["Triage"]
    return table.drop(columns=empty if len(labels) > 2 else [*empty, "Classes"])


def _show(table: pd.DataFrame, what: str, labels: LabelSet) -> None:
    st.header("Results")
    st.caption(what)
    counts = table["Result"].value_counts()
    always = {app_labels.CORRECT, app_labels.MISSED, app_labels.FALSE_ALARM, app_labels.NOT_SCORED}
    with st.container(horizontal=True):
        for result in (app_labels.CORRECT, *app_labels.RESULTS[:-1]):
            if result in always or counts.get(result):
                st.metric(result, int(counts.get(result, 0)))
    _tell_readers(table)
    if counts.get(app_labels.NO_TRUTH):
        st.caption("Images without a label have no truth yet, so they count as neither correct nor missed.")
    errors = st.toggle("Errors first", value=True, help="Errors before the rest; or sort by any column")
    rank = table["Result"].map(app_labels.RESULTS.index)
    shown = table.iloc[rank.argsort(kind="stable")] if errors else table
    title = f"Probability of {app_labels.finding(labels)}"
    app_tables.show(
        shown.drop(columns=HIDDEN),
        _tint,
        row_height=64,
        height=min(80 + 64 * len(shown), 560),
        column_config=_COLUMNS
        | {
            "Probability": st.column_config.ProgressColumn(
                "Probability", help=title, format="percent", min_value=0, max_value=1
            )
        },
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.download_button(
            "Download results",
            app_tables.to_csv(table.drop(columns=["X-ray", "Image"])),
            "worklist.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        _open_study(shown)
    answered = table[table["Predicted"].notna() & table["Truth"].notna()]
    if len(answered):
        st.header("Truth against prediction")
        names = app_labels.all_names(labels, answered["Truth"], answered["Predicted"])
        left, _ = st.columns([1, 1])
        left.altair_chart(app_pictures.confusion(app_pictures.count(answered["Truth"], answered["Predicted"], names)))


def _tell_readers(table: pd.DataFrame) -> None:
    if changed := int((table["Status"] == app_labels.CHANGED).sum()):
        st.error(app_labels.changed_files(changed), icon=":material/block:")
    if unlike := int(table["Status"].str.startswith(app_labels.UNLIKE).sum()):
        st.warning(
            f"{unlike} of these images are unlike the training images: the model gives no prediction for them.",
            icon=":material/front_hand:",
        )
    if "Triage" in table:
        decided = table["Triage"].isin([app_labels.TRIAGE[zone] for zone in (RULE_OUT, RULE_IN)])
        st.caption(f"{int((~decided).sum())} of {len(table)} images need a reader: triage leaves them undecided.")


def _open_study(shown: pd.DataFrame) -> None:
    """A list for keyboards and screen readers: the table is drawn on a canvas, which they cannot use."""
    words = {
        row.image_id: f"{row.Result}: {row.Truth or 'truth unknown'}, patient {row.Patient}, image {row.Image}"
        for row in shown.itertuples()
    }
    image = st.selectbox("Look at a study", list(words), format_func=words.get, width=420)
    if st.button("Open", help="Shows the X-ray with the model's prediction and heat map"):
        st.session_state["open-image"] = image
        st.switch_page("views/single_study.py")


def _tint(row: pd.Series) -> list[str]:
    colour = _TINTS.get(row["Result"])
    tinted = ("Predicted", "Result") if colour else ()
    return [f"background-color: {colour}; font-weight: bold" if name in tinted else "" for name in row.index]


main()

"""Single study: one X-ray, uploaded or from the stage, with the model's prediction and heat map."""

import math

import app_account
import app_pictures
import pandas as pd
import streamlit as st
from app_common import PATHS, Choice, choose_model, chosen, fragment, keep_in_url, plain, typed
from app_scoring import MAX_UPLOAD_BYTES, Answer, Study, answer_for, open_study, record_answers

from cxr.model import preprocessing
from cxr.settings import LABELS, SPLITS

SOURCES = {"upload": "Upload", "stage": "From the stage"}
CARDS = 6  # thumbnails per page: one row on a desktop, two on a phone
FEW_PATIENTS = 100  # 50 patients of a class give an interval of about 10 points
WELL_CALIBRATED = 0.1  # largest expected calibration error of a probability that counts as calibrated
REASONS = {
    "empty": "The file is empty.",
    "unreadable": "The file is not an image that can be read. Use JPEG, PNG, TIFF or DICOM.",
    "truncated": "The file is incomplete. Export or upload it again.",
    "unsupported": "This file format is not supported. Use JPEG, PNG, TIFF or DICOM.",
    "multiframe": "The file contains several images. Use a file with one image.",
    "too_large": "The image is too large.",
    "too_small": "The image is too small.",
    "aspect_ratio": "The image is too long and narrow for a chest X-ray.",
    "not_greyscale": "The image is in colour. X-rays are greyscale.",
    "blank": "The image is blank.",
}


def main() -> None:
    st.title("Single study")
    choice = choose_model()
    if image := st.session_state.pop("open-image", None):  # chosen on the worklist
        st.session_state["source"] = "stage"
        keep_in_url("image", image, None)
    source = chosen(
        "source",
        list(SOURCES),
        "upload",
        lambda key, options: st.radio(
            "X-ray", options, key=key, format_func=SOURCES.get, horizontal=True, label_visibility="collapsed"
        ),
    )
    data = _uploaded() if source == "upload" else _from_stage()
    if data is None:
        return
    try:
        study = open_study(data)
    except preprocessing.BadImage as bad:
        st.error(
            f"{REASONS.get(bad.reason, 'The file cannot be used.')} It was not sent. ({bad})", icon=":material/block:"
        )
        return
    show_study(study, choice)


def _uploaded() -> bytes | None:
    # No list of extensions: DICOM files often have none, and the format is detected from the bytes.
    file = st.file_uploader(f"Chest X-ray: JPEG, PNG, TIFF or DICOM, at most {MAX_UPLOAD_BYTES // 2**20} MB")
    if file is None:
        st.caption("The app checks the image and sends it to the model. Only its hash and the prediction are stored.")
        return None
    return file.getvalue()


def _from_stage() -> bytes | None:
    rows = app_account.catalog()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = typed("q", "", lambda key: st.text_input("Search patient, image id or cause", key=key))
        split = chosen("split", ["all", *SPLITS], "all", lambda key, options: st.selectbox("Split", options, key=key))
        label = chosen("label", ["all", *LABELS], "all", lambda key, options: st.selectbox("Truth", options, key=key))
    found = _search(rows, text, split, label)
    if found.empty:
        st.info("No images found. Clear the search or change the filters.", icon=":material/search_off:")
        return None
    pages = math.ceil(len(found) / CARDS)
    page = min(max(_number(st.query_params.get("page")), 1), pages)
    _cards(found.iloc[(page - 1) * CARDS : page * CARDS])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Previous", disabled=page == 1, on_click=keep_in_url, args=("page", page - 1, 1))
        st.button("Next", disabled=page == pages, on_click=keep_in_url, args=("page", page + 1, 1))
        st.caption(f"{len(found):,} images, page {page} of {pages}")
    picked = rows[rows["IMAGE_ID"] == st.query_params.get("image")]
    return app_account.read_staged([picked["RELATIVE_PATH"].iloc[0]])[0] if len(picked) else None


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 9 else 1


def _search(rows: pd.DataFrame, text: str, split: str, label: str) -> pd.DataFrame:
    fits = pd.Series(True, index=rows.index)
    if text.strip():
        columns = rows[["PATIENT_ID", "IMAGE_ID", "CAUSE"]].fillna("").astype(str)
        hits = [columns[name].str.contains(text.strip(), case=False, regex=False) for name in columns]
        fits &= hits[0] | hits[1] | hits[2]
    if split != "all":
        fits &= rows["SPLIT"] == split
    if label != "all":
        fits &= rows["LABEL"] == label
    return rows[fits]


@st.cache_data(max_entries=200, show_spinner=False)
def _thumbnails(places: tuple[str, ...]) -> list[str]:
    """Thumbnails of staged images. They are cached for all viewers, who may all see these images."""
    return [app_pictures.thumbnail(data) for data in app_account.read_staged(list(places))]


def _cards(rows: pd.DataFrame) -> None:
    small = _thumbnails(tuple(rows["RELATIVE_PATH"]))
    with st.container(horizontal=True):
        for number, (row, picture) in enumerate(zip(rows.itertuples(), small, strict=True), 1):
            with st.container(width=104, gap="small"):
                if picture:
                    app_pictures.show(picture, row.LABEL.title())
                st.button(
                    f"Open {number}",
                    key=f"open-{row.IMAGE_ID}",
                    help=f"Image {row.IMAGE_ID[:12]}",
                    width="stretch",
                    on_click=keep_in_url,
                    args=("image", row.IMAGE_ID, None),
                )


def show_study(study: Study, choice: Choice) -> None:
    with st.spinner("Scoring the image"):
        answer = answer_for(study, choice)
    if answer.probability is None:
        st.error(f"The model could not score this image: {answer.status}", icon=":material/block:")
    else:
        _verdict(study, choice, answer)
        _pictures(study, answer)
        _meaning(choice)
    st.caption(
        f"{choice.version.name} by {PATHS[choice.path].lower()}, {answer.seconds:.1f} s. "
        f"{study.format}, {study.width} x {study.height} pixels, image {study.image_id[:12]}."
    )
    record_answers()


def _verdict(study: Study, choice: Choice, answer: Answer) -> None:
    rows = app_account.catalog_or_empty()
    truth = rows.loc[rows["IMAGE_ID"] == study.image_id]
    left, middle, right = st.columns(3)
    with left:
        st.metric("Probability of pneumonia", f"{answer.probability:.1%}")
        st.altair_chart(app_pictures.gauge(answer.probability, choice.version.threshold))
    side = "at or above" if answer.label == LABELS[1] else "below"
    with middle:
        st.metric("Prediction", answer.label.title())
        st.caption(f"The probability is {side} the threshold of {choice.version.threshold:.1%}.")
    with right:
        if truth.empty:
            st.metric("Truth", "Unknown")
            st.caption("This image is not in the catalog.")
        else:
            row = truth.iloc[0]
            agrees = "agrees with" if row["LABEL"] == answer.label else "contradicts"
            st.metric("Truth", row["LABEL"].title())
            cause = f", {plain(row['CAUSE'])}" if isinstance(row["CAUSE"], str) else ""
            seen = " The model was trained on this image." if row["SPLIT"] == "train" else ""
            st.caption(f"The prediction {agrees} the catalog ({row['SPLIT']} split{cause}).{seen}")


@fragment
def _pictures(study: Study, answer: Answer) -> None:
    left, right = st.columns(2)
    with left:
        app_pictures.show(study.pixels, "The X-ray as the model reads it")
    with right:
        if answer.heatmap is None:
            st.info("The model returned no heat map for this image.", icon=":material/info:")
            return
        opacity = st.session_state.get("opacity", 50)
        app_pictures.show(
            app_pictures.overlay(study.pixels, answer.heatmap, opacity / 100),
            "Brighter regions contribute more to a prediction of pneumonia (Grad-CAM)"
            if app_pictures.is_lit(answer.heatmap)
            else "No region contributes to a prediction of pneumonia (Grad-CAM)",
        )
        st.slider("Opacity of the heat map", 0, 100, 50, step=5, format="%d%%", key="opacity")


def _meaning(choice: Choice) -> None:
    measured = app_account.evaluation(choice.version.name)
    st.header("What this means")
    if measured is None:
        st.write(
            f"The error rates at this version's threshold of {choice.version.threshold:.1%} are not available: its "
            "training run is not on the stage, where `notebooks/03_train.ipynb` puts it."
        )
        return
    test = measured["test"]
    found, cleared, error = (test["metrics"][name] for name in ("sensitivity", "specificity", "ece"))
    st.markdown(
        f"- {_calibration(error['value'], test['patients'])}\n"
        f"- **The threshold balances missed cases and false alarms**: at {choice.version.threshold:.1%} the model "
        f"detects {_percentage(found)} of images with pneumonia, and correctly clears {_percentage(cleared)} of images "
        "without.\n"
        f"- Measured on {test['images']:,} images of {test['patients']:,} patients that were not used in training; "
        f"{test['positive'] / test['images']:.0%} of the images showed pneumonia. "
        + (
            "**These are too few patients for reliable figures.**"
            if test["patients"] < FEW_PATIENTS
            else "In other hospitals the figures may differ."
        )
    )


def _calibration(error: float, patients: int) -> str:
    """How to read the probability, given its calibration error on the test patients."""
    if patients < FEW_PATIENTS:
        return (
            "**Use the probability only to rank images**: "
            f"{patients} test patients are too few to check its calibration."
        )
    if error <= WELL_CALIBRATED:
        return (
            "**The probability is calibrated**: of 100 images with a probability of 80%, about 80 show pneumonia. "
            f"On test patients it was off by {100 * error:.1f} points on average."
        )
    return (
        "**The probability is not calibrated; use it only to rank images**: on test patients it was off by "
        f"{100 * error:.0f} points on average."
    )


def _percentage(metric: dict) -> str:
    low, high = metric["interval"]
    return f"**{metric['value']:.0%}** (95% interval {low:.0%} to {high:.0%})"


main()

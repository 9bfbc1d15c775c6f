"""Single study: one X-ray, uploaded or from the stage, with the model's prediction and heat map."""

import math

import app_account
import app_labels
import app_pictures
import app_runs
import pandas as pd
import streamlit as st
from app_common import PATHS, Choice, choose_filters, choose_model, chosen, fragment, keep_in_url, plain
from app_scoring import Answer, Study, answer_for, open_study, record_answers

from cxr.evaluation.triage import describe
from cxr.model import preprocessing
from cxr.model.labelset import LabelSet
from cxr.model.zones import RULE_IN, RULE_OUT, UNCERTAIN
from cxr.serving import scoring

SOURCES = {"upload": "Upload", "stage": "From the stage"}
CARDS = 6  # thumbnails a page: a row at a desk, two on a phone
FEW_PATIENTS = 100  # if half of them are positive, 50 patients leave an interval of about 10 percentage points
WELL_CALIBRATED = 0.1  # largest expected calibration error at which a probability is read as a frequency
REASONS = {
    "empty": "The file is empty.",
    "unreadable": "The file is not an image that can be read. Use JPEG, PNG, TIFF or DICOM.",
    "truncated": "The file is incomplete: its end is missing. Export or copy it again.",
    "unsupported": "This kind of file is not supported. Use JPEG, PNG, TIFF or DICOM.",
    "multiframe": "The file holds several images. Use one file for each image.",
    "too_large": "The image is too large.",
    "too_small": "The image is too small to be read.",
    "aspect_ratio": "The image is too long and narrow for a chest X-ray.",
    "not_greyscale": "The image is in colour, so it is not an X-ray.",
    "blank": "The image is blank.",
}

_TRIAGE_MEANS = {
    RULE_OUT: "The probability is at or below the lower threshold, whose errors were counted on other patients.",
    UNCERTAIN: "The probability is between the two thresholds, or no threshold passed its test: a reader decides.",
    RULE_IN: "The probability is at or above the upper threshold, whose errors were counted on other patients.",
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
        study = open_study(data, cataloged=source == "stage")
    except preprocessing.BadImage as bad:
        st.error(
            f"{REASONS.get(bad.reason, 'The file cannot be used.')} It was not sent to the model. ({bad})",
            icon=":material/block:",
        )
        return
    show_study(study, choice)


def _uploaded() -> bytes | None:
    # No list of endings: a DICOM file often has none. What a file is follows from its bytes alone.
    file = st.file_uploader(f"Chest X-ray: JPEG, PNG, TIFF or DICOM, at most {scoring.LARGEST_IN_SQL // 2**20} MB")
    if file is None:
        st.caption("The image is checked here, then sent to the model. Only its hash and the answer are kept.")
        return None
    return file.getvalue()


def _from_stage() -> bytes | None:
    rows = app_account.catalog()
    # Not in the URL: a person's name may be looked for, and addresses are kept and sent.
    text = st.text_input("Search patient, image id or cause", key="search")
    found = _search(choose_filters(rows), text)
    if found.empty:
        st.info("No image matches. Clear the search or widen the filters.", icon=":material/search_off:")
        return None
    pages = math.ceil(len(found) / CARDS)
    page = min(max(_number(st.query_params.get("page")), 1), pages)
    _cards(found.iloc[(page - 1) * CARDS : page * CARDS])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Previous", disabled=page == 1, on_click=keep_in_url, args=("page", page - 1, 1))
        st.button("Next", disabled=page == pages, on_click=keep_in_url, args=("page", page + 1, 1))
        st.caption(f"{len(found):,} images, page {page} of {pages}")
    picked = rows[rows["IMAGE_ID"] == st.query_params.get("image")]
    if picked.empty:
        return None
    data = app_account.read_staged([picked["RELATIVE_PATH"].iloc[0]])[0]
    if data is None:
        st.error(app_labels.changed_files(1), icon=":material/block:")
    return data


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 9 else 1


def _search(rows: pd.DataFrame, text: str) -> pd.DataFrame:
    if not text.strip():
        return rows
    columns = rows[["PATIENT_ID", "IMAGE_ID", "CAUSE"]].fillna("").astype(str)
    hits = [columns[name].str.contains(text.strip(), case=False, regex=False) for name in columns]
    return rows[hits[0] | hits[1] | hits[2]]


@st.cache_data(ttl=600, max_entries=200, show_spinner=False)
def _thumbnails(places: tuple[str, ...]) -> list[str]:
    """Thumbnails of staged images, which every viewer of the app may see."""
    return [app_pictures.thumbnail(data or b"") for data in app_account.read_staged(list(places))]


def _cards(rows: pd.DataFrame) -> None:
    small = _thumbnails(tuple(rows["RELATIVE_PATH"]))
    with st.container(horizontal=True):
        for number, (row, picture) in enumerate(zip(rows.itertuples(), small, strict=True), 1):
            with st.container(width=104, gap="small"):
                words = [row.LABEL if isinstance(row.LABEL, str) else app_labels.NO_LABEL]
                words += [note] if (note := app_labels.note(row._asdict())) else []
                if picture:
                    app_pictures.show(picture, plain(". ".join(words)))
                st.button(
                    f"Open {number}",
                    key=f"open-{row.IMAGE_ID}",
                    help=f"Image {row.IMAGE_ID[:12]}",
                    width="stretch",
                    on_click=keep_in_url,
                    args=("image", row.IMAGE_ID, None),
                )


def show_study(study: Study, choice: Choice) -> None:
    with st.spinner("Asking the model"):
        answer = answer_for(study, choice)
    labels = app_runs.labels(choice.version.name)
    if answer.probability is None:
        st.error(f"The model could not score this image: {plain(answer.status)}", icon=":material/block:")
    elif answer.is_unlike:
        _unlike(study, answer, labels)
    else:
        _verdict(study, choice, answer, labels)
        _pictures(study, answer, labels)
        _meaning(choice, labels)
    st.caption(
        f"{choice.version.name} by {PATHS[choice.path].lower()}, {answer.seconds:.1f} s. "
        f"{study.format}, {study.width} x {study.height} pixels, image {study.image_id[:12]}."
    )
    record_answers()


def _unlike(study: Study, answer: Answer, labels: LabelSet) -> None:
    """No number in large type: the model's probability means little for such an image."""
    st.error(
        "**This image is unlike the training images, so the model gives no prediction.** Is it a frontal chest X-ray, "
        f"upright and not inverted? ({plain(answer.status)}) The computed probability of "
        f"{plain(app_labels.finding(labels))}, {answer.probability:.1%}, means little here: a reader must look at it.",
        icon=":material/front_hand:",
    )
    _pictures(study, answer, labels)


def _verdict(study: Study, choice: Choice, answer: Answer, labels: LabelSet) -> None:
    left, middle, right = st.columns(3)
    with left:
        st.metric(f"Probability of {plain(app_labels.finding(labels))}", f"{answer.probability:.1%}")
        st.altair_chart(app_pictures.gauge(answer.probability, choice.version.threshold))
    with middle:
        st.metric("Prediction", plain(answer.label) if answer.label else "None")
        if answer.label is None:
            st.caption(f"The model gives no prediction for this image: {plain(answer.status)}")
        else:
            side = "below" if answer.label == labels.negative else "at or above"
            st.caption(f"The probability is {side} the threshold of {choice.version.threshold:.1%}.")
        if answer.triage:
            st.caption(f"**Triage: {app_labels.TRIAGE[answer.triage]}.** {_TRIAGE_MEANS[answer.triage]}")
        if len(labels) > 2 and answer.probabilities:
            st.altair_chart(app_pictures.class_bars(answer.probabilities, answer.label))
    with right:
        _truth(study, answer, labels)


def _truth(study: Study, answer: Answer, labels: LabelSet) -> None:
    rows = app_account.catalog_or_empty()
    found = rows[rows["IMAGE_ID"] == study.image_id].to_dict("records")
    row = found[0] if found else None
    if row is None or not isinstance(row["LABEL"], str):
        st.metric("Truth", "Unknown")
        st.caption("The catalog has no label for this image yet." if found else "The catalog does not know this image.")
        return
    st.metric("Truth", plain(row["LABEL"]))
    known = app_account.label_set() or labels
    said = app_labels.result(row["LABEL"], answer.label, answer.probability, labels, known.negative)
    place = [f"{row['SPLIT']} split"] if isinstance(row["SPLIT"], str) else []
    place += [plain(row["CAUSE"])] if isinstance(row["CAUSE"], str) else []
    where = f" ({', '.join(place)})" if place else ""
    missing = "is missing, so it cannot be compared with"
    agrees = {app_labels.CORRECT: "agrees with", app_labels.NO_PREDICTION: missing}.get(said, "contradicts")
    seen = " The model was trained on this image." if row["SPLIT"] == "train" else ""
    st.caption(f"The prediction {agrees} the catalog{where}.{seen}")


@fragment
def _pictures(study: Study, answer: Answer, labels: LabelSet) -> None:
    if _is_burned_in(study):
        st.warning(f"{app_labels.BURNED_IN}: show it only to people who may see that text.", icon=":material/badge:")
    left, right = st.columns(2)
    with left:
        app_pictures.show(study.pixels, "The X-ray as the model reads it")
    with right:
        if answer.heatmap is None:
            st.info("The model sent no heat map for this image.", icon=":material/info:")
            return
        opacity = st.session_state.get("opacity", 50)
        shown = plain(_shown_class(answer, labels))
        app_pictures.show(
            app_pictures.overlay(study.pixels, answer.heatmap, opacity / 100),
            f"Brighter where the image supports {shown} more (Grad-CAM)"
            if app_pictures.is_lit(answer.heatmap)
            else f"No region of the image supports {shown} (Grad-CAM)",
        )
        st.slider("Opacity of the overlay", 0, 100, 50, step=5, format="%d%%", key="opacity")


def _is_burned_in(study: Study) -> bool:
    rows = app_account.catalog_or_empty()
    return study.burned_in or bool(rows.loc[rows["IMAGE_ID"] == study.image_id, "BURNED_IN"].any())


def _shown_class(answer: Answer, labels: LabelSet) -> str:
    """The class that the heat map is of: the likeliest that is not the negative one."""
    return max(labels.others, key=lambda name: answer.probabilities.get(name, 0.0))


def _meaning(choice: Choice, labels: LabelSet) -> None:
    measured = app_runs.evaluation(choice.version.name)
    st.header("What this means")
    if measured is None:
        st.write(
            f"The errors at this version's threshold of {choice.version.threshold:.1%} are not known here: the "
            "artifacts of its training run are gone from the stage. `notebooks/03_train.ipynb` stores those of a new "
            "run."
        )
        return
    finding = plain(app_labels.finding(labels))
    test = measured["test"]
    found, cleared, error = (test["metrics"][name] for name in ("sensitivity", "specificity", "ece"))
    st.markdown(
        f"- {_calibration(error['value'], test['patients'], finding)}\n"
        f"- **A lower threshold misses fewer images and raises more false alarms**: at {choice.version.threshold:.1%} "
        f"the model finds {_share(found)} of the images that show {finding} (sensitivity), and clears "
        f"{_share(cleared)} of the others (specificity).\n"
        f"- Measured on {test['images']:,} images of {test['patients']:,} patients that training never saw; "
        f"{test['positive'] / test['images']:.0%} of the images showed {finding}. "
        + (
            "**Figures from so few patients are uncertain.**"
            if test["patients"] < FEW_PATIENTS
            else "At another hospital the figures may differ."
        )
        + _triage_in_words(choice, test)
    )


def _triage_in_words(choice: Choice, test: dict) -> str:
    """The tested error of triage, and how many images it leaves to a reader; empty for a version without triage."""
    found = app_runs.triage(choice.version.name)
    if not found:
        return ""
    words = f"\n- **Triage**, tested on {found['patients']:,} other patients: {describe(found)}."
    if on_test := test.get("triage"):
        words += f" Of 100 test images, {round(100 * on_test['for_a_reader'])} need a reader."
    return words


def _calibration(error: float | None, patients: int, finding: str) -> str:
    """How to read the probability, given its mean error on the test patients."""
    if patients < FEW_PATIENTS or error is None:
        return (
            "**Use the probability to rank images**: to say whether it can be read as a frequency, "
            f"{patients} test patients are too few."
        )
    if error <= WELL_CALIBRATED:
        return (
            f"**The probability can be read as a frequency**: of images that get 80%, about 80 in 100 show {finding}. "
            f"On test patients it was off by {100 * error:.1f} percentage points on average."
        )
    return (
        "**Use the probability to rank images, not as a frequency**: on test patients it was off by "
        f"{100 * error:.0f} percentage points on average."
    )


def _share(metric: dict) -> str:
    if None in (metric["value"], *metric["interval"]):
        return "an unknown fraction"
    low, high = metric["interval"]
    return f"**{metric['value']:.0%}** (95% interval {low:.0%} to {high:.0%})"


main()

"""Pictures and charts. Colours are Okabe and Ito's, which colour-blind readers can tell apart; shapes differ too."""

import base64
import inspect
import io
from collections.abc import Sequence

import altair as alt
import app_tables
import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from cxr.model import preprocessing

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#808080"
OKABE_ITO = [BLUE, ORANGE, GREEN, "#E69F00", "#56B4E9", "#CC79A7", GREY]
THUMBNAIL = 96  # pixels a side
_HAS_ALT = "alt" in inspect.signature(st.image).parameters  # younger than the oldest Streamlit that is supported
# Matplotlib's inferno at eight places; the library would cost a second at the app's start.
_INFERNO = np.array(
    [
        (0, 0, 4),
        (40, 11, 84),
        (101, 21, 110),
        (159, 42, 99),
        (212, 72, 66),
        (245, 125, 21),
        (250, 193, 39),
        (252, 255, 164),
    ]
)


def show(pixels: np.ndarray, caption: str, width: int | str = "stretch") -> None:
    st.image(pixels, caption=caption, width=width, output_format="JPEG", **({"alt": caption} if _HAS_ALT else {}))


def overlay(pixels: np.ndarray, heatmap: bytes, opacity: float) -> np.ndarray:
    """The X-ray under its heat map: uint8 [height, width, 3]. Where the map is zero the X-ray stays as it is."""
    height, width = pixels.shape
    with Image.open(io.BytesIO(heatmap)) as image:
        heat = np.asarray(image.convert("L").resize((width, height), Image.Resampling.BILINEAR))
    places = np.linspace(0, 255, len(_INFERNO))
    levels = np.arange(256)
    colours = np.stack([np.interp(levels, places, _INFERNO[:, channel]) for channel in range(3)], axis=1)
    share = (np.float32(opacity / 255) * heat)[..., None]
    return np.rint(pixels[..., None] * (1 - share) + colours.astype(np.float32)[heat] * share).astype(np.uint8)


def is_lit(heatmap: bytes) -> bool:
    """Whether the map is more than zero anywhere."""
    with Image.open(io.BytesIO(heatmap)) as image:
        return image.convert("L").getextrema()[1] > 0


def thumbnail(data: bytes) -> str:
    """A small JPEG as a data address; empty for a file that cannot be read."""
    try:
        pixels = preprocessing.decode(data, at_least=2 * THUMBNAIL).pixels
    except preprocessing.BadImage:
        return ""
    small = Image.fromarray(pixels)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def gauge(probability: float, threshold: float) -> alt.Chart:
    """The probability as a bar from 0 to 1, the threshold as a line across it."""
    scale = alt.Scale(domain=[0, 1])
    axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], title=None, grid=False)
    colour = ORANGE if probability >= threshold else BLUE
    value = pd.DataFrame({"probability": [probability], "threshold": [threshold]})
    bar = alt.Chart(value).mark_bar(color=colour, height=16).encode(x=alt.X("probability:Q", scale=scale, axis=axis))
    line = alt.Chart(value).mark_tick(color=GREY, thickness=3, size=34).encode(x=alt.X("threshold:Q", scale=scale))
    return alt.layer(bar, line).properties(height=44)


def class_bars(probabilities: dict[str, float], called: str | None) -> alt.Chart:
    """A bar for each class from 0 to 1, the likeliest first; the predicted class has another colour."""
    probabilities = {app_tables.as_cell(name): value for name, value in probabilities.items()}
    rows = pd.DataFrame({"class": list(probabilities), "probability": list(probabilities.values())})
    rows["called"] = rows["class"] == app_tables.as_cell(called)
    order = rows.sort_values("probability", ascending=False)["class"].tolist()
    # The number stands in the axis, where no bar hides it.
    words = {name: f"{name}  {value:.1%}" for name, value in probabilities.items()}
    rows["shown"] = rows["class"].map(words)
    colour = alt.condition(alt.datum.called, alt.value(ORANGE), alt.value(BLUE))
    bars = (
        alt.Chart(rows)
        .mark_bar(height=14)
        .encode(
            y=alt.Y(
                "shown:N",
                sort=[words[name] for name in order],
                title=None,
                axis=alt.Axis(labelLimit=220, labelOverlap=False),
            ),
            x=alt.X("probability:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", title=None, grid=False)),
            color=colour,
            tooltip=["class", alt.Tooltip("probability:Q", format=".2%")],
        )
    )
    return bars.properties(height=24 * len(rows) + 48)


def count(truth: Sequence[str], called: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """How many images of each true class (rows) were predicted as each class (columns)."""
    truth, called = pd.Series(list(truth), dtype=object), pd.Series(list(called), dtype=object)
    return pd.crosstab(truth, called).reindex(index=list(names), columns=list(names), fill_value=0)


def confusion(counts: pd.DataFrame) -> alt.LayerChart:
    """Counts of truth (rows) against prediction (columns); the colour is the fraction of the row."""
    names = [app_tables.as_cell(name) for name in counts.index]
    values = counts.to_numpy()
    share = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    cells = pd.DataFrame(
        {
            "truth": np.repeat(names, len(names)),
            "called": np.tile(names, len(names)),
            "images": values.ravel(),
            "share": share.ravel(),
        }
    )
    wide = len(names) * max(map(len, names)) > 40  # characters, side by side in half of a page
    across = alt.Axis(labelAngle=-35 if wide else 0, orient="top", labelLimit=140, labelOverlap=False)
    where = dict(
        x=alt.X("called:N", sort=names, title="Predicted", axis=across),
        y=alt.Y("truth:N", sort=names, title="Truth", axis=alt.Axis(labelLimit=140)),
    )
    scale = alt.Scale(domain=[0, 1], range=["#DCE9F5", BLUE])
    squares = alt.Chart(cells).mark_rect().encode(**where, color=alt.Color("share:Q", scale=scale, legend=None))
    numbers = (
        alt.Chart(cells)
        .mark_text(fontSize=20 if len(names) < 5 else 13, fontWeight="bold")
        .encode(
            **where,
            text="images:Q",
            color=alt.condition(alt.datum.share > 0.5, alt.value("white"), alt.value("black")),
            tooltip=["truth", "called", "images", alt.Tooltip("share:Q", format=".0%")],
        )
    )
    return alt.layer(squares, numbers).properties(height=max(220, 52 * len(names) + 60))


def roc(curves: pd.DataFrame, thresholds: pd.DataFrame) -> alt.LayerChart:
    """ROC curves with their bands, and the point of each threshold.

    Args:
        curves: version, false_positive_rate, sensitivity, low, high.
        thresholds: version, false_positive_rate, sensitivity; may be empty.
    """
    curves, thresholds = app_tables.without_formulas(curves), app_tables.without_formulas(thresholds)
    where = dict(x=_unit("false_positive_rate", "1 - specificity"), y=_unit("sensitivity", "sensitivity"))
    band = alt.Chart(curves).mark_area(opacity=0.15, clip=True)
    line = alt.Chart(curves).mark_line(clip=True)
    layers = [
        band.encode(x=where["x"], y=_unit("low", "sensitivity"), y2="high:Q", color=_by_version()),
        _diagonal(),
        line.encode(**where, color=_by_version(), strokeDash=alt.StrokeDash("version:N", legend=None)),
    ]
    if len(thresholds):
        dot = alt.Chart(thresholds).mark_point(filled=True, size=90, opacity=1)
        layers.append(dot.encode(**where, color=_by_version()))
    return alt.layer(*layers).properties(height=340)


def reliability(shares: pd.DataFrame) -> alt.LayerChart:
    """Observed share of what is not negative (`observed`) against the `predicted` one, for each `version`."""
    where = dict(x=_unit("predicted", "predicted probability"), y=_unit("observed", "observed share"))
    style = dict(color=_by_version(), strokeDash=alt.StrokeDash("version:N", legend=None))
    line = alt.Chart(app_tables.without_formulas(shares)).mark_line(point=True, clip=True).encode(**where, **style)
    return alt.layer(_diagonal(), line).properties(height=340)


def _unit(field: str, title: str) -> alt.X | alt.Y:
    channel = alt.X if field in ("false_positive_rate", "predicted") else alt.Y
    return channel(f"{field}:Q", title=title, scale=alt.Scale(domain=[0, 1]))


def _by_version() -> alt.Color:
    below = alt.Legend(orient="bottom", labelLimit=0)
    return alt.Color("version:N", title=None, scale=alt.Scale(range=OKABE_ITO), legend=below)


def _diagonal() -> alt.Chart:
    ends = pd.DataFrame({"at": [0, 1]})
    return alt.Chart(ends).mark_line(strokeDash=[2, 3], color=GREY).encode(x="at:Q", y="at:Q")

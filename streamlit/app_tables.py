"""Tables without spreadsheet formulas: files for download, and tables and charts that viewers can download.

A chart has a download button too, behind "Show data".
"""

import pandas as pd
import streamlit as st

# A cell that begins with one of these is a formula to a spreadsheet; the last four are full-width forms.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def show(table: pd.DataFrame, style=None, **options) -> None:
    """`st.dataframe` without formulas, because its own button downloads the table.

    Args:
        style: a function for `Styler.apply` with axis=1.
    """
    shown = without_formulas(table)
    st.dataframe(shown if style is None else shown.style.apply(style, axis=1), hide_index=True, **options)


def to_csv(table: pd.DataFrame) -> bytes:
    """UTF-8, with lower-case names, without formulas."""
    return without_formulas(table.rename(columns=str.lower)).to_csv(index=False).encode()


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """A copy in which a text that a spreadsheet would take for a formula has a quote in front."""
    safe = table.rename(columns=as_cell)
    for name in safe.select_dtypes(include=["object", "string"]):
        safe[name] = safe[name].map(as_cell)
    return safe


def as_cell(text: object) -> object:
    """A text as one line that no spreadsheet takes for a formula; anything else as it is."""
    if not isinstance(text, str):
        return text
    line = " ".join(text.split())  # a line break in a cell would start a row of its own
    return f"'{line}" if line.startswith(_FORMULA) else line

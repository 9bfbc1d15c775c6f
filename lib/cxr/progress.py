"""Progress bars: widgets if the notebook supports them, else text."""

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)  # warns at import if ipywidgets is missing; the text bar is enough
    from tqdm.auto import tqdm

__all__ = ["tqdm"]

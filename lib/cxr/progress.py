"""Progress bars: widgets where the notebook has them, else text."""

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)  # said at every import where ipywidgets is missing; text will do
    from tqdm.auto import tqdm

__all__ = ["tqdm"]

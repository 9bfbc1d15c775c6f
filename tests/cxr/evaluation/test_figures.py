"""Figures of results that leave a metric undefined."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from tests.trained import probability, report_of

from cxr.evaluation import figures
from cxr.settings import LABELS


@pytest.mark.parametrize(("logits", "labels"), [([-3, -2, -4, -1], [0, 1, 0, 1]), ([-3, -2, 3, 1], [0, 0, 0, 0])])
def test_the_roc_is_drawn_where_nothing_is_predicted_positive_or_nothing_is_positive(logits, labels):
    names = {"LABEL": [LABELS[label] for label in labels], "PATIENT_ID": list("abcd"), "IMAGE_ID": list("efgh")}
    rows = pd.DataFrame(names).assign(CAUSE=None, SEX=None, AGE_BAND=None, VIEW_POSITION=None, FORMAT="PNG")
    report = report_of(rows, np.array(logits))
    assert report["metrics"]["ppv" if any(labels) else "auroc"]["value"] is None
    figure = figures.roc_and_precision(report, np.array(labels), probability(np.array(logits)))
    figure.canvas.draw()
    assert ("undefined" in figure.axes[0].get_legend().get_texts()[0].get_text()) == (not any(labels))
    plt.close(figure)

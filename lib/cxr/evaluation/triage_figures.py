"""Matplotlib figures of triage."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cxr.colours import BLUE, GREEN, GREY, ORANGE
from cxr.evaluation.triage import risk_coverage
from cxr.model.zones import RULE_IN, RULE_OUT, UNCERTAIN


def risk_and_zones(labels: np.ndarray, positive: np.ndarray, threshold: float, zones: np.ndarray) -> Figure:
    """Risk-coverage curve with the point of the triage, and the number of images in each zone by their label.

    Args:
        labels: bool [N], True for positive.
        positive: [N], probabilities of being positive.
        threshold: of the label.
        zones: [N] of :func:`cxr.model.zones.to_zones`; None where there is no answer.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    coverage, risk = risk_coverage(labels, positive, threshold)
    left.plot(coverage, risk, color=BLUE, linewidth=2, label="surest answers first")
    decided = (zones == RULE_OUT) | (zones == RULE_IN)
    if decided.any():
        wrong = np.where(zones == RULE_OUT, labels, ~labels)[decided].mean()
        left.plot(
            decided.mean(), wrong, "o", color=ORANGE, markersize=8, markeredgecolor="white", clip_on=False,
            label=f"triage: {decided.mean():.0%} decided, {wrong:.1%} wrong",
        )  # fmt: skip
    left.set(xlabel="images answered (coverage)", ylabel="wrong among them (risk)", xlim=(0, 1.01), ylim=(0, None))
    left.xaxis.set_major_formatter(PercentFormatter(1))
    left.yaxis.set_major_formatter(PercentFormatter(1))
    left.legend(frameon=False, loc="upper left")
    left.set_title("Risk and coverage")
    names, start = (RULE_OUT, UNCERTAIN, RULE_IN), np.zeros(3)
    for truth, colour, title in ((False, GREEN, "negative"), (True, ORANGE, "positive")):
        counts = np.array([((zones == name) & (labels == truth)).sum() for name in names])
        right.bar([name.replace("_", " ") for name in names], counts, bottom=start, color=colour, label=title)
        start = start + counts
    right.axhline(0, color=GREY, linewidth=1)
    right.set(ylabel="images", title="Zones and true labels")
    right.legend(frameon=False)
    return figure

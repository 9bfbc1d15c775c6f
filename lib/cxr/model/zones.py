"""What to do with an image, by its probability: rule out, rule in, or leave it to a reader."""

import numpy as np

RULE_OUT, UNCERTAIN, RULE_IN = "rule_out", "uncertain", "rule_in"


def to_zones(positive: np.ndarray, rule_out_at: float | None, rule_in_at: float | None) -> np.ndarray:
    """The zone of each probability of being positive, [N] -> names [N].

    Args:
        rule_out_at: at or below it an image is ruled out; None: no image is.
        rule_in_at: at or above it an image is ruled in; None: no image is.
    """
    zones = np.full(len(positive), UNCERTAIN, dtype=object)
    if rule_out_at is not None:
        zones[np.asarray(positive) <= rule_out_at] = RULE_OUT
    if rule_in_at is not None:
        zones[np.asarray(positive) >= rule_in_at] = RULE_IN
    return zones


def without_contradictions(zones: np.ndarray, labelled_positive: np.ndarray) -> np.ndarray:
    """The zones [N], but `uncertain` where one says the opposite of the label. That needs a caller's own threshold.

    Args:
        labelled_positive: bool [N], whether the label is another class than the negative one.
    """
    opposite = np.where(labelled_positive, RULE_OUT, RULE_IN)
    return np.where(zones == opposite, UNCERTAIN, zones)

"""Triage: two thresholds. Between them an image needs a reader; outside them the error is bounded.

At or below `rule_out_at` the negative predictive value (NPV), and at or above `rule_in_at` the positive one (PPV), is
at least the stated level, with a joint confidence of 95%. Predictive values are not monotone in the threshold, so a
plain conformal bound does not hold. Learn then Test (Angelopoulos et al. 2021) needs no monotone values: each threshold
is a hypothesis ("the level is not reached"), with an exact binomial p-value. They are tested one after another, in an
order that was fixed on other patients, until the first that cannot be rejected (fixed-sequence testing), each side at
2.5%.

The guarantee is for patients like those tested, one image each, at their prevalence.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.special import bdtr, betaincinv, logit

from cxr.model.zones import RULE_IN, RULE_OUT, UNCERTAIN, to_zones

CONFIDENCE = 0.95  # that both levels hold
ALPHA = (1 - CONFIDENCE) / 2  # for each side
POWER = 0.8  # chance of passing that the number of patients needed is computed for
MOST = 10**4  # patients; more are not worth naming
PREVALENCES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
_STEPS = 60  # thresholds that are tried, at most


@dataclass(frozen=True)
class Side:
    """One of the two thresholds, and its result on the tested patients.

    `at`: the threshold, None if none passed. `images` of the tested patients are in the zone, `wrong` of them have the
    other label, and `bound` is the exact 97.5% lower bound of the predictive value; with `at` None, these three are
    those of the first threshold tried. `needed`: how many tested patients would give the best threshold a chance of
    80%; None if a threshold passed, or if the level is out of reach at any number.
    """

    level: float
    at: float | None
    images: int
    wrong: int
    bound: float
    needed: int | None = None


@dataclass(frozen=True)
class Triage:
    """Both sides, and the number of patients that they were tested on, one image each."""

    rule_out: Side
    rule_in: Side
    patients: int

    def zones(self, positive: np.ndarray) -> np.ndarray:
        """See :func:`cxr.model.zones.to_zones`."""
        return to_zones(positive, self.rule_out.at, self.rule_in.at)

    def to_json(self) -> dict:
        return asdict(self) | {"confidence": CONFIDENCE, "fewest": self.fewest}

    @property
    def fewest(self) -> int:
        """The smallest number of patients in a zone that can pass, none of them wrong: ln 0.025 / ln level."""
        return max(fewest_without_error(side.level) for side in (self.rule_out, self.rule_in))

    def __str__(self) -> str:
        return f"Tested on {self.patients:,} patients, one image each:\n{describe(self.to_json(), between=chr(10))}"


def choose_triage(
    tuning: tuple[np.ndarray, np.ndarray],
    tested: tuple[np.ndarray, np.ndarray],
    threshold: float,
    *,
    npv: float = 0.95,
    ppv: float = 0.95,
) -> Triage:
    """Choose both thresholds.

    Args:
        tuning: (labels bool [N], calibrated probabilities of being positive [N]) of patients that may have been used
            for any choice. They fix the order in which thresholds are tried.
        tested: the same for other patients, one image each, that were used for no choice.
        threshold: of the label. Images are ruled out only below it and ruled in only at or above it, so that no zone
            contradicts the label.
        npv, ppv: the levels.
    """
    (labels, scores), (tested_labels, tested_scores) = (
        (np.asarray(truth, dtype=bool), np.asarray(said, dtype=float)) for truth, said in (tuning, tested)
    )
    out = _choose_side(np.sort(scores[scores < threshold]), (labels, scores), (tested_labels, tested_scores), level=npv)
    # Ruling in is ruling out with all signs changed.
    turned = _choose_side(
        np.sort(-scores[scores >= threshold]), (~labels, -scores), (~tested_labels, -tested_scores), level=ppv
    )
    at = None if turned.at is None else -turned.at
    return Triage(out, Side(**asdict(turned) | {"at": at}), len(tested_labels))


def _choose_side(
    candidates: np.ndarray,
    tuning: tuple[np.ndarray, np.ndarray],
    tested: tuple[np.ndarray, np.ndarray],
    level: float,
) -> Side:
    """The zone is what lies at or below the threshold; `tuning` and `tested` are (wrong there, scores)."""
    tried = np.unique(candidates)
    if len(tried) > _STEPS:
        tried = tried[np.linspace(0, len(tried) - 1, _STEPS).round().astype(int)]
    if not len(tried):
        return Side(level, None, 0, 0, 0.0)
    inside, wrong = _count(tried, *tuning)
    power = _power(inside, wrong, len(tuning[0]), len(tested[0]), level)
    # The surest first, then wider ones: narrower ones would be of no use. Of equals, the widest.
    first = (
        len(power) - 1 - int(np.argmax(power[::-1])) if power.max() else int(np.argmax(inside - wrong / (1 - level)))
    )
    images, errors = _count(tried[first:], *tested)
    refused = bdtr(errors, images, 1 - level) > ALPHA
    passed = int(np.argmax(refused)) if refused.any() else len(refused)
    found = max(passed - 1, 0)
    return Side(
        level,
        at=float(tried[first + found]) if passed else None,
        images=int(images[found]),
        wrong=int(errors[found]),
        bound=lower_bound(int(images[found]), int(errors[found])),
        needed=None if passed else _patients_needed(inside, wrong, len(tuning[0]), level),
    )


def _count(thresholds: np.ndarray, wrong: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each threshold: the scores at or below it, and how many of them are wrong."""
    order = np.argsort(scores)
    inside = np.searchsorted(scores[order], thresholds, side="right")
    return inside, np.append(0, np.cumsum(wrong[order]))[inside]


def _power(inside: np.ndarray, wrong: np.ndarray, tuned: int, patients: int | np.ndarray, level: float) -> np.ndarray:
    """The chance of each threshold to pass on this number of patients, if they are as the tuning patients are."""
    share = inside / tuned
    # A standard deviation fewer than expected: a zone that holds too few images cannot pass at all.
    images = np.maximum(np.floor(share * patients - np.sqrt(patients * share * (1 - share))), 0).astype(int)
    allowed = _errors_allowed(images, level)
    # Half an error is added, because none among few says little.
    chance = bdtr(np.maximum(allowed, 0), images, (wrong + 0.5) / (inside + 1))
    return np.where(allowed < 0, 0.0, chance)


def _errors_allowed(images: np.ndarray, level: float) -> np.ndarray:
    """The most errors among so many images at which the level is shown; -1 where none may be."""
    error = 1 - level
    allowed = np.floor(images * error - 2 * np.sqrt(images * error * level))  # near the answer
    while (more := (allowed < images) & (bdtr(np.maximum(allowed + 1, 0), images, error) <= ALPHA)).any():
        allowed += more
    while (fewer := (allowed >= 0) & (bdtr(np.maximum(allowed, 0), images, error) > ALPHA)).any():
        allowed -= fewer
    return np.maximum(allowed, -1)


def _patients_needed(inside: np.ndarray, wrong: np.ndarray, tuned: int, level: float) -> int | None:
    within = np.flatnonzero((wrong + 0.5) / (inside + 1) < 1 - level)  # more patients would refute the others

    def passes(patients: float) -> bool:
        return bool(_power(inside[some], wrong[some], tuned, patients, level).max() >= POWER)

    if not len(within):
        return None
    some = within[np.unique(np.linspace(0, len(within) - 1, 10).astype(int))]
    numbers = np.unique(np.round(np.geomspace(10, MOST, 80)))
    return int(numbers[bisect_left(numbers, True, key=passes)]) if passes(MOST) else None


def fewest_without_error(level: float) -> int:
    """The smallest number of images in a zone that can show the level, none of them wrong: ln 0.025 / ln level."""
    return int(np.ceil(np.log(ALPHA) / np.log(level)))


def lower_bound(images: int, wrong: int) -> float:
    """The exact 97.5% lower bound of a predictive value (Clopper and Pearson 1934)."""
    return float(betaincinv(images - wrong, wrong + 1, ALPHA)) if images > wrong else 0.0


def describe(found: dict, between: str = "; ") -> str:
    """A sentence for each side of :meth:`Triage.to_json`."""
    out, into = found["rule_out"], found["rule_in"]
    return between.join(
        (
            _describe(out, "rule out", "at or below", "NPV", found["patients"]),
            _describe(into, "rule in", "at or above", "PPV", found["patients"]),
        )
    )


def _describe(side: dict, name: str, sign: str, value: str, patients: int) -> str:
    if side["at"] is not None:
        right = f"{side['images'] - side['wrong']} of {side['images']} are right"
        return f"{name} {sign} {side['at']:.3f}: {right}, {value} at least {side['bound']:.3f}"
    few = f"a zone needs at least {fewest_without_error(side['level'])} patients, none of them wrong"
    tried = f"at the first threshold tried, {side['wrong']} of {side['images']} were wrong"
    needed = "more patients may not help, or the tuning half is too small to tell"
    if side["needed"]:
        times = (
            f" ({side['needed'] / patients:.0f} times as many)" if patients and side["needed"] > 1.5 * patients else ""
        )
        needed = f"with about {side['needed']:,} tested patients{times} one would pass with a chance of {POWER:.0%}"
    return f"{name}: no threshold passed the test of {value} {side['level']:.2f} ({few}; {tried}; {needed})"


def measure_zones(labels: np.ndarray, zones: np.ndarray) -> dict:
    """Images, wrong ones, and the fraction of positive and of negative images in each zone.

    Args:
        labels: bool [N], True for positive.
        zones: [N] of :func:`cxr.model.zones.to_zones`; None where there is no answer.
    """
    labels, zones = np.asarray(labels, dtype=bool), np.asarray(zones, dtype=object)
    wrong = {RULE_OUT: labels, RULE_IN: ~labels}
    return {
        name: {
            "images": int((inside := zones == name).sum()),
            "wrong": int((inside & wrong[name]).sum()) if name in wrong else None,
            "of_positive": _mean(inside[labels]),
            "of_negative": _mean(inside[~labels]),
        }
        for name in (RULE_OUT, UNCERTAIN, RULE_IN)
    }


def report(labels: np.ndarray, zones: np.ndarray) -> dict:
    """Results of triage and gate on a set of images, for JSON: `zones` of :func:`measure_zones`, how many images are
    unlike those of training, and the fraction that needs a reader."""
    return {
        "images": len(zones),
        "unlike": sum(zone is None for zone in zones),
        "for_a_reader": float(1 - _decided(zones).mean()),
        "zones": measure_zones(labels, zones),
    }


def _decided(zones: np.ndarray) -> np.ndarray:
    return np.isin(np.asarray(zones, dtype=object).astype(str), (RULE_OUT, RULE_IN))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def zone_table(measured: dict) -> pd.DataFrame:
    """:func:`measure_zones` for readers, with the predictive values."""
    rows = {}
    for name, zone in measured.items():
        known = zone["wrong"] is not None and zone["images"]
        rows[name.replace("_", " ")] = {
            "images": zone["images"],
            "wrong": "" if zone["wrong"] is None else zone["wrong"],
            "predictive value": f"{1 - zone['wrong'] / zone['images']:.3f}" if known else "",
            "of positive images": "" if zone["of_positive"] is None else f"{zone['of_positive']:.1%}",
            "of negative images": "" if zone["of_negative"] is None else f"{zone['of_negative']:.1%}",
        }
    return pd.DataFrame(rows).T


def at_prevalences(measured: dict, prevalences: Sequence[float] = PREVALENCES) -> pd.DataFrame:
    """NPV of ruling out, PPV of ruling in, and images left to a reader, at other prevalences.

    By Bayes' rule from the fractions of :func:`measure_zones`, which do not depend on the prevalence. NaN if a zone or
    a class has no image. Images that the gate stopped are left to a reader too.
    """
    share = np.asarray(prevalences, dtype=float)
    fractions = {
        name: [np.nan if zone[of] is None else zone[of] for of in ("of_positive", "of_negative")]
        for name, zone in measured.items()
    }
    parts = {name: (share * ill, (1 - share) * well) for name, (ill, well) in fractions.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "NPV of rule out": parts[RULE_OUT][1] / sum(parts[RULE_OUT]),
            "PPV of rule in": parts[RULE_IN][0] / sum(parts[RULE_IN]),
            "for a reader": 1 - sum(parts[RULE_OUT]) - sum(parts[RULE_IN]),
        }
    return pd.DataFrame(columns, index=pd.Index(share, name="prevalence"))


def readers_needed(zones: np.ndarray) -> str:
    """Of 100 images, how many need a reader: those that are uncertain, and those without an answer."""
    return f"Of 100 images, {round(100 * (1 - _decided(zones).mean()))} need a reader."


def risk_coverage(labels: np.ndarray, positive: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(coverage, risk), [N] each: the fraction of images answered, most confident first, and their error rate.

    The most confident are farthest from the threshold in log-odds (El-Yaniv and Wiener 2010).
    """
    odds = logit(np.clip([*positive, threshold], 1e-9, 1 - 1e-9))
    order = np.argsort(-np.abs(odds[:-1] - odds[-1]), kind="stable")
    wrong = ((np.asarray(positive) >= threshold) != np.asarray(labels, dtype=bool))[order]
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(wrong) / answered

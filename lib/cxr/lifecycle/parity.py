"""Check that a registered model answers like the trained network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from snowflake.ml.model import ModelVersion

from cxr.lifecycle.runs import GATE
from cxr.model import preprocessing
from cxr.model.config import ModelConfig
from cxr.model.gate import Gate
from cxr.model.gate_features import predict_with_features
from cxr.model.network import load_network, predict_logits
from cxr.model.probabilities import choose_classes, p_positive, to_names
from cxr.model.registered import XrayClassifier
from cxr.model.zones import to_zones
from cxr.serving.scoring import LARGEST_IN_SQL, TOO_LARGE, encode, score

# Largest allowed difference of a probability on the same device: folded batch norms round otherwise, by less than this.
TOLERANCE = 1e-5
# Another machine, GPU or version of torch rounds otherwise: up to about 1e-5 in the logit.
ACROSS_MACHINES = 1e-4
AT_GATE = 1e-3  # a relative distance this near to the gate's level may fall on either side


@dataclass(frozen=True)
class Expected:
    """The trained network's own answers for N images; every path must give the same."""

    probabilities: np.ndarray  # calibrated, float64 [N, classes]
    distances: np.ndarray  # from the images of training, relative to the gate's level, [N]; above 1 is unlike
    config: ModelConfig

    @property
    def positive(self) -> np.ndarray:
        return p_positive(self.probabilities)

    @property
    def answers(self) -> pd.DataFrame:
        """LABEL and, in a run that has triage, TRIAGE [N]; null for an image that is unlike those of training."""
        config = self.config
        said = {"LABEL": to_names(choose_classes(self.probabilities, config.threshold), config.labels)}
        if config.triage:
            said["TRIAGE"] = to_zones(self.positive, config.rule_out_at, config.rule_in_at)
        answers = pd.DataFrame(said, dtype=object)
        answers.loc[self.distances > 1] = None
        return answers

    def undecided(self, tolerance: float) -> pd.DataFrame:
        """Where LABEL and TRIAGE [N] may differ, if each probability may differ by `tolerance`."""
        config, gate = self.config, np.abs(self.distances - 1) <= AT_GATE
        label = np.abs(self.positive - config.threshold) <= tolerance
        if self.probabilities.shape[1] > 2:
            second, first = np.sort(self.probabilities[:, 1:], axis=1)[:, -2:].T
            label |= first - second <= 2 * tolerance
        levels = [level for level in (config.rule_out_at, config.rule_in_at) if level is not None]
        zone = np.any([np.abs(self.positive - level) <= tolerance for level in levels] or [False * gate], axis=0)
        return pd.DataFrame({"LABEL": label | gate, "TRIAGE": zone | gate})

    def agrees(self, answers: pd.DataFrame, tolerance: float = ACROSS_MACHINES) -> np.ndarray:
        """Whether each answer has the LABEL and TRIAGE of the network, or may differ: bool [N].

        An image without a probability (too large for a path, for instance) has no label to compare, and agrees.
        """
        own, may_differ = self.answers, self.undecided(tolerance)
        equal = [_same(answers[name], own[name]) | may_differ[name].to_numpy() for name in own if name in answers]
        return answers["P_POSITIVE"].isna().to_numpy() | np.all(equal, axis=0)


def ask_network(artifacts: Path, files: list[bytes]) -> Expected:
    """The answers of a fetched run's network for image files.

    Raises:
        BadImage: a file cannot be decoded.
    """
    config = ModelConfig.read(artifacts / "model.json")
    network = load_network(config.backbone, config.classes, artifacts / "network.pt")
    images = torch.from_numpy(np.stack([preprocessing.load(data, config.image_size) for data in files]))
    if config.gate_is_on:
        logits, features = predict_with_features(network, images)
        distances = Gate.read(artifacts / GATE).distances(features)
    else:
        logits, distances = predict_logits(network, images), np.zeros(len(files))
    return Expected(config.calibration.probabilities(logits.numpy()), distances, config)


@dataclass(frozen=True)
class Parity:
    """The difference between the registered model and the network on the same images.

    `undecided` images have another label, because their probability is within the tolerance of the threshold.
    """

    images: int  # compared
    largest_difference: float
    labels_equal: bool  # LABEL and TRIAGE
    undecided: int = 0
    unlike: int = 0  # those of training
    too_large: int = 0  # for SQL, so not compared


def choose_images(catalog: pd.DataFrame, at_most: int = 32) -> pd.DataFrame:
    """Rows of test images to compare on; those that are too large for SQL last."""
    rows = catalog[catalog["SPLIT"] == "test"]
    return rows.iloc[np.argsort(rows["BYTES"] > LARGEST_IN_SQL, kind="stable")].head(at_most)


def check_parity(
    version: ModelVersion | XrayClassifier, files: list[bytes], expected: Expected, tolerance: float = TOLERANCE
) -> Parity:
    """Compare the registered model's predictions with the network's, for all images at once and for one alone.

    Args:
        version: the registered version, asked where it runs; or the model that is to be logged, asked in this process.
        files: the bytes of N image files. One that is too large for SQL is not compared where SQL is asked.
        expected: from :func:`ask_network`.
        tolerance: of a probability. :data:`ACROSS_MACHINES` for a version that answers on another machine or device.

    Raises:
        ValueError: a probability is missing or differs by more than the tolerance, or a label or zone differs although
            the probability is further than that from the threshold. Do not use such a version.
    """
    answer = _ask(version, files)
    compared = (answer["STATUS"] != TOO_LARGE).to_numpy()
    differences = np.abs(answer["P_POSITIVE"].to_numpy(dtype=float) - expected.positive)[compared]
    if compared.any():
        first = int(compared.argmax())
        alone = _ask(version, [files[first]])["P_POSITIVE"].to_numpy(dtype=float)
        differences = np.append(differences, np.abs(alone - expected.positive[first]))
    # np.max keeps NaN, so a missing probability is a difference that no tolerance allows.
    difference = float(np.max(differences, initial=0.0))
    agree = expected.agrees(answer, tolerance)
    exactly = _same(answer["LABEL"], expected.answers["LABEL"])
    parity = Parity(
        images=int(compared.sum()),
        largest_difference=difference,
        labels_equal=bool(agree.all()),
        undecided=int((compared & agree & ~exactly).sum()),
        unlike=int((expected.distances > 1).sum()),
        too_large=int((~compared).sum()),
    )
    if not parity.labels_equal or not difference <= tolerance:
        name = getattr(version, "version_name", "the model to be logged")
        raise ValueError(
            f"{name} does not answer as the network it was logged from, within {tolerance:g}: {parity}. Do not use it: "
            "log the run again with this code, or train again"
        )
    return parity


def _same(first: pd.Series, second: pd.Series) -> np.ndarray:
    """Where two columns, in one order, are equal; nulls equal nulls."""
    one, other = (column.reset_index(drop=True) for column in (first, second))
    return ((one == other) | (one.isna() & other.isna())).to_numpy()


def _ask(version: ModelVersion | XrayClassifier, files: list[bytes]) -> pd.DataFrame:
    return version.predict(encode(files)) if isinstance(version, XrayClassifier) else score(version, files)

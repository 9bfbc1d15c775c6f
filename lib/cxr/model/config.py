"""`model.json`: all that a trained network needs beside its weights to answer, and where it comes from."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from cxr.model.preprocessing import PREPROCESSING_VERSION
from cxr.model.probabilities import Calibration


@dataclass(frozen=True)
class ModelConfig:
    """Written once by the training run; the registered model, parity checks and the card read it."""

    backbone: str
    image_size: int  # pixels a side
    labels: tuple[str, ...]  # class names; the first is the negative class
    temperature: float
    bias: tuple[float, ...]  # one for each output of the network
    threshold: float  # of the probability of anything but the negative class
    weights: str  # that training started from: "imagenet" or "random"
    seed: int
    best_epoch: int
    data: dict | str  # what it was trained on: facts, or, in a run of an earlier version, words
    profile: str = "default"  # of the settings: a smoke run proves that parts work and is never good
    cuda_version: str | None = None  # of the PyTorch that trained it, on a GPU
    content: str = ""  # SHA-256 of the image ids with their labels and splits
    pixels: dict[str, str] = field(default_factory=dict)  # image id -> SHA-256 of its pixels as the network saw them
    preprocessing_version: int | None = PREPROCESSING_VERSION  # None: of a run before versions had numbers
    triage: dict = field(default_factory=dict)  # of cxr.evaluation.triage; empty in a run without triage
    gate: dict = field(default_factory=dict)  # facts of cxr.training.gate_fitting; the gate itself is a file beside it

    @property
    def calibration(self) -> Calibration:
        return Calibration(self.temperature, self.bias)

    @property
    def rule_out_at(self) -> float | None:
        """At or below this probability an image is ruled out; None: no image is."""
        return self.triage.get("rule_out", {}).get("at")

    @property
    def rule_in_at(self) -> float | None:
        """At or above this probability an image is ruled in; None: no image is."""
        return self.triage.get("rule_in", {}).get("at")

    @property
    def gate_is_on(self) -> bool:
        """Whether images unlike those of training get no label."""
        return bool(self.gate.get("on"))

    @property
    def classes(self) -> int:
        return len(self.labels)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> "ModelConfig":
        """Reads files of earlier versions of this project too.

        Raises:
            ValueError: the file is no JSON or lacks a field; names it.
        """
        found = json.loads(path.read_text())
        # Earlier runs added the bias to the network's own, and kept a hash of the preprocessing's code.
        found = {"bias": [0.0], "preprocessing_version": None} | found
        known = {each.name for each in fields(cls)}
        try:
            config = cls(**{name: value for name, value in found.items() if name in known})
        except TypeError as error:
            raise ValueError(f"{path.name} is not a model's configuration: {error}") from None
        object.__setattr__(config, "labels", tuple(config.labels))
        object.__setattr__(config, "bias", tuple(config.bias))
        return config

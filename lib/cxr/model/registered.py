"""The registered model: base64 images in, probabilities, a label and a status out.

The registry ships this package with it; it needs nothing else of this project.
"""

import base64
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from snowflake.ml.model import custom_model

from cxr.model import preprocessing
from cxr.model.config import ModelConfig
from cxr.model.gate import Gate, status_of
from cxr.model.gate_features import predict_with_features
from cxr.model.gradcam import grad_cam, output_of_interest, to_png
from cxr.model.network import load_network, make_fast, predict_logits
from cxr.model.probabilities import choose_classes, p_positive, to_names
from cxr.model.zones import to_zones, without_contradictions

# Stands for the threshold that validation chose; the registry allows a parameter no other type than float.
OWN = math.nan
# P_POSITIVE: 1 minus the probability of the negative class. PROBABILITIES: JSON, class -> probability, of sum 1.
# TRIAGE: rule_out, uncertain or rule_in.
OUTPUTS = ("P_POSITIVE", "LABEL", "STATUS", "PROBABILITIES", "TRIAGE")
CHUNK = 32  # images decoded and scored together; bounds the memory whatever batch arrives


class XrayClassifier(custom_model.CustomModel):
    """`PREDICT(IMAGE; threshold)` and `EXPLAIN(IMAGE)` on base64 of JPEG, PNG, TIFF or DICOM files.

    A row that cannot be scored has a null probability and a STATUS that says why; the other rows are answered. A row
    that is unlike the images of training keeps its probability and has neither LABEL nor TRIAGE.
    """

    def __init__(self, context: custom_model.ModelContext) -> None:
        super().__init__(context)
        self.config = ModelConfig.read(Path(context.path("config")))
        network = load_network(self.config.backbone, self.config.classes, Path(context.path("weights")))
        self.network = make_fast(network)
        self.network.requires_grad_(False)
        self.gate = Gate.read(Path(context.path("gate"))) if self.config.gate_is_on else None
        # The same threads for all requests, and one for the network: each thread that decodes or computes keeps memory,
        # and a service answers from many.
        self.decoders, self.scorer = ThreadPoolExecutor(os.cpu_count()), ThreadPoolExecutor(1)

    @custom_model.inference_api
    def predict(self, X: pd.DataFrame, *, threshold: float = OWN) -> pd.DataFrame:
        """IMAGE (base64) -> :data:`OUTPUTS`; by default at the threshold that validation chose.

        A zone that contradicts the label at another threshold becomes `uncertain`.
        """
        return self._score(X, self.config.threshold if math.isnan(threshold) else threshold)

    @custom_model.inference_api
    def explain(self, X: pd.DataFrame) -> pd.DataFrame:
        """IMAGE (base64) -> :data:`OUTPUTS` at the model's own threshold, and HEATMAP (base64 PNG)."""
        return self._score(X, self.config.threshold, heatmaps=True)

    def _score(self, X: pd.DataFrame, threshold: float, heatmaps: bool = False) -> pd.DataFrame:
        columns = [*OUTPUTS, "HEATMAP"] if heatmaps else list(OUTPUTS)
        if not 0 <= threshold <= 1:
            answers = [_refused("bad_threshold: the threshold must lie between 0 and 1")] * len(X)
        else:
            texts = X.iloc[:, 0].tolist()
            answers = []
            for start in range(0, len(texts), CHUNK):
                decoded = list(self.decoders.map(self._decode, texts[start : start + CHUNK]))
                answers += self.scorer.submit(self._score_chunk, decoded, threshold, heatmaps).result()
        return pd.DataFrame(answers, columns=columns).astype({"P_POSITIVE": "float64"})

    def _decode(self, text: str) -> np.ndarray | preprocessing.BadImage:
        try:
            return preprocessing.load(preprocessing.from_base64(text), self.config.image_size)
        except preprocessing.BadImage as bad:
            return bad

    def _score_chunk(
        self, decoded: list[np.ndarray | preprocessing.BadImage], threshold: float, heatmaps: bool
    ) -> list[dict]:
        good = [item for item in decoded if isinstance(item, np.ndarray)]
        rows = iter(self._answer(np.stack(good), threshold, heatmaps) if good else ())
        return [next(rows) if isinstance(item, np.ndarray) else _refused(str(item)) for item in decoded]

    def _answer(self, pixels: np.ndarray, threshold: float, heatmaps: bool) -> list[dict]:
        """The answers for uint8 [N, size, size]."""
        images = torch.from_numpy(pixels)
        logits, distances = self._ask(images)
        probabilities = self.config.calibration.probabilities(logits.numpy())
        positive, known = p_positive(probabilities), distances <= 1
        classes = choose_classes(probabilities, threshold)
        labels = to_names(classes, self.config.labels)
        zones = to_zones(positive, self.config.rule_out_at, self.config.rule_in_at)
        zones = without_contradictions(zones, classes != 0)
        columns = {
            "P_POSITIVE": positive.tolist(),
            "LABEL": np.where(known, labels, None).tolist(),
            "STATUS": [status_of(distance) for distance in distances],
            "PROBABILITIES": [
                json.dumps(dict(zip(self.config.labels, row, strict=True))) for row in probabilities.tolist()
            ],
            "TRIAGE": np.where(known, zones, None).tolist(),
        }
        if heatmaps:
            maps = grad_cam(self.network, images, output_of_interest(probabilities))
            columns["HEATMAP"] = [base64.b64encode(to_png(each)).decode() for each in maps]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _ask(self, images: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        """(logits, distances from the images of training relative to the level; 0 without a gate)."""
        if self.gate is None:
            return predict_logits(self.network, images), np.zeros(len(images))
        logits, features = predict_with_features(self.network, images)
        return logits, self.gate.distances(features)


def _refused(status: str) -> dict:
    return {"P_POSITIVE": np.nan, "STATUS": status}

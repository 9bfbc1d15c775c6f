"""The registered model: base64 images in, a probability, a label and a status out.

It travels inside the registry with `images`, `network` and `saliency`, and needs nothing else of this project.
"""

import base64
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import torch
from snowflake.ml.model import custom_model

from cxr.model import preprocessing
from cxr.model.gradcam import grad_cam, to_png
from cxr.model.network import PneumoniaNetwork, best_device, predict_logits

# Stands for the threshold that validation chose; the registry allows a parameter no other type than float.
OWN = math.nan
CHUNK = 32  # images decoded and scored together; bounds the memory whatever batch arrives


class PneumoniaClassifier(custom_model.CustomModel):
    """`PREDICT(IMAGE; threshold)` and `EXPLAIN(IMAGE)` on base64 of JPEG, PNG, TIFF or DICOM files.

    A row that cannot be scored has a null probability and a STATUS that says why; the other rows are answered.
    """

    def __init__(self, context: custom_model.ModelContext) -> None:
        super().__init__(context)
        with open(context.path("config")) as file:
            self.config = json.load(file)
        self.network = PneumoniaNetwork(self.config["backbone"])
        self.network.load_state_dict(torch.load(context.path("weights"), map_location="cpu", weights_only=True))
        self.network.eval().requires_grad_(False).to(best_device())

    @custom_model.inference_api
    def predict(self, X: pd.DataFrame, *, threshold: float = OWN) -> pd.DataFrame:
        """IMAGE (base64) -> P_PNEUMONIA, LABEL, STATUS; by default at the threshold that validation chose."""
        return self._score(X, self.config["threshold"] if math.isnan(threshold) else threshold)

    @custom_model.inference_api
    def explain(self, X: pd.DataFrame) -> pd.DataFrame:
        """IMAGE (base64) -> P_PNEUMONIA, LABEL, STATUS at the model's own threshold, HEATMAP (base64 PNG)."""
        return self._score(X, self.config["threshold"], heatmaps=True)

    def _score(self, X: pd.DataFrame, threshold: float, heatmaps: bool = False) -> pd.DataFrame:
        if not 0 <= threshold <= 1:
            status = "bad_threshold: the threshold must lie between 0 and 1"
            answers = [{"P_PNEUMONIA": np.nan, "LABEL": None, "STATUS": status}] * len(X)
        else:
            texts = X.iloc[:, 0].tolist()
            answers = []
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for start in range(0, len(texts), CHUNK):
                    decoded = list(pool.map(self._decode, texts[start : start + CHUNK]))
                    answers += self._score_chunk(decoded, threshold, heatmaps)
        columns = ["P_PNEUMONIA", "LABEL", "STATUS"] + (["HEATMAP"] if heatmaps else [])
        return pd.DataFrame(answers, columns=columns).astype({"P_PNEUMONIA": "float64"})

    def _decode(self, text: str) -> np.ndarray | str:
        try:
            return preprocessing.load(preprocessing.from_base64(text), self.config["image_size"])
        except preprocessing.BadImage as error:
            return str(error)

    def _score_chunk(self, decoded: list[np.ndarray | str], threshold: float, heatmaps: bool) -> list[dict]:
        good = [item for item in decoded if not isinstance(item, str)]
        stack = torch.from_numpy(np.stack(good)) if good else torch.empty(0, 1, 1, dtype=torch.uint8)
        logits = predict_logits(self.network, stack).double() / self.config["temperature"]
        probabilities = iter(torch.sigmoid(logits).tolist())
        maps = iter(grad_cam(self.network, stack) if heatmaps and good else ())
        answers = []
        for item in decoded:
            if isinstance(item, str):
                answers.append({"P_PNEUMONIA": np.nan, "LABEL": None, "STATUS": item})
                continue
            p = next(probabilities)
            answer = {"P_PNEUMONIA": p, "LABEL": self.config["labels"][int(p >= threshold)], "STATUS": "ok"}
            if heatmaps:
                answer["HEATMAP"] = base64.b64encode(to_png(next(maps))).decode()
            answers.append(answer)
        return answers

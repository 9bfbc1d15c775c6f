"""How good the default recipe is on images from elsewhere, as far as that can be known without them: over three seeds.

Each network is trained, calibrated and given its threshold as notebook 03 does it, on some of the patients. Then it
sees validation images of other patients, as they are and changed: with other random numbers than those it was chosen
with, and once more on top of that, which is more than it was trained with. Test images are never looked at.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from bench_results import Results
from cxr.data.labels import from_name
from cxr.evaluation.calibration import OperatingPoint, choose_operating_point
from cxr.evaluation.report import evaluate
from cxr.model import preprocessing
from cxr.model.network import XrayNetwork, best_device, predict_logits
from cxr.settings import LABELS, load
from cxr.training.augmentation import shifted
from cxr.training.batches import Examples
from cxr.training.recipe import recipe_for
from cxr.training.trainer import Trainer

SIDE = 128
SEEDS = (0, 1, 2)
CHANGES = 3  # random changes of every validation image
FRACTIONS = {"train": 0.7, "tuning": 0.1, "held back": 0.1}  # of the patients; the rest is not looked at
METRICS = ("auroc", "accuracy", "sensitivity", "specificity", "ece")


@dataclass(frozen=True)
class Part:
    """Images of some patients, in memory."""

    pixels: torch.Tensor
    rows: pd.DataFrame

    @property
    def labels(self) -> torch.Tensor:
        return torch.tensor([LABELS.index(label) for label in self.rows["LABEL"]])


def run(results: Results, data: Path, seeds: tuple[int, ...] = SEEDS) -> None:
    parts = split(data)
    found: dict[tuple[str, str], list[float]] = {}
    for seed in seeds:
        start = time.perf_counter()
        network, point = train(parts["train"], parts["tuning"], seed)
        took = time.perf_counter() - start
        part = parts["held back"]
        changed = [shifted(part.pixels, 1000 + number) for number in range(CHANGES)]
        harder = [shifted(images, 2000 + number) for number, images in enumerate(changed)]
        for name, images in (("as they are", [part.pixels]), ("changed", changed), ("changed twice", harder)):
            logits = np.concatenate([predict_logits(network, each).numpy() for each in images])
            metrics = evaluate(pd.concat([part.rows] * len(images)), logits, point, LABELS, seed=0)["metrics"]
            told = {metric: metrics[metric]["value"] for metric in METRICS}
            for metric, value in told.items():
                found.setdefault((name, metric), []).append(value)
            figures = ", ".join(f"{metric} {value:.3f}" for metric, value in told.items())
            print(f"seed {seed}, {took:.0f} s, held-back patients' images {name}: {figures}", flush=True)
    for (name, metric), values in found.items():
        results.add(f"{metric} on held-back patients' images {name}", values,
                    f"mean {statistics.mean(values):.4f}, {len(seeds)} seeds")  # fmt: skip


def train(examples: Part, tuning: Part, seed: int) -> tuple[XrayNetwork, OperatingPoint]:
    """The network and its operating point."""
    settings = load(argv=[], environ={})
    given = dict(epochs=settings.epochs, batch_size=settings.batch_size, learning_rate=settings.learning_rate)
    recipe = recipe_for(len(examples.rows), **given, seed=seed)
    torch.manual_seed(seed)
    network = XrayNetwork().to(best_device())
    network.start_from_frequencies(np.bincount(examples.labels, minlength=2) / len(examples.rows))
    chosen_on = Examples(tuning.pixels, tuning.labels).with_shifted(seed, recipe.augmentation)
    trained = Trainer(network, Examples(examples.pixels, examples.labels), chosen_on, recipe).fit().network
    copies = [tuning.pixels, *(shifted(tuning.pixels, seed + number, recipe.augmentation) for number in range(3))]
    logits = np.concatenate([predict_logits(trained, images).numpy() for images in copies])
    return trained, choose_operating_point(pd.concat([tuning.rows] * len(copies)), logits, LABELS)


def split(data: Path) -> dict[str, Part]:
    """Patients in the order of a seeded shuffle, dealt out by :data:`FRACTIONS`."""
    files = sorted(data.rglob("*.jpeg"))
    origins = [from_name(path.relative_to(data).as_posix()) for path in files]
    rows = pd.DataFrame({"PATIENT_ID": [o.patient_id for o in origins], "LABEL": [o.label for o in origins]})
    rows["PLACE"], rows["SPLIT"] = files, "validation"
    rows = rows[rows["LABEL"].isin(LABELS)]
    # The names number the patients of each class anew.
    patients = (rows["LABEL"] + rows["PATIENT_ID"]).unique()
    np.random.default_rng(0).shuffle(patients)
    borders = (np.cumsum(list(FRACTIONS.values())) * len(patients)).astype(int)
    dealt = dict(zip(FRACTIONS, np.split(patients, borders), strict=False))
    return {name: _part(rows[(rows["LABEL"] + rows["PATIENT_ID"]).isin(some)]) for name, some in dealt.items()}


def _part(rows: pd.DataFrame) -> Part:
    stack = np.stack([preprocessing.load(path.read_bytes(), SIDE) for path in rows["PLACE"]])
    return Part(torch.from_numpy(stack), rows.reset_index(drop=True))

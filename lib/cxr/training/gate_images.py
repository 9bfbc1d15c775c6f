"""Phantoms for the gate: a model of patients' images learns to stop them, a model of phantoms needs more of them."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from cxr.model.preprocessing import load
from cxr.phantoms.dataset import FINDINGS, NORMAL, phantom
from cxr.settings import Settings

COUNT = 300


def foreign_phantoms(side: int) -> torch.Tensor:
    """With each finding and none, obvious and faint, for a model of patients' images: uint8 [300, side, side]."""
    return _draw(side, FINDINGS, difficulties=(0, 0.5, 1), seed=0)


def more_phantoms(side: int, settings: Settings) -> torch.Tensor:
    """As notebook 02 draws them, of other patients, for a model of phantoms: uint8 [300, side, side]."""
    findings = FINDINGS[: settings.phantom_findings]
    return _draw(side, findings, difficulties=(settings.phantom_difficulty,), seed=settings.seed)


def _draw(side: int, findings: Sequence[str], difficulties: Sequence[float], seed: int) -> torch.Tensor:
    """Half of them have a finding, in turn. Stored as JPEG and decoded, because that leaves traces."""
    stack = np.empty((COUNT, side, side), np.uint8)
    for i in range(COUNT):
        label = findings[i // 2 % len(findings)] if i % 2 else NORMAL
        rng = np.random.default_rng([seed, i, 5])  # 1 to 4 are streams of :mod:`cxr.phantoms.dataset`
        file = io.BytesIO()
        drawn = phantom(label, rng=rng, difficulty=difficulties[i % len(difficulties)])
        Image.fromarray(drawn).save(file, "JPEG", quality=90)
        stack[i] = load(file.getvalue(), side)
    return torch.from_numpy(stack)

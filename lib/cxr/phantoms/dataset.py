"""Phantoms: synthetic chest X-rays, used if no data is given. For demonstration and tests only.

A phantom is a drawing, not a simulation. It has a body, two lungs, a heart on the patient's left (right in the image),
ribs, spine, clavicles, diaphragm, vessels, an exposure and noise, and it may have a finding: pneumonia or, if asked
for, another one. Metrics on phantoms say nothing about patients.

Three separate random streams make an image: the anatomy (the same in all images of a patient), the view (pose, breath,
exposure, noise: new in each image) and the finding. Anatomy and view do not depend on the label, so they cannot reveal
it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from cxr.atomic_files import write_atomically
from cxr.phantoms.anatomy import Anatomy
from cxr.phantoms.rendering import CAUSES, Finding, View, render
from cxr.progress import tqdm

NORMAL = "NORMAL"
FINDINGS = ("PNEUMONIA", "EFFUSION", "CARDIOMEGALY", "NODULE")  # a set has the first of them, or the first few
LABELS = (NORMAL, FINDINGS[0])  # of a set with the default findings
MANIFEST = "phantoms.json"
# Part of the manifest. Raise it when the same arguments give other pixels, so that two recipes never mix.
RECIPE = 1


def phantom(
    label: str,
    *,
    rng: np.random.Generator,
    size: int = 256,
    difficulty: float = 0.5,
    cause: str | None = None,
) -> np.ndarray:
    """One synthetic chest X-ray.

    Generators in the same state give the same chest, pose and noise for all labels: only the finding differs.

    Args:
        label: "NORMAL" or one of `FINDINGS`.
        rng: the only source of randomness. It advances by the same amount for every label.
        size: image side in pixels, at least 32.
        difficulty: how faint the finding is, from 0 (obvious) to 1 (nearly invisible).
        cause: "bacteria" (focal consolidation) or "virus" (diffuse interstitial pattern) of PNEUMONIA; drawn if None.

    Returns:
        uint8 [size, size], greyscale, bone bright.

    Raises:
        ValueError: an argument is outside the values above, or another label than PNEUMONIA has a cause.
    """
    _check(size=size, difficulty=difficulty)
    if label not in (NORMAL, *FINDINGS):
        raise ValueError(f"label={label!r} is not one of {(NORMAL, *FINDINGS)}")
    if cause is not None and (cause not in CAUSES or label != FINDINGS[0]):
        raise ValueError(f"cause={cause!r} does not fit label={label!r}")
    who, how, what = (np.random.default_rng(seed) for seed in rng.integers(2**62, size=3))
    finding = _draw_finding(what, label, cause) if label != NORMAL else None
    return render(Anatomy.draw(who), View.draw(how, size), finding, difficulty)


def write_phantoms(
    folder: Path,
    *,
    patients: int = 120,
    images_per_patient: float = 2,
    pneumonia_share: float = 0.5,
    findings: int = 1,
    size: int = 256,
    difficulty: float = 0.5,
    seed: int = 0,
) -> Path:
    """Write a set of phantoms as `folder/NORMAL/IM-0001-0001.jpeg`, `folder/PNEUMONIA/person2_virus_1.jpeg`, ...

    Findings other than pneumonia are named as `folder/EFFUSION/IM-0004-0001.jpeg`.

    The same arguments give the same bytes, and an image does not depend on the number of patients after it. Existing
    images are kept, so a second call writes nothing, and a call that was killed can be repeated.

    Args:
        folder: created if needed.
        patients: number of patients; each has the same finding in all images, or none in any.
        images_per_patient: the mean; every patient has at least one.
        pneumonia_share: fraction of patients with a finding.
        findings: number of different findings, the first of `FINDINGS`; patients have them in turn.
        size, difficulty: see `phantom`.
        seed: 0 or more.

    Returns:
        `folder`, as a Path.

    Raises:
        ValueError: an argument is out of range, or `folder` has images that were not made with these arguments.
    """
    _check(size=size, difficulty=difficulty)
    if patients < 1 or images_per_patient < 1 or not 0 <= pneumonia_share <= 1 or seed < 0:
        raise ValueError("needs patients >= 1, images_per_patient >= 1, 0 <= pneumonia_share <= 1 and seed >= 0")
    if not 1 <= findings <= len(FINDINGS):
        raise ValueError(f"findings={findings} is not between 1 and {len(FINDINGS)}")
    folder = Path(folder)
    arguments = dict(
        patients=patients,
        images_per_patient=images_per_patient,
        pneumonia_share=pneumonia_share,
        size=size,
        difficulty=difficulty,
        seed=seed,
        recipe=RECIPE,
    )
    arguments |= {"findings": findings} if findings > 1 else {}  # manifests were written before there were others
    labels = (NORMAL, *FINDINGS[:findings])
    _prepare_folder(folder, arguments, labels)
    total = sum(_images_of(seed, patient, images_per_patient) for patient in range(1, patients + 1))
    planned = _plan(patients, images_per_patient, pneumonia_share, findings, seed)
    bar = tqdm(planned, total=total, unit="image", desc="drawing", mininterval=5)
    for path, patient, image, label in bar:
        if not (folder / path).exists():
            finding = _draw_finding(_stream(seed, patient, 2), label) if label != NORMAL else None
            view = View.draw(_stream(seed, patient, 3, image), size)
            pixels = render(Anatomy.draw(_stream(seed, patient, 1)), view, finding, difficulty)
            with write_atomically(folder / path) as file:
                Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return folder


def _check(*, size: int, difficulty: float) -> None:
    if size < 32:
        raise ValueError(f"size={size} is less than 32 pixels")
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty={difficulty} is not between 0 and 1")


def _draw_finding(rng: np.random.Generator, label: str, cause: str | None = None) -> Finding:
    return Finding.draw(rng, cause if label == FINDINGS[0] else label.lower())


def _prepare_folder(folder: Path, arguments: dict, labels: tuple[str, ...]) -> None:
    """Create `folder` and its manifest. Raises ValueError if it has other images."""
    manifest = folder / MANIFEST
    if manifest.exists():
        found = json.loads(manifest.read_text())
        other = [
            f"{name}={found.get(name)!r}, not {arguments.get(name)!r}"
            for name in arguments | found
            if found.get(name) != arguments.get(name)
        ]
        if other:
            raise ValueError(f"{folder} has phantoms made with {'; '.join(other)}: choose another folder")
        return
    if any(next((folder / label).glob("*"), None) for label in labels):
        raise ValueError(f"{folder} has images that are not phantoms: choose another folder")
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
    with write_atomically(manifest) as file:
        file.write(json.dumps(arguments, indent=1).encode())


def _plan(patients: int, mean: float, share: float, findings: int, seed: int) -> Iterator[tuple[str, int, int, str]]:
    """Yield (path, patient, image, label) of each image, in order."""
    number = 0
    for patient in range(1, patients + 1):
        # Evenly spread, not random: small sets have the right fraction, and no patient depends on a later one.
        sick, sick_before = int(patient * share + 1e-9), int((patient - 1) * share + 1e-9)
        label = FINDINGS[sick_before % findings] if sick > sick_before else NORMAL
        pneumonia = label == FINDINGS[0]
        cause = Finding.draw(_stream(seed, patient, 2), None).cause if pneumonia else ""
        for image in range(1, _images_of(seed, patient, mean) + 1):
            number += pneumonia
            name = f"person{patient}_{cause}_{number}" if pneumonia else f"IM-{patient:04}-{image:04}"
            yield f"{label}/{name}.jpeg", patient, image, label


def _images_of(seed: int, patient: int, mean: float) -> int:
    most = int(np.ceil(2 * (mean - 1)))
    return 1 + int(_stream(seed, patient, 4).binomial(most, (mean - 1) / most)) if most else 1


def _stream(seed: int, patient: int, purpose: int, image: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, patient, purpose, image])

"""Phantoms: synthetic chest X-rays, used if no data is given. For demonstration and tests only.

A phantom is a drawing, not a simulation. It has a body, two lungs, a heart on the patient's left (right in the image),
ribs, spine, clavicles, diaphragm, vessels, an exposure and noise, and it may have pneumonia. Metrics on phantoms say
nothing about patients.

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

LABELS = ("NORMAL", "PNEUMONIA")
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

    Generators in the same state give the same chest, pose and noise for both labels: only the finding differs.

    Args:
        label: "NORMAL" or "PNEUMONIA".
        rng: the only source of randomness. It advances by the same amount for every label.
        size: image side in pixels, at least 32.
        difficulty: how faint the finding is, from 0 (obvious) to 1 (nearly invisible).
        cause: "bacteria" (focal consolidation) or "virus" (diffuse interstitial pattern); drawn if None.

    Returns:
        uint8 [size, size], greyscale, bone bright.

    Raises:
        ValueError: an argument is outside the values above, or a NORMAL chest is given a cause.
    """
    _check(size=size, difficulty=difficulty)
    if label not in LABELS:
        raise ValueError(f"label={label!r} is not one of {LABELS}")
    if cause is not None and (cause not in CAUSES or label == "NORMAL"):
        raise ValueError(f"cause={cause!r} does not fit label={label!r}")
    who, how, what = (np.random.default_rng(seed) for seed in rng.integers(2**62, size=3))
    finding = Finding.draw(what, cause) if label == "PNEUMONIA" else None
    return render(Anatomy.draw(who), View.draw(how, size), finding, difficulty)


def write_phantoms(
    folder: Path,
    *,
    patients: int = 120,
    images_per_patient: float = 2,
    pneumonia_share: float = 0.5,
    size: int = 256,
    difficulty: float = 0.5,
    seed: int = 0,
) -> Path:
    """Write a set of phantoms as `folder/NORMAL/IM-0001-0001.jpeg`, `folder/PNEUMONIA/person2_virus_1.jpeg`, ...

    The same arguments give the same bytes, and an image does not depend on the number of patients after it. Existing
    images are kept, so a second call writes nothing, and a call that was killed can be repeated.

    Args:
        folder: created if needed.
        patients: number of patients; each has pneumonia in all images or in none.
        images_per_patient: the mean; every patient has at least one.
        pneumonia_share: fraction of patients with pneumonia.
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
    _prepare_folder(folder, arguments)
    total = sum(_images_of(seed, patient, images_per_patient) for patient in range(1, patients + 1))
    planned = _plan(patients, images_per_patient, pneumonia_share, seed)
    bar = tqdm(planned, total=total, unit="image", desc="drawing", mininterval=5)
    for path, patient, image, sick in bar:
        if not (folder / path).exists():
            finding = Finding.draw(_stream(seed, patient, 2), None) if sick else None
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


def _prepare_folder(folder: Path, arguments: dict) -> None:
    """Create `folder` and its manifest. Raises ValueError if it has other images."""
    manifest = folder / MANIFEST
    if manifest.exists():
        found = json.loads(manifest.read_text())
        other = [
            f"{name}={found.get(name)!r}, not {value!r}"
            for name, value in arguments.items()
            if found.get(name) != value
        ]
        if other:
            raise ValueError(f"{folder} has phantoms made with {'; '.join(other)}: choose another folder")
        return
    if any(next((folder / label).glob("*"), None) for label in LABELS):
        raise ValueError(f"{folder} has images that are not phantoms: choose another folder")
    for label in LABELS:
        (folder / label).mkdir(parents=True, exist_ok=True)
    with write_atomically(manifest) as file:
        file.write(json.dumps(arguments, indent=1).encode())


def _plan(patients: int, mean: float, share: float, seed: int) -> Iterator[tuple[str, int, int, bool]]:
    """Yield (path, patient, image, has pneumonia) of each image, in order."""
    number = 0
    for patient in range(1, patients + 1):
        # Evenly spread, not random: small sets have the right fraction, and no patient depends on a later one.
        sick = int(patient * share + 1e-9) > int((patient - 1) * share + 1e-9)
        cause = Finding.draw(_stream(seed, patient, 2), None).cause if sick else ""
        for image in range(1, _images_of(seed, patient, mean) + 1):
            number += sick
            path = (
                f"PNEUMONIA/person{patient}_{cause}_{number}.jpeg"
                if sick
                else f"NORMAL/IM-{patient:04}-{image:04}.jpeg"
            )
            yield path, patient, image, sick


def _images_of(seed: int, patient: int, mean: float) -> int:
    most = int(np.ceil(2 * (mean - 1)))
    return 1 + int(_stream(seed, patient, 4).binomial(most, (mean - 1) / most)) if most else 1


def _stream(seed: int, patient: int, purpose: int, image: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, patient, purpose, image])

"""Synthetic chest X-rays, for when no data is given. For demonstration and tests only.

A phantom is a drawing, not a simulation: it has a body, two lungs, a heart on the patient's left (the image's right),
ribs, spine, clavicles, diaphragm, vessels, an exposure and noise, and it may have pneumonia. Nothing that is
measured on phantoms says anything about patients.

Three random streams make an image, so that none leaks into another: who it is (anatomy: the same in all images of a
patient), how it was taken (view: pose, breath, exposure, noise: new in each image) and what is wrong (finding).
Anatomy and view never see the label.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

LABELS = ("NORMAL", "PNEUMONIA")
CAUSES = ("bacteria", "virus")
MANIFEST = "phantoms.json"
# Part of the manifest: raise it whenever the same arguments give other pixels, so that two recipes never mix.
RECIPE = 1

Points = np.ndarray  # float [N, 2]; x, y from -1 (left, top of the frame) to 1


def phantom(
    label: str,
    *,
    rng: np.random.Generator,
    size: int = 256,
    difficulty: float = 0.5,
    cause: str | None = None,
) -> np.ndarray:
    """One synthetic chest X-ray.

    Generators in the same state give the same chest, pose and noise for either label: only the finding differs.

    Args:
        label: "NORMAL" or "PNEUMONIA".
        rng: where all chance comes from; it advances by the same amount whatever the label.
        size: pixels a side, at least 32.
        difficulty: contrast of the finding, from 0 (obvious) to 1 (near invisible).
        cause: "bacteria" (focal consolidation) or "virus" (diffuse interstitial pattern); drawn if None.

    Returns:
        uint8 [size, size], greyscale, bone is bright.

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
    return _render(Anatomy.draw(who), View.draw(how, size), finding, difficulty)


def write_phantoms(
    folder: Path,
    *,
    patients: int = 120,
    images_per_patient: float = 2,
    pneumonia_share: float = 0.5,
    size: int = 256,
    difficulty: float = 0.5,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a set of phantoms as `folder/NORMAL/IM-0001-0001.jpeg`, `folder/PNEUMONIA/person2_virus_1.jpeg`, ...

    The same arguments give the same bytes, and an image does not depend on how many patients come after it. Images
    that are already there are kept, so a second call writes nothing and a call that was killed can be repeated.

    Args:
        folder: made if need be.
        patients: how many; each has pneumonia in all images or in none.
        images_per_patient: the mean; every patient has at least one.
        pneumonia_share: share of patients with pneumonia.
        size, difficulty: see `phantom`.
        seed: 0 or more.
        progress: called with (images done, images in all) after each image.

    Returns:
        `folder`, as a Path.

    Raises:
        ValueError: an argument is out of range, or `folder` holds images that these arguments did not make.
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
    _claim(folder, arguments)
    total = sum(_images_of(seed, patient, images_per_patient) for patient in range(1, patients + 1))
    planned = _plan(patients, images_per_patient, pneumonia_share, seed)
    for done, (path, patient, image, sick) in enumerate(planned, 1):
        if not (folder / path).exists():
            finding = Finding.draw(_stream(seed, patient, 2), None) if sick else None
            view = View.draw(_stream(seed, patient, 3, image), size)
            pixels = _render(Anatomy.draw(_stream(seed, patient, 1)), view, finding, difficulty)
            _replace(folder / path, lambda file, pixels=pixels: Image.fromarray(pixels).save(file, "JPEG", quality=90))
        if progress:
            progress(done, total)
    return folder


def _check(*, size: int, difficulty: float) -> None:
    if size < 32:
        raise ValueError(f"size={size} is less than 32 pixels")
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty={difficulty} is not between 0 and 1")


def _claim(folder: Path, arguments: dict) -> None:
    """Make `folder` the home of this set, or say why it cannot be."""
    manifest = folder / MANIFEST
    if manifest.exists():
        found = json.loads(manifest.read_text())
        other = [
            f"{name}={found.get(name)!r}, not {value!r}"
            for name, value in arguments.items()
            if found.get(name) != value
        ]
        if other:
            raise ValueError(f"{folder} holds phantoms made with {'; '.join(other)}: choose another folder")
        return
    if any(next((folder / label).glob("*"), None) for label in LABELS):
        raise ValueError(f"{folder} holds images that are not phantoms: choose another folder")
    for label in LABELS:
        (folder / label).mkdir(parents=True, exist_ok=True)
    _replace(manifest, lambda file: file.write(json.dumps(arguments, indent=1).encode()))


def _plan(patients: int, mean: float, share: float, seed: int) -> Iterator[tuple[str, int, int, bool]]:
    """(path, patient, image, has pneumonia) of each image, in order; holds nothing, however many there are."""
    number = 0
    for patient in range(1, patients + 1):
        # Spread evenly instead of drawn: small sets keep their share, and no patient depends on a later one.
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


def _replace(path: Path, write: Callable) -> None:
    """A file is there whole or not at all, also when two processes write the same set."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        write(file)
    aside.replace(path)


@dataclass(frozen=True)
class Anatomy:
    """Who it is. Lengths are in half-frames; `age` runs from infant (0) to adult (1)."""

    age: float
    width: float  # half-width of the rib cage
    apex: float  # y of the lung tops
    base: float  # y of the costophrenic angles
    dome: float  # height of the diaphragm above them
    liver: float  # how much higher the right dome stands
    heart: float  # width of the heart, as a share of the chest's
    fat: float
    bend: float  # of the spine
    bubble: tuple[float, float, float]  # gastric air: x, size, darkness
    vessels: float
    texture: int  # seed of the vessel tree

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Anatomy":
        age = rng.uniform()
        return cls(
            age=age,
            width=rng.uniform(0.66, 0.76),
            apex=rng.uniform(-0.70, -0.60) - 0.06 * age,
            base=rng.uniform(0.58, 0.66) + 0.10 * age,
            dome=rng.uniform(0.16, 0.26),
            liver=rng.uniform(0.03, 0.10),
            heart=rng.uniform(0.47, 0.56) - 0.06 * age,
            fat=rng.uniform(0, 1),
            bend=rng.normal(0, 0.012),
            bubble=(rng.uniform(0.28, 0.42), rng.uniform(0.07, 0.13), rng.uniform(0.2, 0.6) * (rng.uniform() < 0.5)),
            vessels=rng.uniform(0.6, 1.2),
            texture=int(rng.integers(2**62)),
        )

    def wall(self, y: np.ndarray) -> np.ndarray:
        """Half-width of the rib cage at height `y`."""
        down = np.clip((y - self.apex + 0.06) / (self.base - self.apex), 0, 1)
        return self.width * (1 - 0.72 * (1 - down) ** 2.6)

    def midline(self, y: np.ndarray) -> np.ndarray:
        return self.bend * np.sin(3 * y + 1)


@dataclass(frozen=True)
class View:
    """How the image was taken; `place` maps anatomy to pixels."""

    size: int
    matrix: np.ndarray
    offset: np.ndarray
    breath: float
    turn: float  # the patient's rotation: shifts the front of the chest against the back
    arms: float
    dose: float
    contrast: float
    gamma: float
    edge: float  # strength of the console's edge enhancement
    collimation: np.ndarray | None
    marker: str
    leads: int
    texture: int

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int) -> "View":
        angle, scale, squash = rng.normal(0, 0.03), rng.uniform(0.95, 1.10), rng.normal(1, 0.03)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        framed = rng.uniform() < 0.25
        frame = rng.uniform(0.0, 0.06, 4) * size
        return cls(
            size=size,
            matrix=(turn * [scale * squash, scale / squash]) * size / 2,
            offset=(np.array([1.0, 1.0]) + rng.normal(0, [0.035, 0.03])) * size / 2,
            breath=rng.normal(0, 0.035),
            turn=rng.normal(0, 0.02),
            arms=rng.uniform(-1, 1),
            dose=rng.uniform(0.5, 1),
            contrast=rng.uniform(0.85, 1.1),
            gamma=rng.uniform(0.8, 1.25),
            edge=rng.uniform(0.1, 0.6),
            collimation=frame if framed else None,
            marker=rng.choice(["R", "R", "R", "L", ""]),
            leads=int(rng.choice([0, 0, 0, 1, 3])),
            texture=int(rng.integers(2**62)),
        )

    def layer(self, shapes: list[tuple[Points, int]], blur: float, fine: int = 1) -> np.ndarray:
        """Filled shapes of (outline, grey 0 to 255), drawn in order, as float32 [size, size] from 0 to 1.

        `blur` is in half-frames, so that a phantom looks the same at every size.
        """
        image = Image.new("L", (self.size * fine, self.size * fine))
        draw = ImageDraw.Draw(image)
        for points, grey in shapes:
            draw.polygon((self.place(points) * fine).ravel().tolist(), fill=grey)
        if fine > 1:
            image = image.reduce(fine)
        return self.soften(image, blur)

    def place(self, points: Points) -> np.ndarray:
        return points @ self.matrix.T + self.offset

    def soften(self, image: Image.Image, blur: float) -> np.ndarray:
        if blur:
            image = image.filter(ImageFilter.GaussianBlur(blur * self.size / 2))
        return np.asarray(image, np.float32) / 255


@dataclass(frozen=True)
class Finding:
    """What is wrong: places and shapes only; how well it is seen is the caller's difficulty."""

    cause: str
    side: int  # -1: the image's left, the patient's right
    place: tuple[float, float]  # centre: 0 to 1 from the midline to the wall, 0 to 1 from apex to base
    extent: tuple[float, float]
    effusion: float
    fissure: bool
    texture: int

    @classmethod
    def draw(cls, rng: np.random.Generator, cause: str | None) -> "Finding":
        drawn = CAUSES[int(rng.uniform() < 0.45)]
        return cls(
            cause=cause or drawn,
            side=int(rng.choice([-1, 1])),
            place=(rng.uniform(0.35, 0.75), rng.uniform(0.2, 0.85)),
            extent=(rng.uniform(0.20, 0.34), rng.uniform(0.18, 0.34)),
            effusion=rng.uniform(0.08, 0.3) * (rng.uniform() < 0.3),
            fissure=bool(rng.uniform() < 0.4),
            texture=int(rng.integers(2**62)),
        )


_CORNERS = np.arange(10)[:, None] / 10
# Catmull-Rom: a smooth closed curve through all its points, as one matrix product.
_SPLINE = 0.5 * np.hstack(
    [
        -_CORNERS + 2 * _CORNERS**2 - _CORNERS**3,
        2 - 5 * _CORNERS**2 + 3 * _CORNERS**3,
        _CORNERS + 4 * _CORNERS**2 - 3 * _CORNERS**3,
        -(_CORNERS**2) + _CORNERS**3,
    ]
)


def _smooth(points) -> Points:
    points = np.asarray(points, float)
    around = np.stack([np.roll(points, shift, 0) for shift in (1, 0, -1, -2)], 1)
    return (_SPLINE @ around).reshape(-1, 2)


def _band(line: Points, half_width) -> Points:
    """The outline of a strip along a line."""
    along = np.gradient(line, axis=0)
    across = along[:, ::-1] * [-1, 1] / np.maximum(np.hypot(*along.T), 1e-6)[:, None]
    offset = across * np.reshape(half_width, (-1, 1))
    return np.vstack([line + offset, (line - offset)[::-1]])


def _ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], 1)


def _noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise, float32 [size, size], mean about 0, deviation about 1 at the grid's nodes."""
    return np.asarray(
        Image.fromarray(rng.standard_normal((cells, cells), np.float32)).resize((size, size), Image.BICUBIC)
    )


def _render(anatomy: Anatomy, view: View, finding: Finding | None, difficulty: float) -> np.ndarray:
    """Attenuation, summed layer on layer, then through the detector and the console."""
    lungs = view.layer([(outline, 255) for outline in _lungs(anatomy, view)], 0.010)
    heart = view.layer([(_heart(anatomy, view), 255)], 0.014)
    air = lungs * (0.55 + 0.45 * view.soften(Image.fromarray((lungs * 255).astype(np.uint8)), 0.09)) * (1 - 0.8 * heart)
    body = view.layer(_body(anatomy, view), 0.012)
    depth = view.soften(Image.fromarray((body * 255).astype(np.uint8)), 0.22)
    tissue = body * (0.10 + (1.05 + 0.25 * anatomy.fat) * depth**1.5)
    tissue += 0.35 * view.layer(_middle(anatomy, view), 0.05)
    tissue += 0.30 * view.layer(_abdomen(anatomy, view), 0.014) + 0.22 * heart
    tissue -= 0.35 * view.layer(_airways(anatomy, view), 0.016)
    vessels = _vessel_layer(anatomy, view)
    if finding:
        opacity = _opacity(anatomy, view, finding, vessels)
        air = air * (1 - np.clip((0.95 - 0.9 * difficulty) * opacity, 0, 0.97))
    bones = _bones(anatomy, view)
    attenuation = tissue - 0.95 * air * (1 - 0.55 * anatomy.vessels * vessels) + bones
    return _expose(np.maximum(attenuation, 0), view)


def _lungs(anatomy: Anatomy, view: View) -> list[Points]:
    top, base = anatomy.apex, anatomy.base + view.breath
    down = np.array([0.12, 0.25, 0.4, 0.55, 0.7, 0.85, 0.97])
    height = top + down * (base - top)
    outlines = []
    for side in (-1, 1):
        dome = base - anatomy.dome - (anatomy.liver if side < 0 else 0)
        wall = anatomy.wall(height) - 0.035
        x = np.concatenate([[0.14, 0.20, 0.29, 0.37], wall, [0.62 * wall[-1], 0.36 * wall[-1], 0.12, 0.10, 0.09]])
        y = np.concatenate(
            [[top + 0.12, top + 0.02, top, top + 0.04], height, [dome + 0.035, dome + 0.01, dome + 0.09, 0.1, -0.2]]
        )
        outlines.append(_smooth(np.stack([side * x + anatomy.midline(y) + view.turn, y], 1)))
    return outlines


def _heart(anatomy: Anatomy, view: View) -> Points:
    """Heart and great vessels: two thirds to the patient's left, with the aortic knob, the bay and the apex."""
    span = 2 * anatomy.width * anatomy.heart
    left, right = 0.66 * span, 0.34 * span
    base = anatomy.base + view.breath - 0.02
    top = anatomy.apex + 0.10
    wide = 0.03 * (1 - anatomy.age)
    points = [
        (-0.09 - wide, top), (-0.10 - wide, -0.30), (-0.12 - wide, -0.10), (-right * 0.9, 0.08), (-right, 0.24),
        (-right * 0.85, base - 0.15), (0.0, base), (left * 0.75, base - 0.02), (left, base - 0.20),
        (left * 0.88, base - 0.36), (left * 0.60, -0.02), (0.155, -0.16), (0.15 + wide, -0.30), (0.145 + wide, -0.38),
        (0.09 + wide, top + 0.02),
    ]  # fmt: skip
    outline = _smooth(points)
    outline[:, 0] += anatomy.midline(outline[:, 1]) + 2 * view.turn
    return outline


def _body(anatomy: Anatomy, view: View) -> list[tuple[Points, int]]:
    wide = anatomy.width + 0.12 + 0.07 * anatomy.fat
    neck = 0.24 + 0.08 * anatomy.fat
    lift = 0.10 * view.arms
    torso = [
        (neck, -1.3), (neck, -0.95), (0.45, -0.86), (0.85, -0.80 - lift), (1.3, -0.75 - lift), (1.4, -0.1 - 3 * lift),
        (1.05, -0.25 - 2 * lift), (wide + 0.03, -0.28), (wide - 0.01, 0.0), (wide - 0.01, 0.4),
        (wide + 0.01, 0.9), (wide, 1.4),
    ]  # fmt: skip
    both = np.vstack([torso, (np.array(torso) * [-1, 1])[::-1]])
    return [(_smooth(both), 255)]


def _middle(anatomy: Anatomy, view: View) -> list[tuple[Points, int]]:
    y = np.linspace(-1.3, 1.3, 12)
    return [(_band(np.stack([anatomy.midline(y) + view.turn, y], 1), 0.16), 255)]


def _abdomen(anatomy: Anatomy, view: View) -> list[tuple[Points, int]]:
    base, wide = anatomy.base + view.breath, anatomy.width
    right, left = base - anatomy.dome - anatomy.liver, base - anatomy.dome
    points = [
        (-wide, base + 0.02), (-wide * 0.62, right + 0.035), (-wide * 0.36, right + 0.01), (-0.05, right + 0.1),
        (0.12, left + 0.1), (wide * 0.36, left + 0.01), (wide * 0.62, left + 0.035), (wide, base + 0.02),
        (wide, 1.5), (0, 1.5), (-wide, 1.5),
    ]  # fmt: skip
    x, radius, dark = anatomy.bubble
    bubble = _ellipse(x, left + 0.06 + radius, radius * 1.3, radius)
    return [(_smooth(points), 255), (bubble, int(255 * (1 - dark)))]


def _airways(anatomy: Anatomy, view: View) -> list[tuple[Points, int]]:
    y = np.linspace(-1.2, -0.30, 8)
    trachea = np.stack([anatomy.midline(y) + 1.5 * view.turn, y], 1)
    end = trachea[-1]
    right = _band(np.linspace(end, end + [-0.11, 0.13], 4), [0.035, 0.03, 0.028, 0.02])
    left = _band(np.linspace(end, end + [0.14, 0.11], 4), [0.032, 0.028, 0.025, 0.018])
    return [(_band(trachea, 0.045), 255), (right, 170), (left, 150)]


def _vessel_layer(anatomy: Anatomy, view: View) -> np.ndarray:
    """A tree from each hilum, all branches of one generation at a time."""
    rng = np.random.default_rng(anatomy.texture)
    image = Image.new("L", (view.size * 2, view.size * 2))
    draw = ImageDraw.Draw(image)
    for side in (-1, 1):
        count = 8
        start = np.stack([np.full(count, side * 0.17), np.linspace(-0.14, 0.10, count)], 1)
        angle = np.linspace(-1.35, 1.35, count) + rng.normal(0, 0.12, count)
        width = rng.uniform(0.015, 0.022, count)
        for generation in range(8):
            count = len(start)
            length = rng.uniform(0.07, 0.12, count)
            end = start + length[:, None] * np.stack([side * np.cos(angle), np.sin(angle)], 1)
            ends = np.hstack([view.place(start), view.place(end)]) * 2
            pixels = np.maximum(width * view.size, 1).round().astype(int)
            greys = np.minimum(255, 90 + 8000 * width).astype(int)
            for line, wide, grey in zip(ends.tolist(), pixels.tolist(), greys.tolist(), strict=True):
                draw.line(line, fill=grey, width=wide)
            forks = 2 if generation in (1, 3, 5) else 1
            spread = rng.normal(0, 0.16, count * forks) + np.resize([-0.3, 0.3], count * forks) * (forks - 1)
            start, angle = np.repeat(end, forks, 0), np.repeat(angle, forks) + spread
            width = np.repeat(width, forks) * rng.uniform(0.72, 0.95, count * forks)
        hilum = _ellipse(side * 0.16, -0.03 if side < 0 else -0.07, 0.05, 0.11)
        draw.polygon((view.place(hilum) * 2).ravel().tolist(), fill=140)
    return view.soften(image.reduce(2), 0.007)


def _bones(anatomy: Anatomy, view: View) -> np.ndarray:
    front, back = [], []
    theta = np.linspace(0.0, 2.55, 40)
    spacing = (anatomy.base - anatomy.apex) / 9.3
    for number in range(12):
        begin = anatomy.apex - 0.03 + number * spacing
        drop = (0.16 + 0.022 * number) * (0.6 + 0.6 * anatomy.age) - 0.4 * view.breath
        y = begin - 0.02 * np.sin(2 * theta) + drop * (1 - np.cos(theta)) / 1.6
        reach = float(anatomy.wall(np.array([y[24]]))[0])
        for side in (-1, 1):
            x = side * (0.06 + (reach - 0.06) * np.sin(theta)) + anatomy.midline(y)
            x = x + view.turn * (1 - np.cos(theta))
            line = np.stack([x, y], 1)
            half = 0.019 + 0.005 * np.sin(theta)
            for part, target, core, rim in ((line[:25], back, 105, 190), (line[24:], front, 70, 120)):
                if number > 9 and target is front:
                    continue
                width = half[:25] if target is back else half[24:] * 1.1
                target.append((_band(part, width), rim))
                target.append((_band(part, width * 0.62), core))
    ribs = 0.34 * view.layer(back, 0.006, 2) + 0.34 * view.layer(front, 0.008, 2)
    return ribs + 0.40 * view.layer(_spine(anatomy), 0.008, 2) + 0.34 * view.layer(_shoulders(anatomy, view), 0.008, 2)


def _spine(anatomy: Anatomy) -> list[tuple[Points, int]]:
    shapes = []
    for number, y in enumerate(np.arange(-1.2, 1.3, 0.125)):
        x, half = float(anatomy.midline(np.array(y))), 0.066 + 0.012 * number / 10
        body = [
            (-half, -0.046),
            (0, -0.040),
            (half, -0.046),
            (half * 0.9, 0),
            (half, 0.046),
            (0, 0.040),
            (-half, 0.046),
            (-half * 0.9, 0),
        ]
        shapes.append((_smooth(body) + [x, y], 140))
        shapes.append((_smooth(body) * [0.86, 0.80] + [x, y], 110))
        shapes += [(_ellipse(x + side * half * 0.62, y - 0.012, 0.015, 0.02), 190) for side in (-1, 1)]
        shapes.append((_ellipse(x, y + 0.04, 0.011, 0.03), 200))
    return shapes


def _shoulders(anatomy: Anatomy, view: View) -> list[tuple[Points, int]]:
    shapes = []
    t = np.linspace(0, 1, 14)
    for side in (-1, 1):
        lift = 0.05 * view.arms + side * view.turn
        y = anatomy.apex + 0.14 - lift - 0.20 * t + 0.04 * np.sin(2 * np.pi * t)
        clavicle = np.stack([side * (0.07 + 0.62 * t) + 2 * view.turn, y], 1)
        blade = _smooth([(0.60, -0.62), (0.80, -0.60), (0.86, -0.45), (0.76, 0.0), (0.70, 0.05), (0.62, -0.25)]) * [
            side,
            1,
        ]
        shapes += [(blade, 60), (blade * [1, 0.92] + [side * 0.03, -0.02], 35)]
        shapes += [(_band(clavicle, 0.024 + 0.012 * (2 * t - 1) ** 2), 200), (_band(clavicle, 0.013), 130)]
        shapes += [(_ellipse(side * 0.93, -0.62 - lift, 0.10, 0.11), 150)]
    return shapes


def _opacity(anatomy: Anatomy, view: View, finding: Finding, vessels: np.ndarray) -> np.ndarray:
    """How much of the lung's air is gone, float32 [size, size], about 0 to 1."""
    rng = np.random.default_rng(finding.texture)
    coarse, fine = _noise(rng, view.size, 9), _noise(rng, view.size, 28)
    base = anatomy.base + view.breath
    if finding.cause == "bacteria":
        y = anatomy.apex + finding.place[1] * (base - anatomy.apex)
        x = finding.side * finding.place[0] * float(anatomy.wall(np.array(y)))
        spot = view.layer([(_ellipse(x, y, *finding.extent), 255)], 0.10)
        opacity = np.clip((spot + 0.16 * coarse + 0.07 * fine - 0.22) * 2.2, 0, 1) * (1 - 0.35 * vessels)
        if finding.fissure:
            edge = _smooth([(-1.5, y), (0, y - 0.02), (1.5, y), (1.5, -1.5), (-1.5, -1.5)])
            opacity = opacity * (0.15 + 0.85 * view.layer([(edge, 255)], 0.012))
    else:
        net = np.exp(-((fine / 0.35) ** 2)) + 0.8 * np.exp(-((_noise(rng, view.size, 44) / 0.35) ** 2))
        central = view.layer([(_ellipse(side * 0.28, 0.05, 0.26, 0.42), 255) for side in (-1, 1)], 0.16)
        opacity = central * np.clip(0.6 + 0.35 * coarse, 0.1, 1.2) * (0.30 + 0.55 * net + 0.6 * vessels)
    if finding.effusion:
        level = base - finding.effusion
        wall = anatomy.width
        pool = np.array(
            [
                (wall + 0.1, level - 0.18),
                (wall * 0.86, level),
                (wall * 0.5, level + 0.12),
                (0, base),
                (wall, base + 0.3),
            ]
        )
        opacity = np.maximum(opacity, view.layer([(pool * [finding.side, 1], 255)], 0.025))
    return opacity


def _expose(attenuation: np.ndarray, view: View) -> np.ndarray:
    rng = np.random.default_rng(view.texture)
    size = view.size
    grain = rng.standard_normal((size, size), np.float32) * (0.010 + 0.012 * attenuation) / view.dose
    signal = 1 - np.exp(-np.maximum(attenuation + grain + 0.03 * _noise(rng, size, 5), 0) * view.contrast)
    signal *= 1 + 0.04 * _noise(rng, size, 3)
    image = Image.fromarray((np.clip(signal, 0, 1) * 255).astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(0.05 * size)), np.float32) / 255
    signal = np.clip(signal + view.edge * (signal - soft), 0, 1) ** view.gamma
    image = Image.fromarray((np.clip(signal, 0, 1) * 250).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    if view.collimation is not None:
        a, b, c, d = view.collimation.tolist()
        draw.rectangle((0, 0, size, a), fill=3), draw.rectangle((0, 0, b, size), fill=3)
        draw.rectangle((0, size - c, size, size), fill=3), draw.rectangle((size - d, 0, size, size), fill=3)
    if view.marker:
        x = 0.07 if view.marker == "R" else 0.90
        draw.text((x * size, 0.09 * size), view.marker, fill=235, font=_font(round(0.055 * size)))
    return np.array(image)


@lru_cache
def _font(size: int):
    return ImageFont.load_default(size)

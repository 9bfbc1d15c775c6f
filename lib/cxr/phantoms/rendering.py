"""Draws a phantom: anatomy, view and finding as pixels.

Outlines (x and y from -1 at the image's left and top to 1) are filled, blurred and summed as attenuation; detector and
image processing come last. For demonstration and tests only: a drawing, not a simulation.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from cxr.phantoms import anatomy as outlines
from cxr.phantoms.anatomy import Anatomy, Points, Pose, Shapes

CAUSES = ("bacteria", "virus")  # of pneumonia
OTHERS = ("effusion", "cardiomegaly", "nodule")


@dataclass(frozen=True)
class View:
    """How the image was taken: new in each image. `matrix` and `offset` map outline coordinates to pixels."""

    size: int
    matrix: np.ndarray
    offset: np.ndarray
    pose: Pose
    dose: float
    contrast: float
    gamma: float
    edge: float  # strength of the edge enhancement
    collimation: np.ndarray | None
    marker: str
    leads: int
    texture: int

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int) -> "View":
        angle, scale, squash = rng.normal(0, 0.03), rng.uniform(0.96, 1.12), rng.normal(1, 0.03)
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        framed, frame = rng.uniform() < 0.2, rng.uniform(0.0, 0.05, 4) * size
        return cls(
            size=size,
            matrix=(turned * [scale * squash, scale / squash]) * size / 2,
            offset=(1 + rng.normal(0, [0.03, 0.03])) * size / 2,
            pose=Pose.draw(rng),
            dose=rng.uniform(0.5, 1),
            contrast=rng.uniform(0.85, 1.15),
            gamma=rng.uniform(0.75, 1.2),
            edge=rng.uniform(0.3, 1.0),
            collimation=frame if framed else None,
            marker=str(rng.choice(["R", "R", "R", "L", ""])),
            leads=int(rng.choice([0, 0, 0, 0, 0, 1, 3])),
            texture=int(rng.integers(2**62)),
        )

    def place(self, points: Points) -> Points:
        return points @ self.matrix.T + self.offset

    @property
    def half(self) -> int:
        """Side in pixels of soft layers, which are drawn at half size for speed."""
        return (self.size + 1) // 2

    def sharp(self, shapes: Shapes) -> np.ndarray:
        """Filled shapes as uint8 [size, size]."""
        # Drawn at twice the size for antialiasing.
        return np.asarray(self.fill(shapes, 2 * self.size).reduce(2))

    def soft(self, shapes: Shapes, blur: float) -> np.ndarray:
        """Filled and blurred shapes, float32 [half, half] from 0 to 1; `blur` is in outline coordinates."""
        return self.soften(self.fill(shapes, self.size if blur < 0.04 else self.half).reduce(2), blur, self.half)

    def fill(self, shapes: Shapes, side: int) -> Image.Image:
        image = Image.new("L", (side, side))
        draw = ImageDraw.Draw(image)
        pixels = self.place(np.concatenate([points for points, _ in shapes])) * (side / self.size)
        numbers, first = pixels.ravel().tolist(), 0
        for points, grey in shapes:
            draw.polygon(numbers[first : first + points.size], fill=grey)
            first += points.size
        return image

    def soften(self, image: Image.Image, blur: float, side: int | None = None) -> np.ndarray:
        pixels = blur * image.width / 2
        # For so few pixels, a box blur of the same standard deviation looks the same and takes a third of the time.
        few = pixels < 1.2
        blurred = ImageFilter.BoxBlur(max(0, pixels * 3**0.5 - 0.5)) if few else ImageFilter.GaussianBlur(pixels)
        image = image.filter(blurred)
        return np.asarray(_resize(image, side or self.size), np.float32) / 255

    def again(self, layer: np.ndarray, blur: float) -> np.ndarray:
        """Blur a soft layer further."""
        small = Image.fromarray((layer * 255).astype(np.uint8)).reduce(max(1, self.half // 64))
        return self.soften(small, blur, self.half)


def _resize(image: Image.Image, side: int, filter: int = Image.BILINEAR) -> Image.Image:
    return image if image.width == side else image.resize((side, side), filter)


@dataclass(frozen=True)
class Finding:
    """The finding: its position and shape. The caller's `difficulty` decides how visible it is.

    `cause` is one of `CAUSES` or `OTHERS`; `effusion` is the fluid beside a pneumonia.
    """

    cause: str
    side: int  # -1: left in the image, the patient's right
    place: tuple[float, float]  # centre: 0 to 1 from the midline to the wall, 0 to 1 from apex to base
    extent: tuple[float, float]
    effusion: float
    fissure: bool
    texture: int

    @classmethod
    def draw(cls, rng: np.random.Generator, cause: str | None = None) -> "Finding":
        drawn = CAUSES[int(rng.uniform() < 0.45)]
        return cls(
            cause=cause or drawn,
            side=int(rng.choice([-1, 1])),
            place=(rng.uniform(0.4, 0.75), rng.uniform(0.2, 0.85)),
            extent=(rng.uniform(0.22, 0.36), rng.uniform(0.22, 0.36)),
            effusion=rng.uniform(0.08, 0.3) * (rng.uniform() < 0.3),
            fissure=bool(rng.uniform() < 0.4),
            texture=int(rng.integers(2**62)),
        )


def render(anatomy: Anatomy, view: View, finding: Finding | None, difficulty: float) -> np.ndarray:
    """Draw the X-ray, uint8 [size, size]: sum the attenuation of all layers, then model detector and processing."""
    visible = 1 - 0.3 * difficulty - 0.65 * difficulty**2
    if finding and finding.cause == "cardiomegaly":
        anatomy, finding = replace(anatomy, heart=anatomy.heart + visible * finding.extent[0]), None
    lungs = view.soft([(outline, 255) for outline in outlines.lungs(anatomy, view.pose)], 0.012)
    heart = view.soft([(outlines.heart(anatomy, view.pose), 255)], 0.014)
    belly = view.soft(outlines.belly(anatomy, view.pose), 0.016)
    vessels = _vessels(anatomy, view)
    air = lungs * (0.62 + 0.38 * view.again(lungs, 0.08)) * (1 - 0.75 * heart)
    air *= 1 - 0.04 * _noise(np.random.default_rng(anatomy.texture), view.half, 70)
    if finding:
        opacity = _opacity(anatomy, view, finding, vessels[::2, ::2])
        air = air * (1 - np.clip(visible * opacity, 0, 0.97))
    thick = _tissue(anatomy, view) + 0.16 * heart + 0.26 * belly
    # Scatter reduces the contrast of bone where the body is thick.
    clear = 1 - 0.45 * belly - 0.25 * heart
    thick, air, clear = (np.asarray(_resize(Image.fromarray(layer), view.size)) for layer in (thick, air, clear))
    air = air * (1 - 0.72 * anatomy.vessels * vessels)
    return _expose(thick - 0.70 * air + clear * _bones(anatomy, view), view)


def _tissue(anatomy: Anatomy, view: View) -> np.ndarray:
    """Attenuation of skin, fat, muscle and mediastinum, minus the air in the trachea."""
    body = view.soft(outlines.body(anatomy, view.pose), 0.016)
    depth = view.again(body, 0.14)
    tissue = body * (0.06 + (0.30 + 0.20 * anatomy.fat) * depth * depth)
    tissue += 0.74 * view.soft(outlines.trunk(anatomy, view.pose), 0.07)
    if view.pose.chin:
        tissue += 0.40 * view.soft(outlines.chin(view.pose), 0.020)
    return tissue - 0.28 * view.soft(outlines.airways(anatomy, view.pose), 0.018)


def _vessels(anatomy: Anatomy, view: View) -> np.ndarray:
    """A vessel tree from each hilum: float32 [size, size] from 0 to 1."""
    rng = np.random.default_rng(anatomy.texture)
    image = Image.new("L", (view.size, view.size))
    draw = ImageDraw.Draw(image)
    for side in (-1, 1):
        hilum = np.array([side * 0.16, -0.04 if side < 0 else -0.09])
        for _ in range(7):
            node = outlines.ellipse(*hilum + rng.normal(0, [0.025, 0.07]), *rng.uniform(0.015, 0.035, 2))
            draw.polygon(view.place(node).ravel().tolist(), fill=110)
        for lines, widths in outlines.branches(hilum, side, rng):
            pixels = np.maximum(widths * view.size / 2, 1).round().astype(int).tolist()
            greys = np.minimum(230, 20 + 11000 * widths).astype(int).tolist()
            for line, width, grey in zip(
                view.place(lines).reshape(len(lines), -1).tolist(), pixels, greys, strict=True
            ):
                draw.line(line, fill=grey, width=width)
    return view.soften(image, 0.008)


def _bones(anatomy: Anatomy, view: View) -> np.ndarray:
    back, front = (view.sharp(shapes) for shapes in outlines.ribs(anatomy, view.pose))
    rest = view.sharp(outlines.spine(anatomy) + outlines.shoulders(anatomy, view.pose))
    weights = np.float32([0.25, 0.18, 0.34])
    total = sum(weight * layer for weight, layer in zip(weights, (back, front, rest), strict=True))
    return view.soften(Image.fromarray(np.minimum(total, 255).astype(np.uint8)), 0.005) * np.float32(1.3)


def _opacity(anatomy: Anatomy, view: View, finding: Finding, vessels: np.ndarray) -> np.ndarray:
    """Fraction of the lung's air that the finding replaces: float32 [half, half], about 0 to 1."""
    if finding.cause in OTHERS:
        return _other_opacity(anatomy, view, finding)
    rng = np.random.default_rng(finding.texture)
    coarse, fine = _noise(rng, view.half, 9), _noise(rng, view.half, 28)
    base = anatomy.base + view.pose.breath
    if finding.cause == "bacteria":
        y = anatomy.apex + finding.place[1] * (base - anatomy.apex)
        x = finding.side * finding.place[0] * anatomy.wall(y)
        spot = view.soft([(outlines.ellipse(x, y, *finding.extent), 255)], 0.13)
        opacity = np.clip((spot + 0.20 * coarse + 0.08 * fine - 0.20) * 2.1, 0, 1) * (1 - 0.35 * vessels)
        if finding.fissure:
            edge = outlines.smooth([(-1.5, y), (0, y - 0.02), (1.5, y), (1.5, -1.5), (-1.5, -1.5)])
            opacity = opacity * (0.15 + 0.85 * view.soft([(edge, 255)], 0.014))
    else:
        net = np.exp(-((fine / 0.35) ** 2)) + 0.8 * np.exp(-((_noise(rng, view.half, 44) / 0.35) ** 2))
        central = view.soft([(outlines.ellipse(side * 0.28, 0.05, 0.26, 0.42), 255) for side in (-1, 1)], 0.16)
        opacity = central * np.clip(0.6 + 0.35 * coarse, 0.1, 1.2) * (0.45 + 0.32 * net + 0.3 * vessels)
    if finding.effusion:
        pool = outlines.pool(anatomy, view.pose, finding.side, finding.effusion)
        opacity = np.maximum(opacity, view.soft(pool, 0.025))
    return opacity


def _other_opacity(anatomy: Anatomy, view: View, finding: Finding) -> np.ndarray:
    """Of much fluid in one costophrenic angle, or of a round nodule: as `_opacity`."""
    if finding.cause == "effusion":
        return view.soft(outlines.pool(anatomy, view.pose, finding.side, 1.6 * finding.extent[0]), 0.025)
    y = anatomy.apex + finding.place[1] * (anatomy.base + view.pose.breath - anatomy.apex)
    x = finding.side * finding.place[0] * anatomy.wall(y)
    return view.soft([(outlines.ellipse(x, y, *(0.32 * np.array(finding.extent))), 255)], 0.015)


def _expose(attenuation: np.ndarray, view: View) -> np.ndarray:
    """Beam, quantum noise, edge enhancement, grey-level curve."""
    rng = np.random.default_rng(view.texture)
    grain = rng.standard_normal(attenuation.shape, np.float32)
    attenuation = attenuation + 0.04 * _noise(rng, view.size, 4) * (attenuation > 0.1)
    attenuation += grain * ((0.004 + 0.006 * attenuation) / view.dose)
    signal = 255 * (1 - np.exp(-1.05 * view.contrast * np.maximum(attenuation, 0)))
    image = Image.fromarray(np.clip(signal, 0, 255).astype(np.uint8))
    small = image.reduce(4)
    for strength, radius in ((0.5, 0.025), (0.6, 0.12)):
        soft = view.soften(small, radius) * 255
        signal = signal + view.edge * strength * (signal - soft)
    curve = (250 * np.linspace(0, 1, 256) ** view.gamma).astype(int).tolist()
    image = Image.fromarray(np.clip(signal, 0, 255).astype(np.uint8)).point(curve)
    return _overlay(image, view, rng)


def _overlay(image: Image.Image, view: View, rng: np.random.Generator) -> np.ndarray:
    """Add monitor leads, the side marker and the edges of the collimator."""
    draw = ImageDraw.Draw(image)
    for number in range(view.leads):
        _lead(draw, view, rng, number)
    if view.marker:
        x = 0.07 if view.marker == "R" else 0.90
        draw.text((x * view.size, 0.09 * view.size), view.marker, fill=235, font=_font(round(0.055 * view.size)))
    if view.collimation is not None:
        left, top, right, bottom = (view.collimation * [1, 1, -1, -1] + [0, 0, view.size, view.size]).tolist()
        open_to_beam = np.zeros((view.size, view.size), bool)
        open_to_beam[round(top) : round(bottom), round(left) : round(right)] = True
        return np.where(open_to_beam, np.asarray(image), np.uint8(3))
    return np.array(image)


def _lead(draw: ImageDraw.ImageDraw, view: View, rng: np.random.Generator, number: int) -> None:
    """An electrode of a heart monitor, with its wire."""
    t = np.linspace(0, 1, 24)[:, None]
    start = np.array([[-0.5, -0.45], [0.5, -0.45], [-0.55, 0.5]][number]) + rng.normal(0, 0.08, 2)
    end, bow = np.array([rng.choice([-1.1, 1.1]), rng.uniform(-0.6, 1)]), rng.normal(0, 0.25, 2)
    wire = view.place(start * (1 - t) + end * t + bow * np.sin(np.pi * t))
    draw.line(wire.ravel().tolist(), fill=205, width=max(1, view.size // 200))
    draw.polygon(view.place(outlines.ellipse(*start, 0.030, 0.030)).ravel().tolist(), fill=215)


@lru_cache
def _font(size: int):
    return ImageFont.load_default(size)


def _noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise, float32 [size, size]: normal at the nodes of a `cells` by `cells` grid, interpolated."""
    return np.asarray(_resize(Image.fromarray(rng.standard_normal((cells, cells), np.float32)), size, Image.BICUBIC))

"""The drawing behind `cxr.phantoms`: an anatomy, seen in a view, with or without a finding, as pixels.

Everything is an outline in half-frames (x, y from -1 at the frame's left and top to 1), filled, softened and summed as
attenuation; the detector and the console come last. For demonstration and tests only: a drawing, not a simulation.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

CAUSES = ("bacteria", "virus")

Points = np.ndarray  # float [N, 2]
Shapes = list[tuple[Points, int]]  # outlines and their grey, 0 to 255; later ones cover earlier ones


@dataclass(frozen=True)
class Anatomy:
    """Who it is: the same in all images of a patient. `age` runs from infant (0) to adult (1)."""

    age: float
    width: float  # half-width of the rib cage
    apex: float  # y of the lung tops
    base: float  # y of the costophrenic angles
    dome: float  # height of the diaphragm above them
    liver: float  # how much higher the right dome stands
    heart: float  # width of the heart, as a share of the chest's
    fat: float
    bend: float  # of the spine
    bubble: tuple[float, float, float]  # gastric air: x, radius, darkness
    vessels: float
    texture: int  # seed of the vessel tree

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Anatomy":
        age = rng.uniform()
        return cls(
            age=age,
            width=rng.uniform(0.68, 0.78),
            apex=rng.uniform(-0.74, -0.62) - 0.06 * age,
            base=rng.uniform(0.64, 0.74) + 0.12 * age,
            dome=rng.uniform(0.18, 0.27),
            liver=rng.uniform(0.03, 0.10),
            heart=rng.uniform(0.46, 0.55) - 0.06 * age,
            fat=rng.uniform(0, 1),
            bend=rng.normal(0, 0.012),
            bubble=(rng.uniform(0.28, 0.42), rng.uniform(0.06, 0.12), rng.uniform(0.3, 0.9) * (rng.uniform() < 0.5)),
            vessels=rng.uniform(0.5, 1.0),
            texture=int(rng.integers(2**62)),
        )

    def wall(self, y):
        """Half-width of the rib cage at height `y`."""
        down = np.clip((y - self.apex + 0.05) / (self.base - self.apex), 0, 1)
        return self.width * (1 - 0.64 * (1 - down) ** 3.2)

    def midline(self, y):
        return self.bend * np.sin(3 * y + 1)


@dataclass(frozen=True)
class View:
    """How the image was taken: new in each image. `matrix` and `offset` map half-frames to pixels."""

    size: int
    matrix: np.ndarray
    offset: np.ndarray
    breath: float
    turn: float  # the patient's rotation: shifts the front of the chest against the back
    arms: float  # 0 down, 1 raised
    chin: float
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
        angle, scale, squash = rng.normal(0, 0.03), rng.uniform(0.96, 1.12), rng.normal(1, 0.03)
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        framed, frame = rng.uniform() < 0.2, rng.uniform(0.0, 0.05, 4) * size
        return cls(
            size=size,
            matrix=(turned * [scale * squash, scale / squash]) * size / 2,
            offset=(1 + rng.normal(0, [0.03, 0.03])) * size / 2,
            breath=rng.normal(0, 0.035),
            turn=rng.normal(0, 0.015),
            arms=rng.uniform(0, 1),
            chin=rng.uniform(0.0, 0.14) * (rng.uniform() < 0.35),
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
        """Pixels a side of soft layers, which are drawn at half size for speed."""
        return (self.size + 1) // 2

    def sharp(self, shapes: Shapes) -> np.ndarray:
        """Filled shapes as uint8 [size, size]."""
        # Drawn at twice the size, against jagged edges.
        return np.asarray(self.fill(shapes, 2 * self.size).reduce(2))

    def soft(self, shapes: Shapes, blur: float) -> np.ndarray:
        """Filled shapes as float32 [half, half] from 0 to 1; `blur` is in half-frames."""
        return self.soften(self.fill(shapes, self.size if blur < 0.04 else self.half).reduce(2), blur, self.half)

    def fill(self, shapes: Shapes, side: int) -> Image.Image:
        image = Image.new("L", (side, side))
        draw = ImageDraw.Draw(image)
        matrix, offset = self.matrix * (side / self.size), self.offset * (side / self.size)
        for points, grey in shapes:
            draw.polygon((points @ matrix.T + offset).ravel().tolist(), fill=grey)
        return image

    def soften(self, image: Image.Image, blur: float, side: int | None = None) -> np.ndarray:
        image = image.filter(ImageFilter.GaussianBlur(blur * image.width / 2))
        return np.asarray(_resize(image, side or self.size), np.float32) / 255

    def again(self, layer: np.ndarray, blur: float) -> np.ndarray:
        """A soft layer, softened further."""
        small = Image.fromarray((layer * 255).astype(np.uint8)).reduce(max(1, self.half // 64))
        return self.soften(small, blur, self.half)


def _resize(image: Image.Image, side: int, filter: int = Image.BILINEAR) -> Image.Image:
    return image if image.width == side else image.resize((side, side), filter)


@dataclass(frozen=True)
class Finding:
    """What is wrong: places and shapes only. How well it is seen is the caller's difficulty."""

    cause: str
    side: int  # -1: the image's left, the patient's right
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
            extent=(rng.uniform(0.20, 0.34), rng.uniform(0.18, 0.34)),
            effusion=rng.uniform(0.08, 0.3) * (rng.uniform() < 0.3),
            fissure=bool(rng.uniform() < 0.4),
            texture=int(rng.integers(2**62)),
        )


def render(anatomy: Anatomy, view: View, finding: Finding | None, difficulty: float) -> np.ndarray:
    """uint8 [size, size]: attenuation summed layer on layer, then the detector and the console."""
    lungs = view.soft([(outline, 255) for outline in _lungs(anatomy, view)], 0.012)
    heart = view.soft([(_heart(anatomy, view), 255)], 0.014)
    belly = view.soft(_belly(anatomy, view), 0.016)
    vessels = _vessels(anatomy, view)
    air = lungs * (0.62 + 0.38 * view.again(lungs, 0.08)) * (1 - 0.75 * heart)
    if finding:
        opacity = _opacity(anatomy, view, finding, vessels[::2, ::2])
        air = air * (1 - np.clip((0.95 - 0.9 * difficulty) * opacity, 0, 0.97))
    thick = _tissue(anatomy, view) + 0.16 * heart + 0.26 * belly
    # Scatter washes bone out where the body is thick.
    clear = 1 - 0.45 * belly - 0.25 * heart
    thick, air, clear = (np.asarray(_resize(Image.fromarray(layer), view.size)) for layer in (thick, air, clear))
    grainy = 0.72 * anatomy.vessels * vessels + 0.03 * _noise(np.random.default_rng(anatomy.texture), view.size, 70)
    return _expose(thick - 0.78 * air * (1 - grainy) + clear * _bones(anatomy, view), view)


def _tissue(anatomy: Anatomy, view: View) -> np.ndarray:
    """Skin, fat and muscle, and the mediastinum, less the air in the windpipe."""
    body = view.soft(_body(anatomy, view), 0.016)
    depth = view.again(body, 0.14)
    tissue = body * (0.06 + (0.30 + 0.20 * anatomy.fat) * depth * depth)
    tissue += 0.60 * view.soft(_trunk(anatomy, view), 0.07)
    tissue += 0.14 * view.soft(_middle(anatomy, view), 0.08)
    if view.chin:
        tissue += 0.40 * view.soft([(_ellipse(3 * view.turn, -1.24 + view.chin, 0.40, 0.36), 255)], 0.020)
    return tissue - 0.28 * view.soft(_airways(anatomy, view), 0.018)


def _lungs(anatomy: Anatomy, view: View) -> list[Points]:
    top, base = anatomy.apex, anatomy.base + view.breath
    height = top + np.array([0.10, 0.22, 0.38, 0.55, 0.7, 0.85, 0.97]) * (base - top)
    wall = anatomy.wall(height) - 0.03
    outlines = []
    for side in (-1, 1):
        dome = base - anatomy.dome - (anatomy.liver if side < 0 else 0)
        x = np.concatenate([[0.16, 0.21, 0.27, 0.34], wall, [0.62 * wall[-1], 0.36 * wall[-1], 0.12, 0.10, 0.10]])
        y = np.array(
            [top + 0.10, top + 0.015, top, top + 0.025, *height, dome + 0.05, dome + 0.01, dome + 0.09, 0.1, -0.25]
        )
        outlines.append(_smooth(np.stack([side * x + anatomy.midline(y) + view.turn, y], 1)))
    return outlines


def _heart(anatomy: Anatomy, view: View) -> Points:
    """Heart and great vessels: two thirds to the patient's left, with the aortic knob, the bay and the apex."""
    span = 2 * anatomy.width * anatomy.heart
    left, right = 0.66 * span, 0.34 * span
    base, top = anatomy.base + view.breath - 0.02, anatomy.apex + 0.12
    wide = 0.03 * (1 - anatomy.age)
    low = base - 0.30
    outline = _smooth(
        [
            (-0.08 - wide, top), (-0.09 - wide, -0.35), (-0.11 - wide, -0.15), (-right * 0.86, low - 0.22),
            (-right, low), (-right * 0.85, base - 0.12), (0.0, base), (left * 0.75, base - 0.02),
            (left, base - 0.17), (left * 0.90, low - 0.02), (left * 0.66, low - 0.22), (0.17, low - 0.40),
            (0.135 + wide, -0.24), (0.145 + wide, -0.34), (0.115 + wide, -0.43), (0.085 + wide, top),
        ]
    )  # fmt: skip
    return outline + np.stack([anatomy.midline(outline[:, 1]) + 2 * view.turn, 0 * outline[:, 1]], 1)


def _body(anatomy: Anatomy, view: View) -> Shapes:
    wide = anatomy.width + 0.10 + 0.10 * anatomy.fat
    neck = 0.22 + 0.08 * anatomy.fat
    up = 0.45 * view.arms
    torso = np.array(
        [
            (neck, -1.5), (neck, -1.0), (0.40, -0.88), (0.75, -0.84 - 0.3 * up), (1.1, -0.8 - up), (1.5, -0.6 - 2 * up),
            (1.5, 0.4 - 3 * up), (1.05, 0.0 - up), (wide + 0.02, -0.2 - 0.5 * up), (wide - 0.02, 0.1),
            (wide - 0.02, 0.5), (wide, 0.9), (wide, 1.5),
        ]
    )  # fmt: skip
    return [(_smooth(np.vstack([torso, (torso * [-1, 1])[::-1]])), 255)]


def _trunk(anatomy: Anatomy, view: View) -> Shapes:
    y = np.linspace(anatomy.apex - 0.1, 1.6, 20)
    return [(_band(np.stack([anatomy.midline(y), y], 1), anatomy.wall(y) - 0.02), 255)]


def _middle(anatomy: Anatomy, view: View) -> Shapes:
    y = np.linspace(-1.5, 1.5, 12)
    return [(_band(np.stack([anatomy.midline(y) + view.turn, y], 1), 0.15), 255)]


def _belly(anatomy: Anatomy, view: View) -> Shapes:
    base, wide = anatomy.base + view.breath, anatomy.width
    right, left = base - anatomy.dome - anatomy.liver, base - anatomy.dome
    points = [
        (-wide, base + 0.05), (-wide * 0.62, right + 0.05), (-wide * 0.36, right + 0.01), (-0.05, right + 0.1),
        (0.12, left + 0.1), (wide * 0.36, left + 0.01), (wide * 0.62, left + 0.05), (wide, base + 0.05),
        (wide, 1.6), (0, 1.6), (-wide, 1.6),
    ]  # fmt: skip
    x, radius, dark = anatomy.bubble
    bubble = _ellipse(x, left + 0.07 + radius, radius * 1.3, radius)
    return [(_smooth(points), 255), (bubble, int(255 * (1 - dark)))]


def _airways(anatomy: Anatomy, view: View) -> Shapes:
    y = np.linspace(-1.5, -0.32, 8)
    trachea = np.stack([anatomy.midline(y) + 1.5 * view.turn, y], 1)
    right = _band(np.linspace(trachea[-1], trachea[-1] + [-0.11, 0.13], 4), [0.035, 0.03, 0.028, 0.02])
    left = _band(np.linspace(trachea[-1], trachea[-1] + [0.14, 0.11], 4), [0.032, 0.028, 0.025, 0.018])
    return [(_band(trachea, 0.042), 255), (right, 170), (left, 150)]


def _vessels(anatomy: Anatomy, view: View) -> np.ndarray:
    """A tree from each hilum, all branches of one generation at a time."""
    rng = np.random.default_rng(anatomy.texture)
    image = Image.new("L", (view.size, view.size))
    draw = ImageDraw.Draw(image)
    for side in (-1, 1):
        hilum = np.array([side * 0.16, -0.04 if side < 0 else -0.09])
        for _ in range(7):
            spot = hilum + rng.normal(0, [0.025, 0.07])
            draw.polygon((view.place(_ellipse(*spot, *rng.uniform(0.015, 0.035, 2)))).ravel().tolist(), fill=110)
        start = hilum + np.stack([np.zeros(9), np.linspace(-0.12, 0.20, 9)], 1) + rng.normal(0, 0.02, (9, 2))
        angle = np.linspace(-1.3, 1.35, 9) + rng.normal(0, 0.25, 9)
        width = rng.uniform(0.010, 0.018, 9)
        for generation in range(10):
            count = len(start)
            end = start + rng.uniform(0.03, 0.065, (count, 1)) * np.stack([side * np.cos(angle), np.sin(angle)], 1)
            ends = np.hstack([view.place(start), view.place(end)])
            pixels = np.maximum(width * view.size / 2, 1).round().astype(int)
            greys = np.minimum(230, 20 + 11000 * width).astype(int)
            for line, wide, grey in zip(ends.tolist(), pixels.tolist(), greys.tolist(), strict=True):
                draw.line(line, fill=grey, width=wide)
            forks = 2 if generation in (2, 5, 8) else 1
            spread = rng.normal(0, 0.24, count * forks) + np.resize([-0.3, 0.3], count * forks) * (forks - 1)
            start, angle = np.repeat(end, forks, 0), np.repeat(angle, forks) + spread
            width = np.repeat(width, forks) * rng.uniform(0.8, 0.98, count * forks)
    return view.soften(image, 0.008)


def _bones(anatomy: Anatomy, view: View) -> np.ndarray:
    back, front = (view.sharp(shapes) for shapes in _ribs(anatomy, view))
    rest = view.sharp(_spine(anatomy) + _shoulders(anatomy, view))
    weights = np.float32([0.25, 0.18, 0.34])
    total = sum(weight * layer for weight, layer in zip(weights, (back, front, rest), strict=True))
    return view.soften(Image.fromarray(np.minimum(total, 255).astype(np.uint8)), 0.006) * np.float32(1.3)


def _ribs(anatomy: Anatomy, view: View) -> tuple[Shapes, Shapes]:
    """Twelve pairs of tilted rings, seen from the front: the back halves, and the fainter, lower front halves."""
    theta = np.linspace(0.0, 2.55, 45)
    number = np.arange(12)[:, None]
    spacing = (anatomy.base - anatomy.apex) / 10.5
    drop = (0.32 + 0.045 * number) * (0.85 + 0.45 * anatomy.age) - 0.5 * view.breath
    y = (
        anatomy.apex
        - 0.07
        + number * spacing
        - 0.04 * np.minimum(number / 5, 1) * np.sin(2 * theta)
        + drop * (1 - np.cos(theta)) / 2
    )
    reach = anatomy.wall(y[:, 27:28])
    out = 0.05 + (reach - 0.05) * np.sin(theta)
    middle = anatomy.midline(y) + view.turn * (1 - np.cos(theta))
    lines = np.concatenate([np.stack([middle + side * out, y], -1) for side in (-1, 1)])
    half = 0.017 + 0.005 * np.sin(theta)
    back = _bands(lines[:, :29], half[:29], 190, 140)
    front = _bands(lines[np.r_[0:9, 12:21], 27:], half[27:] * 1.15, 150, 120)
    return back, front


def _bands(lines: np.ndarray, half: np.ndarray, rim: int, core: int) -> Shapes:
    """Tubes: a bright rim around a darker core."""
    rims, cores = _band(lines, half), _band(lines, half * 0.66)
    return [shape for outer, inner in zip(rims, cores, strict=True) for shape in ((outer, rim), (inner, core))]


def _spine(anatomy: Anatomy) -> Shapes:
    y = np.linspace(-1.5, 1.5, 16)
    shapes = [(_band(np.stack([anatomy.midline(y), y], 1), 0.07), 70)]
    for y in np.arange(-1.2, 1.3, 0.125):
        x, half = anatomy.midline(y), 0.072 + 0.008 * y
        shapes += [(_VERTEBRA * [half, 0.048] + [x, y], 150), (_VERTEBRA * [half * 0.84, 0.036] + [x, y], 120)]
        shapes += [(_ellipse(x + side * half * 0.62, y - 0.012, 0.015, 0.02), 200) for side in (-1, 1)]
        shapes.append((_ellipse(x, y + 0.04, 0.010, 0.03), 195))
    return shapes


def _shoulders(anatomy: Anatomy, view: View) -> Shapes:
    """Shoulder blades, collar bones and the tops of the arms."""
    shapes = []
    t = np.linspace(0, 1, 14)
    for side in (-1, 1):
        lift = 0.10 * view.arms + side * view.turn
        blade = (_BLADE + [0, 0.05 - lift]) * [side, 1]
        shapes += [(blade, 75), ((blade - blade.mean(0)) * 0.94 + blade.mean(0), 45)]
        angle = 0.9 - 2.2 * view.arms
        arm = [0.84, -0.66 - lift] + np.linspace(-0.09, 0.9, 14)[:, None] * [np.cos(angle), np.sin(angle)]
        shapes += [(_band(arm * [side, 1], _ARM), 130), (_band(arm[1:] * [side, 1], _ARM[1:] * 0.72), 85)]
        y = anatomy.apex + 0.13 - (0.10 + 1.6 * lift) * t + 0.035 * np.sin(2 * np.pi * t)
        clavicle = np.stack([side * (0.075 + 0.60 * t) + 2 * view.turn, y], 1)
        wide = 0.020 + 0.012 * (2 * t - 1) ** 2
        shapes += [(_band(clavicle, wide), 190), (_band(clavicle, wide * 0.6), 140)]
    return shapes


def _opacity(anatomy: Anatomy, view: View, finding: Finding, vessels: np.ndarray) -> np.ndarray:
    """How much of the lung's air is gone, float32 [half, half], about 0 to 1."""
    rng = np.random.default_rng(finding.texture)
    coarse, fine = _noise(rng, view.half, 9), _noise(rng, view.half, 28)
    base = anatomy.base + view.breath
    if finding.cause == "bacteria":
        y = anatomy.apex + finding.place[1] * (base - anatomy.apex)
        x = finding.side * finding.place[0] * anatomy.wall(y)
        spot = view.soft([(_ellipse(x, y, *finding.extent), 255)], 0.13)
        opacity = np.clip((spot + 0.20 * coarse + 0.08 * fine - 0.22) * 1.8, 0, 1) * (1 - 0.35 * vessels)
        if finding.fissure:
            edge = _smooth([(-1.5, y), (0, y - 0.02), (1.5, y), (1.5, -1.5), (-1.5, -1.5)])
            opacity = opacity * (0.15 + 0.85 * view.soft([(edge, 255)], 0.014))
    else:
        net = np.exp(-((fine / 0.35) ** 2)) + 0.8 * np.exp(-((_noise(rng, view.half, 44) / 0.35) ** 2))
        central = view.soft([(_ellipse(side * 0.28, 0.05, 0.26, 0.42), 255) for side in (-1, 1)], 0.16)
        opacity = central * np.clip(0.6 + 0.35 * coarse, 0.1, 1.2) * (0.45 + 0.32 * net + 0.3 * vessels)
    if finding.effusion:
        level, wall = base - finding.effusion, anatomy.width
        pool = [
            (wall + 0.1, level - 0.18),
            (wall * 0.86, level),
            (wall * 0.5, level + 0.12),
            (0, base),
            (wall, base + 0.3),
        ]
        opacity = np.maximum(opacity, view.soft([(np.array(pool) * [finding.side, 1], 255)], 0.025))
    return opacity


def _expose(attenuation: np.ndarray, view: View) -> np.ndarray:
    """Beam, quantum noise, edge enhancement, grey curve; then what lies on top: leads, shutters, the side marker."""
    rng = np.random.default_rng(view.texture)
    grain = rng.standard_normal(attenuation.shape, np.float32)
    attenuation = attenuation + 0.04 * _noise(rng, view.size, 4) * (attenuation > 0.1)
    attenuation += grain * ((0.004 + 0.006 * attenuation) / view.dose)
    signal = 255 * (1 - np.exp(-1.05 * view.contrast * np.maximum(attenuation, 0)))
    image = Image.fromarray(np.clip(signal, 0, 255).astype(np.uint8))
    for share, radius, factor in ((0.5, 0.022, 2), (0.6, 0.12, 4)):
        soft = view.soften(image.reduce(factor), radius) * 255
        signal = signal + view.edge * share * (signal - soft)
    curve = (250 * np.linspace(0, 1, 256) ** view.gamma).astype(int).tolist()
    image = Image.fromarray(np.clip(signal, 0, 255).astype(np.uint8)).point(curve)
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
    """A heart monitor's electrode and its wire."""
    t = np.linspace(0, 1, 24)[:, None]
    start = np.array([[-0.5, -0.45], [0.5, -0.45], [-0.55, 0.5]][number]) + rng.normal(0, 0.08, 2)
    end, bow = np.array([rng.choice([-1.1, 1.1]), rng.uniform(-0.6, 1)]), rng.normal(0, 0.25, 2)
    wire = view.place(start * (1 - t) + end * t + bow * np.sin(np.pi * t))
    draw.line(wire.ravel().tolist(), fill=205, width=max(1, view.size // 200))
    draw.polygon(view.place(_ellipse(*start, 0.030, 0.030)).ravel().tolist(), fill=215)


@lru_cache
def _font(size: int):
    return ImageFont.load_default(size)


_T = np.arange(10)[:, None] / 10
# Catmull-Rom: a smooth closed curve through all its points, as one matrix product.
_SPLINE = 0.5 * np.hstack(
    [-_T + 2 * _T**2 - _T**3, 2 - 5 * _T**2 + 3 * _T**3, _T + 4 * _T**2 - 3 * _T**3, _T**3 - _T**2]
)


def _smooth(points) -> Points:
    points = np.asarray(points, float)
    around = np.stack([np.roll(points, shift, 0) for shift in (1, 0, -1, -2)], 1)
    return (_SPLINE @ around).reshape(-1, 2)


def _band(lines: np.ndarray, half_width) -> np.ndarray:
    """The outlines [..., 2 N, 2] of strips along lines [..., N, 2]."""
    along = np.empty_like(lines)
    along[..., 1:-1, :] = lines[..., 2:, :] - lines[..., :-2, :]
    along[..., 0, :], along[..., -1, :] = along[..., 1, :], along[..., -2, :]
    length = np.sqrt((along * along).sum(-1, keepdims=True)) + 1e-9
    offset = along[..., ::-1] * [-1, 1] / length * np.reshape(half_width, (-1, 1))
    return np.concatenate([lines + offset, (lines - offset)[..., ::-1, :]], -2)


def _ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    return _CIRCLE * [rx, ry] + [x, y]


_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
_VERTEBRA = _smooth([(0, -0.88), (1, -1), (0.9, 0), (1, 1), (0, 0.88), (-1, 1), (-0.9, 0), (-1, -1)])
_BLADE = _smooth([(0.60, -0.66), (0.78, -0.64), (0.88, -0.50), (0.80, -0.05), (0.74, 0.02), (0.64, -0.3)])
_ARM = np.interp(
    np.linspace(-0.09, 0.9, 14), [-0.09, -0.03, 0.03, 0.15, 0.4, 0.9], [0.04, 0.085, 0.08, 0.05, 0.042, 0.05]
)


def _noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise, float32 [size, size], deviation about 1 at the nodes of a grid of `cells` by `cells`."""
    return np.asarray(_resize(Image.fromarray(rng.standard_normal((cells, cells), np.float32)), size, Image.BICUBIC))

"""Anatomy of the phantoms, as outlines. x and y run from -1 (left, top) to 1 (right, bottom) of the image.

For demonstration and tests only: drawn by eye, not measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Points = np.ndarray  # float [N, 2]
Shapes = list[tuple[Points, int]]  # outlines with their grey level, 0 to 255; later ones cover earlier ones


@dataclass(frozen=True)
class Anatomy:
    """A patient's body: the same in all images of the patient. `age` is 0 for an infant and 1 for an adult."""

    age: float
    width: float  # half-width of the rib cage
    apex: float  # y of the lung tops
    base: float  # y of the costophrenic angles
    dome: float  # height of the diaphragm above them
    liver: float  # how much higher the right dome is, because of the liver
    heart: float  # width of the heart as a fraction of the chest's (cardiothoracic ratio)
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
class Pose:
    """The patient's position in one image."""

    breath: float
    turn: float  # rotation: shifts the front of the chest relative to the back
    arms: float  # 0 down, 1 raised
    chin: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Pose":
        return cls(
            breath=rng.normal(0, 0.035),
            turn=rng.normal(0, 0.015),
            arms=rng.uniform(0, 1),
            chin=rng.uniform(0.0, 0.14) * (rng.uniform() < 0.35),
        )


def lungs(anatomy: Anatomy, pose: Pose) -> list[Points]:
    top, base = anatomy.apex, anatomy.base + pose.breath
    height = top + np.array([0.10, 0.22, 0.38, 0.55, 0.7, 0.85, 0.97]) * (base - top)
    wall = anatomy.wall(height) - 0.03
    outlines = []
    for side in (-1, 1):
        dome = base - anatomy.dome - (anatomy.liver if side < 0 else 0)
        x = np.concatenate([[0.16, 0.21, 0.27, 0.34], wall, [0.62 * wall[-1], 0.36 * wall[-1], 0.12, 0.10, 0.10]])
        y = np.array(
            [top + 0.10, top + 0.015, top, top + 0.025, *height, dome + 0.05, dome + 0.01, dome + 0.09, 0.1, -0.25]
        )
        outlines.append(smooth(np.stack([side * x + anatomy.midline(y) + pose.turn, y], 1)))
    return outlines


def heart(anatomy: Anatomy, pose: Pose) -> Points:
    """Heart and great vessels: two thirds to the patient's left, with the aortic knob, the bay and the apex."""
    span = 2 * anatomy.width * anatomy.heart
    left, right = 0.66 * span, 0.34 * span
    base, top = anatomy.base + pose.breath - 0.02, anatomy.apex + 0.12
    wide = 0.03 * (1 - anatomy.age)
    low = base - 0.30
    outline = smooth(
        [
            (-0.08 - wide, top), (-0.09 - wide, -0.35), (-0.11 - wide, -0.15), (-right * 0.86, low - 0.22),
            (-right, low), (-right * 0.85, base - 0.12), (0.0, base), (left * 0.75, base - 0.02),
            (left, base - 0.17), (left * 0.90, low - 0.02), (left * 0.66, low - 0.22), (0.17, low - 0.40),
            (0.135 + wide, -0.24), (0.145 + wide, -0.34), (0.115 + wide, -0.43), (0.085 + wide, top),
        ]
    )  # fmt: skip
    return outline + np.stack([anatomy.midline(outline[:, 1]) + 2 * pose.turn, 0 * outline[:, 1]], 1)


def body(anatomy: Anatomy, pose: Pose) -> Shapes:
    wide = anatomy.width + 0.10 + 0.10 * anatomy.fat
    neck = 0.22 + 0.08 * anatomy.fat
    up = 0.45 * pose.arms
    torso = np.array(
        [
            (neck, -1.5), (neck, -1.0), (0.40, -0.88), (0.75, -0.84 - 0.3 * up), (1.1, -0.8 - up), (1.5, -0.6 - 2 * up),
            (1.5, 0.4 - 3 * up), (1.05, 0.0 - up), (wide + 0.02, -0.2 - 0.5 * up), (wide - 0.02, 0.1),
            (wide - 0.02, 0.5), (wide, 0.9), (wide, 1.5),
        ]
    )  # fmt: skip
    return [(smooth(np.vstack([torso, (torso * [-1, 1])[::-1]])), 255)]


def trunk(anatomy: Anatomy, pose: Pose) -> Shapes:
    """The thickness of the chest; in the middle it includes the mediastinum in front of and behind the heart."""
    y = np.linspace(-1.6, 1.6, 24)
    middle = band(np.stack([anatomy.midline(y) + pose.turn, y], 1), 0.15)
    return [(band(np.stack([anatomy.midline(y), y], 1), anatomy.wall(y) - 0.02), 207), (middle, 255)]


def belly(anatomy: Anatomy, pose: Pose) -> Shapes:
    base, wide = anatomy.base + pose.breath, anatomy.width
    right, left = base - anatomy.dome - anatomy.liver, base - anatomy.dome
    points = [
        (-wide, base + 0.05), (-wide * 0.62, right + 0.05), (-wide * 0.36, right + 0.01), (-0.05, right + 0.1),
        (0.12, left + 0.1), (wide * 0.36, left + 0.01), (wide * 0.62, left + 0.05), (wide, base + 0.05),
        (wide, 1.6), (0, 1.6), (-wide, 1.6),
    ]  # fmt: skip
    x, radius, dark = anatomy.bubble
    bubble = ellipse(x, left + 0.07 + radius, radius * 1.3, radius)
    return [(smooth(points), 255), (bubble, int(255 * (1 - dark)))]


def pool(anatomy: Anatomy, pose: Pose, side: int, height: float) -> Shapes:
    """Pleural effusion: fluid in a costophrenic angle, rising along the chest wall."""
    base, wall = anatomy.base + pose.breath, anatomy.width
    level = base - height
    points = [
        (wall + 0.1, level - 0.18),
        (wall * 0.86, level),
        (wall * 0.5, level + 0.12),
        (0, base),
        (wall, base + 0.3),
    ]
    return [(np.array(points) * [side, 1], 255)]


def chin(pose: Pose) -> Shapes:
    return [(ellipse(3 * pose.turn, -1.24 + pose.chin, 0.40, 0.36), 255)]


def airways(anatomy: Anatomy, pose: Pose) -> Shapes:
    y = np.linspace(-1.5, -0.32, 8)
    trachea = np.stack([anatomy.midline(y) + 1.5 * pose.turn, y], 1)
    right = band(np.linspace(trachea[-1], trachea[-1] + [-0.11, 0.13], 4), [0.035, 0.03, 0.028, 0.02])
    left = band(np.linspace(trachea[-1], trachea[-1] + [0.14, 0.11], 4), [0.032, 0.028, 0.025, 0.018])
    return [(band(trachea, 0.042), 255), (right, 170), (left, 150)]


def branches(root: Points, side: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The vessels of a lung, generation by generation, thick ones first: lines [N, 4, 2] and their widths [N]."""
    count = 9
    start = root + np.stack([np.zeros(count), np.linspace(-0.12, 0.20, count)], 1) + rng.normal(0, 0.02, (count, 2))
    angle = np.linspace(-1.3, 1.35, count) + rng.normal(0, 0.25, count)
    width = rng.uniform(0.010, 0.018, count)
    for _ in range(4):
        angles = angle[:, None] + np.cumsum(rng.normal(0, 0.15, (count, 3)), 1)
        steps = rng.uniform(0.04, 0.065, (count, 3, 1)) * np.stack([side * np.cos(angles), np.sin(angles)], -1)
        line = np.concatenate([start[:, None], start[:, None] + np.cumsum(steps, 1)], 1)
        yield line, width
        count *= 2
        start = np.repeat(line[:, -1], 2, 0)
        angle = np.repeat(angles[:, -1], 2) + np.tile([-0.3, 0.3], count // 2) + rng.normal(0, 0.24, count)
        width = np.repeat(width, 2) * rng.uniform(0.55, 0.85, count)


def ribs(anatomy: Anatomy, pose: Pose) -> tuple[Shapes, Shapes]:
    """Twelve pairs of ribs, as tilted rings: the posterior halves, and the fainter, lower anterior halves."""
    theta = np.linspace(0.0, 2.55, 31)
    number = np.arange(12)[:, None]
    spacing = (anatomy.base - anatomy.apex) / 10.5
    drop = (0.32 + 0.045 * number) * (0.85 + 0.45 * anatomy.age) - 0.5 * pose.breath
    rise = 0.04 * np.minimum(number / 5, 1) * np.sin(2 * theta)
    y = anatomy.apex - 0.05 + number * spacing - rise + drop * (1 - np.cos(theta)) / 2
    reach = anatomy.wall(y[:, 18:19])
    out = 0.05 + (reach - 0.05) * np.sin(theta)
    middle = anatomy.midline(y) + pose.turn * (1 - np.cos(theta))
    lines = np.concatenate([np.stack([middle + side * out, y], -1) for side in (-1, 1)])
    half = 0.017 + 0.005 * np.sin(theta)
    back = _bands(lines[:, :20], half[:20], 190, 140)
    front = _bands(lines[np.r_[0:9, 12:21], 18:], half[18:] * 1.15, 150, 120)
    return back, front


def _bands(lines: np.ndarray, half: np.ndarray, rim: int, core: int) -> Shapes:
    """Tubes: a bright rim around a darker core."""
    rims, cores = band(lines, half), band(lines, half * 0.66)
    return [shape for outer, inner in zip(rims, cores, strict=True) for shape in ((outer, rim), (inner, core))]


def spine(anatomy: Anatomy) -> Shapes:
    """Vertebrae with pedicles and spinous processes, on the soft shadow of the spine."""
    y = np.linspace(-1.5, 1.5, 16)
    shapes = [(band(np.stack([anatomy.midline(y), y], 1), 0.07), 70)]
    level = np.arange(-1.2, 1.3, 0.125)
    centre = np.stack([anatomy.midline(level), level], 1)[:, None]
    half = 0.072 + 0.008 * level[:, None, None]
    for outline, grey in (
        (_VERTEBRA * (half * [1, 0] + [0, 0.048]), 150),
        (_VERTEBRA * (half * [0.84, 0] + [0, 0.036]), 120),
        (_CIRCLE * [0.015, 0.020] + half * [0.62, 0] + [0, -0.012], 200),
        (_CIRCLE * [0.015, 0.020] - half * [0.62, 0] + [0, -0.012], 200),
        (_CIRCLE * [0.010, 0.030] + [0, 0.04], 195),
    ):
        shapes += [(points, grey) for points in outline + centre]
    return shapes


def shoulders(anatomy: Anatomy, pose: Pose) -> Shapes:
    """Scapulae, clavicles and upper arms."""
    shapes = []
    t = np.linspace(0, 1, 14)
    for side in (-1, 1):
        lift = 0.10 * pose.arms + side * pose.turn
        blade = (_BLADE + [0, 0.05 - lift]) * [side, 1]
        shapes += [(blade, 65), ((blade - blade.mean(0)) * 0.94 + blade.mean(0), 45)]
        angle = 0.9 - 2.2 * pose.arms
        arm = [0.84, -0.66 - lift] + np.linspace(-0.09, 0.9, 14)[:, None] * [np.cos(angle), np.sin(angle)]
        shapes += [(band(arm * [side, 1], _ARM), 130), (band(arm[1:] * [side, 1], _ARM[1:] * 0.72), 85)]
        y = anatomy.apex + 0.13 - (0.10 + 1.6 * lift) * t + 0.035 * np.sin(2 * np.pi * t)
        clavicle = np.stack([side * (0.075 + 0.60 * t) + 2 * pose.turn, y], 1)
        wide = 0.020 + 0.012 * (2 * t - 1) ** 2
        shapes += [(band(clavicle, wide), 190), (band(clavicle, wide * 0.6), 140)]
    return shapes


_T = np.arange(10)[:, None] / 10
# Catmull-Rom spline: a smooth closed curve through all points, as one matrix product.
_SPLINE = 0.5 * np.hstack(
    [-_T + 2 * _T**2 - _T**3, 2 - 5 * _T**2 + 3 * _T**3, _T + 4 * _T**2 - 3 * _T**3, _T**3 - _T**2]
)


def smooth(points) -> Points:
    """A closed Catmull-Rom spline through points [N, 2]: [10 N, 2]."""
    points = np.asarray(points, float)
    around = np.stack([np.roll(points, shift, 0) for shift in (1, 0, -1, -2)], 1)
    return (_SPLINE @ around).reshape(-1, 2)


def band(lines: np.ndarray, half_width) -> np.ndarray:
    """Outlines [..., 2 N, 2] of strips along lines [..., N, 2], with `half_width` to each side."""
    along = np.empty_like(lines)
    along[..., 1:-1, :] = lines[..., 2:, :] - lines[..., :-2, :]
    along[..., 0, :], along[..., -1, :] = along[..., 1, :], along[..., -2, :]
    length = np.sqrt((along * along).sum(-1, keepdims=True)) + 1e-9
    offset = along[..., ::-1] * [-1, 1] / length * np.reshape(half_width, (-1, 1))
    return np.concatenate([lines + offset, (lines - offset)[..., ::-1, :]], -2)


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    return _CIRCLE * [rx, ry] + [x, y]


_ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
_VERTEBRA = smooth([(0, -0.88), (1, -1), (0.9, 0), (1, 1), (0, 0.88), (-1, 1), (-0.9, 0), (-1, -1)])[::4]
_BLADE = smooth([(0.60, -0.66), (0.78, -0.64), (0.88, -0.50), (0.80, -0.05), (0.74, 0.02), (0.64, -0.3)])
_ARM = np.interp(
    np.linspace(-0.09, 0.9, 14), [-0.09, -0.03, 0.03, 0.15, 0.4, 0.9], [0.04, 0.085, 0.08, 0.05, 0.042, 0.05]
)

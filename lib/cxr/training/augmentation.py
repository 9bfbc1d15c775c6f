"""Augmentation: random changes of exposure, position and sharpness, on the device, for a whole batch at once.

They imitate differences between hospitals: tube voltage, positioning, detectors, scanners. There are no flips, because
the heart is on the left.
"""

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from cxr.data.splits import Indexed
from cxr.model.network import to_float

ROTATION = math.radians(12)
SCALE = 0.20
SHIFT = 0.12  # of the image's side


Draw = Callable[[float, float], torch.Tensor]  # (low, high) -> a uniform random number for each image, [N, 1, 1, 1]
Change = Callable[[torch.Tensor, Draw], torch.Tensor]


def augment(images: torch.Tensor, generator: torch.Generator, strength: float = 1.0) -> torch.Tensor:
    """Augment images, float [N, 1, H, W] in [0, 1]; same shape and range.

    Args:
        generator: on the images' device.
        strength: 0 (not at all) to 1. How far an image is moved, turned and exposed otherwise, and how often it is
            changed in the other ways. A network that sees few images does not learn to ignore strong changes.
    """
    if strength == 0:
        return images
    images = _affine(images, generator, strength)
    images = _sometimes(0.3 * strength, _equalise, images, generator)
    images = _sometimes(0.3 * strength, _sigmoid, images, generator)
    images = _exposure(images, generator, strength)
    images = _sometimes(strength, _resolution_loss, images, generator)
    images = _sometimes(0.3 * strength, _sharpen, images, generator)
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    images = images.add_(noise.mul_(_uniform(images, 0, 0.04 * strength, generator))).clamp_(0, 1)
    images = _sometimes(0.3 * strength, _collimate, images, generator)
    return _sometimes(0.5 * strength, _erase, images, generator)


def shifted(images: torch.Tensor | Indexed, seed: int, strength: float = 1.0, batch_size: int = 64) -> torch.Tensor:
    """One augmented copy of each image, as another hospital might have taken it: uint8 [N, H, W] -> uint8 [N, H, W].

    `strength`: see :func:`augment`.

    Validation images from the same source are too easy: AUROC is near 1 for every epoch, so it cannot tell good epochs
    from bad. Augmented copies are closer to images from elsewhere.
    """
    generator = torch.Generator(images.device).manual_seed(seed)
    changed = torch.empty(images.shape, dtype=torch.uint8, device=images.device)
    for place, batch in zip(changed.split(batch_size), images.split(batch_size), strict=True):
        place.copy_(augment(to_float(batch), generator, strength).squeeze(1).mul_(255).round_())
    return changed


def _uniform(images: torch.Tensor, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """One uniform random number for each image: [N, 1, 1, 1]."""
    return torch.empty(len(images), 1, 1, 1, device=images.device).uniform_(low, high, generator=generator)


def _sometimes(probability: float, change: Change, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Changed for some images at random. Numbers are drawn for all, so that every device draws the same."""

    def draw(low: float, high: float) -> torch.Tensor:
        return _uniform(images, low, high, generator)

    chosen = draw(0, 1) < probability
    return _where(chosen, images, lambda some, pick: change(some, lambda low, high: pick(draw(low, high))))


def _where(
    chosen: torch.Tensor, images: torch.Tensor, change: Callable[[torch.Tensor, Callable], torch.Tensor]
) -> torch.Tensor:
    """`change(images, pick)` of the chosen ones, [N, 1, 1, 1]; `pick` takes their part of a tensor [N, ...].

    A CPU computes these alone, in place; another device computes all, because it would have to be asked which they are.
    """
    if images.device.type != "cpu":
        return torch.where(chosen, change(images, lambda each: each), images)
    few = chosen.flatten().nonzero().squeeze(1)
    return images.index_copy_(0, few, change(images[few], lambda each: each[few]))


def _affine(images: torch.Tensor, generator: torch.Generator, strength: float) -> torch.Tensor:
    def draw(low, high):
        return _uniform(images, low, high, generator).flatten()

    rotation, zoom, move = (strength * most for most in (ROTATION, SCALE, SHIFT))
    angle, scale = draw(-rotation, rotation), 1 / (1 + draw(-zoom, zoom))
    stretch = 1 + draw(-0.1, 0.1)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    # Grid coordinates span 2 units, hence twice the shift. F.affine_grid would be slower.
    count, _, height, width = images.shape
    y, x = (
        ((torch.arange(side, device=images.device) + 0.5) * 2 / side - 1).view(shape)
        for side, shape in ((height, (1, -1, 1)), (width, (1, 1, -1)))
    )
    grid = torch.empty(count, height, width, 2, device=images.device)
    for axis, (along_x, along_y) in enumerate(((cosine * stretch, -sine), (sine, cosine / stretch))):
        along_x, along_y, shift = (part.view(-1, 1, 1) for part in (along_x, along_y, 2 * draw(-move, move)))
        torch.add(x * along_x + shift, y * along_y, out=grid[..., axis])
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _exposure(images: torch.Tensor, generator: torch.Generator, strength: float) -> torch.Tensor:
    """Gamma, contrast, brightness, and smooth local over- and under-exposure. Works in place on `images`."""
    # exp(g log x) is several times faster than x ** g.
    gamma = torch.exp(_uniform(images, -0.5 * strength, 0.5 * strength, generator))
    images = images.clamp_(1e-3, 1).log_().mul_(gamma).exp_()
    contrast = _uniform(images, 1 - 0.4 * strength, 1 + 0.4 * strength, generator)
    brightness = _uniform(images, -0.15 * strength, 0.15 * strength, generator)
    field = torch.randn(len(images), 1, 4, 4, generator=generator, device=images.device)
    field = field * _uniform(images, 0, 0.12 * strength, generator) + 0.5 * (1 - contrast) + brightness
    down, across = (_bicubic(side, images.device) for side in images.shape[2:])
    return images.mul_(contrast).add_(down.T @ field @ across).clamp_(0, 1)


def _bicubic(side: int, device: torch.device) -> torch.Tensor:
    """The matrix [4, side] that interpolates four values to `side` values; faster than F.interpolate on images."""
    columns = torch.eye(4, device=device).view(1, 4, 4, 1)
    return F.interpolate(columns, size=(side, 1), mode="bicubic", align_corners=False).view(4, side)


def _equalise(images: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Blend with a copy of equalised histogram, as some workstations show X-rays."""
    levels = (images.flatten(1) * 63).long()
    counts = torch.zeros(len(images), 64, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels, dtype=counts.dtype))
    ranks = counts.cumsum(1).div_(levels.shape[1]).gather(1, levels).view_as(images)
    return torch.lerp(images, ranks, draw(0, 1))


def _sigmoid(images: torch.Tensor, draw: Draw) -> torch.Tensor:
    """A sigmoid characteristic curve, like a film's or a detector's."""
    centre, slope = draw(0.3, 0.7), draw(2, 8)
    darkest, brightest = torch.sigmoid(-centre * slope), torch.sigmoid((1 - centre) * slope)
    return (torch.sigmoid((images - centre) * slope) - darkest) / (brightest - darkest)


def _resolution_loss(images: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Blend half of the images with copies of half the resolution, a quarter with copies of a quarter of it."""
    for factor, least in ((2, -1), (4, -3)):
        weight = draw(least, 1)

        def blend(some, pick, factor=factor, weight=weight):
            coarse = F.avg_pool2d(some, factor)
            coarse = F.interpolate(coarse, size=some.shape[2:], mode="bilinear", align_corners=False)
            return torch.lerp(some, coarse, pick(weight))

        images = _where(weight > 0, images, blend)
    return images


def _sharpen(images: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Unsharp masking, as scanners and workstations do it."""
    soft = _local_mean(_local_mean(images).mT).mT
    return torch.lerp(soft, images, 1 + draw(0, 2)).clamp_(0, 1)


def _local_mean(images: torch.Tensor) -> torch.Tensor:
    """The mean of five neighbours in a row, of fewer at the border. Many times faster on a CPU than F.avg_pool2d."""
    sums = F.pad(images, (2, 2)).unfold(-1, 5, 1).sum(-1)
    ones = torch.ones(images.shape[-1], device=images.device)
    return sums / F.pad(ones, (2, 2)).unfold(0, 5, 1).sum(-1)


def _collimate(images: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Black borders, up to 15% of the side each, where the beam was stopped."""
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device).view(1, 1, -1, 1) / height
    x = torch.arange(width, device=images.device).view(1, 1, 1, -1) / width
    top, bottom, left, right = (draw(-0.15, 0.15) for _ in range(4))
    return images * ((y >= top) & (y < 1 - bottom) & (x >= left) & (x < 1 - right))


def _erase(images: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Fill one rectangle of up to a third of each side with the mean grey."""
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device).view(1, 1, -1, 1) / height
    x = torch.arange(width, device=images.device).view(1, 1, 1, -1) / width
    top, left = draw(0, 0.8), draw(0, 0.8)
    rows = (y >= top) & (y < top + draw(0.1, 0.33))
    columns = (x >= left) & (x < left + draw(0.1, 0.33))
    return torch.where(rows & columns, images.mean(dim=(2, 3), keepdim=True), images)

"""Augmentation: it keeps shape, range and orientation, and depends only on its seed."""

import pytest
import torch

from cxr.model.network import to_float
from cxr.training import augmentation
from cxr.training.augmentation import augment, shifted


def pictures(count: int) -> torch.Tensor:
    return torch.randint(60, 120, (count, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_augmentation_keeps_shape_and_range_and_follows_its_seed():
    images = to_float(pictures(8))
    first, second, other = (augment(images.clone(), torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert first.shape == images.shape and 0 <= first.min() and first.max() <= 1
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_augmentation_never_mirrors():
    """The heart has a side: a bright left half stays on the left in every one of 200 draws."""
    images = torch.zeros(200, 1, 64, 64)
    images[..., :32] = 0.8
    changed = augment(images, torch.Generator().manual_seed(0))
    assert (changed[..., :32].mean(dim=(1, 2, 3)) > changed[..., 32:].mean(dim=(1, 2, 3))).all()


def test_less_strength_moves_images_less():
    """A bright square in the middle: its centre of mass moves by half as much at half the strength."""
    images = torch.zeros(100, 1, 64, 64)
    images[..., 24:40, 24:40] = 1.0
    columns = torch.arange(64.0)

    def spread(strength: float) -> float:
        # Only the geometry: exposure and borders have no strength.
        moved = augmentation._affine(images, torch.Generator().manual_seed(0), strength)
        return float(((moved.sum(2) * columns).sum(-1) / moved.sum((2, 3))).std())

    assert 0.4 < spread(0.5) / spread(1.0) < 0.6


def test_an_image_keeps_its_content_under_every_change():
    """Each change of grey or sharpness alone leaves the order of a ramp's columns, but for noise and borders."""
    ramp = torch.linspace(0.2, 0.8, 64).expand(50, 1, 64, 64).contiguous()
    for change in (augmentation._equalise, augmentation._sigmoid, augmentation._resolution_loss, augmentation._sharpen):
        generator = torch.Generator().manual_seed(0)
        draw = lambda low, high: augmentation._uniform(ramp, low, high, generator)  # noqa: B023, E731 - used at once
        changed = change(ramp.clone(), draw).mean(2)[..., 4:-4]
        assert changed.diff(dim=-1).min() >= -1e-6, change.__name__


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_device_that_computes_all_changes_gives_what_a_cpu_does_that_computes_the_chosen_ones(monkeypatch, count):
    images = to_float(pictures(count))
    chosen = [augment(images.clone(), torch.Generator().manual_seed(seed)) for seed in range(5)]
    everything = lambda chosen, images, change: torch.where(chosen, change(images, lambda each: each), images)  # noqa: E731
    monkeypatch.setattr(augmentation, "_where", everything)
    for seed, expected in enumerate(chosen):
        torch.testing.assert_close(augment(images.clone(), torch.Generator().manual_seed(seed)), expected)


def test_shifted_images_have_the_shape_and_dtype_of_images():
    images = pictures(10)
    changed = shifted(images, seed=0)
    assert changed.shape == images.shape and changed.dtype == torch.uint8
    assert torch.equal(changed, shifted(images, seed=0)) and not torch.equal(changed, images)

"""The recipe for a number of images."""

import pytest

from cxr.training import recipe

GIVEN = dict(batch_size=32, learning_rate=3e-3, seed=0)


@pytest.mark.parametrize(
    ("bfloat16", "images", "epochs"), [(True, 4000, 15), (True, 7000, 9), (False, 4200, 10), (False, 300, 12)]
)
def test_a_device_without_bfloat16_sees_fewer_images(monkeypatch, bfloat16, images, epochs):
    monkeypatch.setattr(recipe, "has_bfloat16", lambda device: bfloat16)
    assert recipe.recipe_for(images, epochs=0, **GIVEN).epochs == epochs
    assert recipe.recipe_for(images, epochs=3, **GIVEN).epochs == 3


def test_small_data_sets_get_small_batches_and_a_matching_learning_rate():
    small, large = (recipe.recipe_for(images, epochs=1, **GIVEN) for images in (128, 4000))
    assert (small.batch_size, large.batch_size) == (8, 32)
    assert small.learning_rate == pytest.approx(large.learning_rate / 4)


def test_few_images_are_moved_and_turned_less():
    few, many = (recipe.recipe_for(images, epochs=0, **GIVEN) for images in (300, 4000))
    assert few.augmentation < many.augmentation == 1

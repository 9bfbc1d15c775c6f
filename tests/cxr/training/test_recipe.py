"""The recipe for a number of images."""

import pytest

from cxr.training import recipe

GIVEN = dict(image_size=128, batch_size=32, learning_rate=3e-3, seed=0)


@pytest.mark.parametrize(
    ("bfloat16", "images", "epochs"), [(True, 4000, 12), (True, 7000, 7), (False, 4000, 5), (False, 300, 12)]
)
def test_a_device_without_bfloat16_sees_fewer_images(monkeypatch, bfloat16, images, epochs):
    monkeypatch.setattr(recipe, "has_bfloat16", lambda device: bfloat16)
    assert recipe.recipe_for(images, epochs=0, **GIVEN).epochs == epochs
    assert recipe.recipe_for(images, epochs=3, **GIVEN).epochs == 3


def test_small_data_sets_get_small_batches_and_a_matching_learning_rate():
    small, large = (recipe.recipe_for(images, epochs=1, **GIVEN) for images in (128, 4000))
    assert (small.batch_size, large.batch_size) == (8, 32)
    assert small.learning_rate == pytest.approx(large.learning_rate / 4)


def test_the_first_epochs_use_smaller_images_with_a_side_divisible_by_the_strides():
    chosen = recipe.Recipe(epochs=3, small_epochs=0.67, small_size=0.75)
    assert [chosen.image_side(epoch, 128) for epoch in range(3)] == [96, 96, 128]
    assert recipe.Recipe(epochs=2, small_epochs=1, small_size=0.1).image_side(0, 128) == 32

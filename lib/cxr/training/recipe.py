"""The recipe: hyperparameters of training, and their choice for a number of images."""

from dataclasses import dataclass, replace

from cxr.model.network import best_device, has_bfloat16

SMALLEST_REDUCED = 96  # pixels a side: smaller images are seen at full size in every epoch
FEW = 1000  # training images: so few are seen for more epochs on any device


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of training. The averaged weights (EMA) are evaluated and kept."""

    epochs: int = 12
    batch_size: int = 32  # summed over all processes
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    ema_decay: float = 0.995
    augmentation: float = 1.0  # strength of the geometric changes, see cxr.training.augmentation
    small_epochs: float = 0.67  # the first fraction of epochs uses images of `small_size` times the side, for speed
    small_size: float = 0.75
    head_epochs: int = 0  # first epochs, in which only the head trains
    early_factor: float = 1.0  # learning rate of the first layers, relative to the head's
    patience: int = 0  # stop after this many epochs without a better validation AUROC; 0: never
    bfloat16: bool = True  # if the device supports it
    compile: bool = False  # torch.compile, on a GPU
    seed: int = 0

    def image_side(self, epoch: int, full: int) -> int:
        """Image side in pixels for an epoch (from 0): `full`, or a multiple of 16 so that strides divide it."""
        if epoch >= int(self.epochs * self.small_epochs):
            return full
        return max(32, round(full * self.small_size / 16) * 16)


def recipe_for(
    images: int,
    *,
    image_size: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    pretrained: bool = False,
) -> Recipe:
    """The recipe for a number of training images.

    Small data sets get smaller batches, so that there are enough steps.

    Args:
        epochs: 0 chooses 5 to 12 epochs, so that training sees about 50,000 images. On a device without bfloat16 an
            epoch takes three times as long: there it chooses 5 to 8 epochs, for about 20,000 images, and the first
            epochs use half the image side. Fewer than 1,000 images are seen for 12 epochs on any device, and images of
            less than 96 pixels a side at full size in every epoch.
        batch_size: the largest batch.
        learning_rate: for a batch of 32; scaled in proportion to the batch.
        pretrained: train only the head for an epoch, then use learning rates that fall from the head to the first
            layer.
    """
    seen, most, small_size = (50_000, 12, 0.75) if has_bfloat16(best_device()) else (20_000, 8, 0.5)
    size = max(4, min(batch_size, images // 16))
    recipe = Recipe(
        epochs=epochs or (12 if images < FEW else min(most, max(5, round(seen / images)))),
        batch_size=size,
        learning_rate=learning_rate * size / 32,
        small_epochs=Recipe.small_epochs if image_size >= SMALLEST_REDUCED else 0.0,
        small_size=small_size,
        seed=seed,
    )
    return replace(recipe, head_epochs=1, early_factor=0.01) if pretrained else recipe

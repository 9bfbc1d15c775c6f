"""The recipe: hyperparameters of training, and their choice for a number of images."""

from dataclasses import dataclass, replace

from cxr.model.network import best_device, has_bfloat16

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
    augmentation: float = 1.0  # strength, see cxr.training.augmentation
    head_epochs: int = 0  # first epochs, in which only the head trains
    early_factor: float = 1.0  # learning rate of the first layers, relative to the head's
    patience: int = 0  # stop after this many epochs without a better validation AUROC; 0: never
    bfloat16: bool = True  # if the device supports it
    compile: bool = False  # torch.compile, on a GPU
    seed: int = 0


def recipe_for(
    images: int,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    fine_tune: bool = False,
) -> Recipe:
    """The recipe for a number of training images.

    Small data sets get smaller batches, so that there are enough steps.

    Args:
        epochs: 0 chooses 5 to 15 epochs, so that training sees about 60,000 images. On a device without bfloat16 an
            epoch takes three times as long: there it chooses 5 to 10 epochs, for about 42,000 images. Fewer than 1,000
            images are seen for 12 epochs on any device, changed by half as much.
        batch_size: the largest batch.
        learning_rate: for a batch of 32; scaled in proportion to the batch.
        fine_tune: the start is a network for X-rays: train only the head for an epoch, then use learning rates that
            fall from the head to the first layer. From ImageNet's weights that is worse than one rate for all layers
            (docs/training.md), so they have the recipe of random ones.
    """
    seen, most = (60_000, 15) if has_bfloat16(best_device()) else (42_000, 10)
    size = max(4, min(batch_size, images // 16))
    recipe = Recipe(
        epochs=epochs or (12 if images < FEW else min(most, max(5, round(seen / images)))),
        batch_size=size,
        learning_rate=learning_rate * size / 32,
        augmentation=0.5 if images < FEW else 1.0,
        seed=seed,
    )
    return replace(recipe, head_epochs=1, early_factor=0.01) if fine_tune else recipe

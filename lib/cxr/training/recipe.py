"""How to train: the numbers of a recipe, and the recipe for so many images."""

from dataclasses import dataclass, replace

from cxr.model.network import best_device, has_bfloat16


@dataclass(frozen=True)
class Recipe:
    """How to train. The averaged weights (EMA) are those that are evaluated and kept."""

    epochs: int = 12
    batch_size: int = 32  # over all processes
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    ema_decay: float = 0.995
    small_epochs: float = 0.67  # fraction of the epochs that run on images of `small_size` times the side, for speed
    small_size: float = 0.75
    head_epochs: int = 0  # first epochs in which only the head learns
    early_factor: float = 1.0  # the first layers' learning rate, as a factor of the head's
    patience: int = 0  # end after so many epochs without a better validation AUROC; 0: never
    bfloat16: bool = True  # where the device has it
    compile: bool = False  # torch.compile, on a GPU
    seed: int = 0

    def image_side(self, epoch: int, full: int) -> int:
        """Pixels a side in this epoch (from 0), a multiple of 16 so that strides divide it."""
        if epoch >= int(self.epochs * self.small_epochs):
            return full
        return max(32, round(full * self.small_size / 16) * 16)


def recipe_for(
    images: int, *, epochs: int, batch_size: int, learning_rate: float, seed: int, pretrained: bool = False
) -> Recipe:
    """The recipe for a number of training images.

    `epochs` 0 chooses as many as see 50,000 images, between 5 and 12. On a device without bfloat16 an epoch takes three
    times as long: there it is 20,000 images, at most 8 epochs, and the first see them at half the side.

    Small data get smaller batches, because what a network learns grows with the number of steps; the learning rate,
    which is given for a batch of 32, follows the batch. `pretrained` weights are changed with care: the new head
    learns alone for an epoch, and then the rates fall from the head to the first layer.
    """
    seen, most, small_size = (50_000, 12, 0.75) if has_bfloat16(best_device()) else (20_000, 8, 0.5)
    size = max(4, min(batch_size, images // 16))
    recipe = Recipe(
        epochs=epochs or min(most, max(5, round(seen / images))),
        batch_size=size,
        learning_rate=learning_rate * size / 32,
        small_size=small_size,
        seed=seed,
    )
    return replace(recipe, head_epochs=1, early_factor=0.01) if pretrained else recipe

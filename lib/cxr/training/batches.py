"""Images and labels of training, and their transfer to the device batch by batch."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from cxr.data.splits import Indexed
from cxr.training.augmentation import shifted

Pixels = torch.Tensor | Indexed  # uint8 [N, H, W], in memory or in a memory map
_AT_ONCE = 1024  # images on their way to the device


@dataclass(frozen=True)
class Examples:
    """Images and their class indices; 0 is the negative class."""

    pixels: Pixels
    labels: torch.Tensor  # int64 [N]

    def __len__(self) -> int:
        return len(self.labels)

    def with_shifted(self, seed: int | None, strength: float) -> "Examples":
        """These images, then a copy of each that :func:`cxr.training.augmentation.shifted` changed: [2 N], in memory.

        Args:
            seed: of the changes. None: no copies.
            strength: see :func:`cxr.training.augmentation.augment`.
        """
        if seed is None:
            return self
        pixels = self.pixels[:]
        return Examples(torch.cat([pixels, shifted(pixels, seed, strength)]), self.labels.repeat(2))


def on_device_if_it_fits(pixels: Pixels, device: torch.device) -> Pixels:
    """Copy all images to the device if they fill at most half of its free memory; else return them unchanged."""
    fits = device.type != "cuda" or pixels.nbytes <= torch.cuda.mem_get_info(device)[0] / 2
    if pixels.device.type == device.type or not fits:
        return pixels
    held = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    for place, some in zip(held.split(_AT_ONCE), pixels.split(_AT_ONCE), strict=True):
        place.copy_(some)
    return held


def batches(
    pixels: Pixels, chosen: list[torch.Tensor], device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (images uint8 [n, H, W], their indices int64 [n]) on the device, for each tensor of indices in `chosen`.

    If `pixels` is not on the device, a thread gathers the next batch while the current one is used.
    """
    if pixels.device.type == device.type:
        for indices in torch.stack(chosen).to(device):
            yield pixels[indices], indices
        return

    def gather(indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pair = pixels[indices], indices
        return tuple(tensor.pin_memory() for tensor in pair) if device.type == "cuda" else pair

    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(gather, indices) for indices in chosen[:1]]
        for following in [*chosen[1:], None]:
            batch, indices = ahead.pop().result()
            if following is not None:
                ahead.append(pool.submit(gather, following))
            yield batch.to(device, non_blocking=True), indices.to(device, non_blocking=True)

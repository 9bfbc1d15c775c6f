"""Images and labels in memory, and their transfer to the device batch by batch."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Examples:
    """Images and their class indices; 0 is the negative class."""

    pixels: torch.Tensor  # uint8 [N, H, W]
    labels: torch.Tensor  # int64 [N]

    def __len__(self) -> int:
        return len(self.labels)


def on_device_if_it_fits(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move all images to the device if they fill at most half of its free memory; else return them unchanged."""
    if device.type == "cuda" and pixels.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return pixels
    return pixels.to(device)


def batches(
    pixels: torch.Tensor, chosen: list[torch.Tensor], device: torch.device
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

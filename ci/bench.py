"""Benchmarks. Each prints a ratio of two rates that were measured in turns in one run, because machines differ."""

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

ROUNDS = 5


def run(names: list[str]) -> int:
    """Run the named benchmarks, all without a name; 1 for an unknown name."""
    known = {"training": training, "ingest": ingest}
    if unknown := set(names) - set(known):
        print(f"No benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(known)}.")
        return 1
    for name in names or known:
        known[name]()
    return 0


def compare(title: str, ours: Callable[[], int], yardstick: Callable[[], int]) -> None:
    """Each callable does its work once and returns how many images it handled."""
    rates = {"ours": [], "yardstick": []}
    for _ in range(ROUNDS):
        for name, work in (("ours", ours), ("yardstick", yardstick)):
            start = time.perf_counter()
            rates[name].append(work() / (time.perf_counter() - start))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    ratios = [a / b for a, b in zip(rates["ours"], rates["yardstick"], strict=True)]
    print(
        f"{title}: {middle['ours']:.1f} against {middle['yardstick']:.1f} images/s; "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds)"
    )


def training() -> None:
    """The training loop against the same network, batch and optimizer on one tensor that is already in memory."""
    from torch.nn import functional as F

    from cxr import training as loop
    from cxr.augmentation import augment
    from cxr.network import PneumoniaNetwork, best_device, has_bfloat16, to_float

    count, size, batch = 256, 96, 32
    device = best_device()
    images = torch.randint(0, 256, (count, size, size), dtype=torch.uint8, device=device)
    labels = (torch.arange(count, device=device) % 2).float()
    network = PneumoniaNetwork().to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4, fused=True)
    average = loop.MovingAverage(network, 0.995)
    generator = torch.Generator(device).manual_seed(0)
    fixed = to_float(images[:batch]).contiguous(memory_format=torch.channels_last)

    def step(inputs: torch.Tensor, target: torch.Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
            logits = network(inputs)
        F.binary_cross_entropy_with_logits(logits.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad()

    def bare() -> int:
        for _ in range(count // batch):
            step(fixed, labels[:batch])
        return _synchronised(device, count)

    def ours() -> int:
        for chosen in torch.randperm(count, generator=generator, device=device).split(batch):
            step(
                augment(to_float(images[chosen]), generator).contiguous(memory_format=torch.channels_last),
                labels[chosen],
            )
            average.update()
        return _synchronised(device, count)

    compare(f"training on {device}, ResNet-18, {size} px, batch {batch}, yardstick one tensor in memory", ours, bare)


def _synchronised(device: torch.device, count: int) -> int:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return count


def ingest() -> None:
    """Decoding into the cache against a bare loop of the same decoder over the same files on the same cores."""
    from cxr import dataset, images
    from cxr.phantoms import write_phantoms

    with tempfile.TemporaryDirectory() as scratch:
        folder = write_phantoms(Path(scratch, "phantoms"), patients=60, size=512, seed=1)
        files = sorted(folder.rglob("*.jpeg"))

        def ours() -> int:
            dataset._build(Path(scratch, "stack.npy"), files, 96)
            return len(files)

        def bare() -> int:
            stack = np.empty((len(files), 96, 96), np.uint8)

            def fill(position: int) -> None:
                stack[position] = images.load(files[position].read_bytes(), 96)

            with ThreadPoolExecutor() as pool:
                list(pool.map(fill, range(len(files))))
            return len(files)

        compare("decoding 512 px JPEGs into the cache, yardstick the same decoder into memory", ours, bare)

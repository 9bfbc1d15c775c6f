"""Speed of training, compared with the bare training step on the same machine and with a tutorial's loop."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from bench_results import ROUNDS, Results
from cxr.data.pixels import build
from cxr.model.network import XrayNetwork, best_device, has_bfloat16, to_float
from cxr.phantoms import dataset
from cxr.training.batches import Examples
from cxr.training.recipe import Recipe
from cxr.training.trainer import Trainer
from environment import ROOT

BATCH = 32
ORIGINALS = ROOT.parent / "shared" / "data" / "quickstart_sample"


def run(results: Results) -> None:
    for side, count in ((128, 256), (224, 128)):
        against_a_tensor_in_memory(results, side, count)
    against_a_plain_loop(results, side=224, epochs=3)
    few_and_many_images(results)


def epoch_of(images: torch.Tensor, labels: torch.Tensor, side: int) -> Callable[[], int]:
    """A function that trains one epoch with this project's trainer at full image size."""
    network = XrayNetwork().to(images.device)
    examples = Examples(images, labels)
    trainer = Trainer(network, examples, examples, Recipe(epochs=10_000, batch_size=BATCH))
    silent = tqdm(disable=True)

    def work() -> int:
        trainer.train_one_epoch(0, silent)
        return len(images)

    return work


def random_images(count: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    device = best_device()
    images = torch.randint(0, 256, (count, side, side), dtype=torch.uint8, device=device)
    return images, torch.arange(count, device=device) % 2


def against_a_tensor_in_memory(results: Results, side: int, count: int) -> None:
    """The yardstick trains on one prepared batch, without data loading, augmentation or weight averaging."""
    device = best_device()
    images, labels = random_images(count, side)
    network = XrayNetwork().to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4, fused=True)
    fixed = to_float(images[:BATCH]).contiguous(memory_format=torch.channels_last)

    def bare() -> int:
        for _ in range(count // BATCH):
            with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
                logits = network(fixed)
            F.binary_cross_entropy_with_logits(logits.squeeze(1).float(), labels[:BATCH].float()).backward()
            optimizer.step()
            optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return count

    title = f"training on {device}, ResNet-18, {side} px, batch {BATCH}, yardstick the same on one tensor in memory"
    results.compare(title, epoch_of(images, labels, side), bare)


def against_a_plain_loop(results: Results, side: int, epochs: int) -> None:
    """From files to a trained network, with this project's loop and a tutorial's. Times include decoding."""
    from torchvision import datasets, models, transforms

    device = best_device()
    with tempfile.TemporaryDirectory() as scratch:
        source = _folder_of_originals(Path(scratch))
        files = sorted(path for path in source.rglob("*.jpeg"))
        labels = torch.tensor([int(path.parent.name == "PNEUMONIA") for path in files])
        steps = [
            transforms.Resize((side, side)),
            transforms.RandomRotation(10),
            transforms.ColorJitter(0.2, 0.2),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
        loader = torch.utils.data.DataLoader(
            datasets.ImageFolder(source, transforms.Compose(steps)), BATCH, shuffle=True, num_workers=2
        )

        def plain() -> int:
            network = models.resnet18(weights=None)
            network.fc = torch.nn.Linear(512, 2)
            network.to(device).train()
            optimizer = torch.optim.Adam(network.parameters(), 1e-4)
            for _ in range(epochs):
                for batch, target in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(network(batch.to(device)), target.to(device))
                    loss.backward()
                    optimizer.step()
                    loss.item()
            return epochs * len(files)

        def ours() -> int:
            stack = Path(scratch, "stack.npy")
            build(files, side, stack)
            images = torch.from_numpy(np.load(stack)).to(device)
            network = XrayNetwork().to(device)
            chosen = Recipe(epochs=epochs, batch_size=BATCH)
            examples = Examples(images, labels.to(device))
            trainer = Trainer(network, examples, examples, chosen)
            for epoch in range(epochs):
                trainer.train_one_epoch(epoch, tqdm(disable=True))
            return epochs * len(files)

        title = (
            f"{len(files)} JPEGs to a network trained {epochs} epochs at {side} px on {device}, yardstick a plain loop"
        )
        results.compare(title, ours, plain)


def _folder_of_originals(scratch: Path) -> Path:
    """A folder of full-size X-rays, if the sample is available; else of phantoms of a realistic size."""
    folder = scratch / "originals"
    if not ORIGINALS.is_dir():
        print("The sample of full-size X-rays is not available; phantoms of 1024 px are used instead.")
        return dataset.write_phantoms(folder, patients=36, size=1024, seed=1)
    for place in ORIGINALS.rglob("*.jpeg"):
        target = folder / place.parent.name / place.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(place)
    return folder


def few_and_many_images(results: Results, side: int = 32) -> None:
    """Time per image with 50,000 and with 1,000 images; small ones, so that data access dominates."""
    few, many = (epoch_of(*random_images(count, side), side) for count in (1_000, 50_000))

    def seconds(work: Callable[[], int]) -> float:
        start = time.perf_counter()
        done = work()
        return (time.perf_counter() - start) / done

    seconds(few)
    before = [seconds(few) for _ in range(2 * ROUNDS)]
    long = seconds(many)
    after = [seconds(few) for _ in range(2 * ROUNDS)]
    ratios = [long / statistics.median(times) for times in (before, before + after, after)]
    detail = f"{1e3 * long:.3f} against {1e3 * statistics.median(before + after):.3f} ms"
    results.add(f"time per image at {side} px with 50,000 images, compared with 1,000", ratios, detail)

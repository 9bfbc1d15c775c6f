"""Speed of training, compared with the bare training step on the same machine, and as the images grow in number."""

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F
from tqdm import tqdm

import bench_recipes
from bench_results import ROUNDS, Results
from cxr.model.network import XrayNetwork, best_device, has_bfloat16, to_float
from cxr.training.batches import Examples
from cxr.training.recipe import Recipe
from cxr.training.trainer import Trainer

BATCH = 32


def run(results: Results) -> None:
    for side, count in ((128, 256), (224, 128)):
        against_a_tensor_in_memory(results, side, count)
    few_and_many_images(results)
    bench_recipes.run(results)


def epoch_of(images: torch.Tensor, labels: torch.Tensor, batch_size: int = BATCH) -> Callable[[], int]:
    """A function that trains one epoch with this project's trainer at full image size."""
    network = XrayNetwork().to(images.device)
    examples = Examples(images, labels)
    trainer = Trainer(network, examples, examples, Recipe(epochs=10_000, batch_size=batch_size))
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
    results.compare(title, epoch_of(images, labels), bare)


def few_and_many_images(results: Results, side: int = 32) -> None:
    """Time per image with 50,000 and with 1,000 images; small ones in large batches, so that data access counts."""
    few, many = (epoch_of(*random_images(count, side), batch_size=256) for count in (1_000, 50_000))

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

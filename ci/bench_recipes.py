"""From image files to a trained network: this project's code, and what people would take instead.

All train a ResNet-18 from random weights on the same files for the same epochs at the same size and batch, with two
workers where the recipe has workers. Only time is compared; what the recipes learn is another question.
"""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision import datasets, models, transforms
from tqdm import tqdm

from bench_results import Results
from cxr.data.pixels import build
from cxr.model.network import XrayNetwork, best_device
from cxr.phantoms import dataset
from cxr.training.batches import Examples
from cxr.training.recipe import Recipe
from cxr.training.trainer import Trainer
from environment import ROOT, install_aside

BATCH, SIDE, EPOCHS, WORKERS, ROUNDS = 32, 224, 3, 2, 3
ORIGINALS = ROOT.parent / "shared" / "data" / "quickstart_sample"
TIMM = "timm==1.0.20"
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def run(results: Results) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source = _folder_of_originals(Path(scratch))
        files = sorted(source.rglob("*.jpeg"))
        yardsticks = {
            "a tutorial's loop": lambda: tutorial(source),
            "torchvision's reference training": lambda: torchvision_reference(source),
        }
        if _install_timm():
            yardsticks["timm's training"] = lambda: timm_training(source)
        title = f"{len(files)} JPEGs to a network trained {EPOCHS} epochs at {SIDE} px on {best_device()}"
        results.compare_with_each(title, lambda: ours(files, Path(scratch)), yardsticks, ROUNDS)


def ours(files: list[Path], scratch: Path) -> int:
    build(files, SIDE, scratch / "stack.npy")
    images = torch.from_numpy(np.load(scratch / "stack.npy")).to(best_device())
    labels = torch.tensor([int(path.parent.name == "PNEUMONIA") for path in files], device=best_device())
    examples, recipe = Examples(images, labels), Recipe(epochs=EPOCHS, batch_size=BATCH)
    trainer = Trainer(XrayNetwork().to(best_device()), examples, examples, recipe)
    for epoch in range(EPOCHS):
        trainer.train_one_epoch(epoch, tqdm(disable=True))
    return EPOCHS * len(files)


def tutorial(source: Path) -> int:
    """https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html, with changes that suit X-rays."""
    steps = [
        transforms.Resize((SIDE, SIDE)),
        transforms.RandomRotation(10),
        transforms.ColorJitter(0.2, 0.2),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, DEVIATION),
    ]
    images = datasets.ImageFolder(source, transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(images, BATCH, shuffle=True, num_workers=WORKERS)
    network = models.resnet18(num_classes=2)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    return _train(network, loader, optimizer, nn.CrossEntropyLoss())


def torchvision_reference(source: Path) -> int:
    """references/classification/train.py of torchvision with its default arguments: which are those for ResNet."""
    steps = [
        transforms.RandomResizedCrop(SIDE, antialias=True),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
        transforms.ConvertImageDtype(torch.float),
        transforms.Normalize(MEAN, DEVIATION),
    ]
    images = datasets.ImageFolder(source, transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(images, BATCH, shuffle=True, num_workers=WORKERS)
    network = models.resnet18(num_classes=2)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    return _train(network, loader, optimizer, nn.CrossEntropyLoss())


def timm_training(source: Path) -> int:
    """What train.py of timm builds from its default arguments."""
    import timm
    from timm.data import create_dataset, create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2

    loader = create_loader(
        create_dataset("", root=str(source), is_training=True),
        input_size=(3, SIDE, SIDE),
        batch_size=BATCH,
        is_training=True,
        color_jitter=0.4,
        num_workers=WORKERS,
        device=best_device(),
    )
    network = timm.create_model("resnet18", num_classes=2)
    optimizer = create_optimizer_v2(network, opt="sgd", lr=0.05, momentum=0.9, weight_decay=2e-5)
    return _train(network, loader, optimizer, LabelSmoothingCrossEntropy(0.1))


def _train(network: nn.Module, loader, optimizer: torch.optim.Optimizer, loss_of: Callable) -> int:
    """One loop for all: they differ in data, optimiser and loss. Returns the images seen."""
    device, seen = best_device(), 0
    network.to(device).train()
    for _ in range(EPOCHS):
        for batch, target in loader:
            loss = loss_of(network(batch.to(device)), target.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # each of them prints or sums it
            seen += len(batch)
    return seen


def _install_timm() -> bool:
    try:
        install_aside("timm", TIMM, "huggingface_hub", "safetensors")
    except subprocess.CalledProcessError:
        print("timm is not to be had here, so it is not compared.")
        return False
    return True


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

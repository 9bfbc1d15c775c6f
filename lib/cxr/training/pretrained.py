"""ImageNet weights for a backbone: from the stage, torch's cache or a download, whichever has them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import torch
import torchvision

from cxr.atomic_files import write_atomically
from cxr.model.network import XrayNetwork, best_device

# Whole hashes of torchvision's files, as several public projects state them; others have eight digits in the name.
SHA256 = {"resnet18-f37072fd.pth": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"}
FromStage = Callable[[str, Path], Path | None]


def build_network(
    backbone: str,
    weights: str,
    classes: int = 2,
    from_stage: FromStage = lambda name, folder: None,
    log: Callable[[str], None] = print,
) -> tuple[XrayNetwork, str]:
    """The network on the best device, and the weights that it really starts from: "imagenet" or "random"."""
    found = find_imagenet_weights(backbone, from_stage, log) if weights == "imagenet" else None
    if weights == "imagenet" and found is None:
        log(
            f"No ImageNet weights for {backbone} on the stage, in torch's cache or by download: "
            "the network starts from random weights."
        )
    network = XrayNetwork(backbone, classes, imagenet_weights=found).to(best_device())
    return network, "imagenet" if found else "random"


def find_imagenet_weights(backbone: str, from_stage: FromStage, log: Callable[[str], None] = print) -> Path | None:
    """The file of ImageNet weights: from the stage, torch's cache, or downloaded; None where none can be had.

    `from_stage(file_name, folder)` fetches a staged file into a folder or answers None. A file whose SHA-256 is not the
    known one, or does not begin as torchvision's file name says, is not used. Files are read with `weights_only=True`,
    so that none can run code.
    """
    url = torchvision.models.get_model_weights(backbone).DEFAULT.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / url.rpartition("/")[2]
    sources = {
        "stage": lambda: from_stage(path.name, folder),
        "cache": lambda: path,
        "download": lambda: _download(url, path),
    }
    for source, fetch in sources.items():
        found = fetch()
        if found and found.is_file():
            if _is_as_published(found):
                log(f"ImageNet weights for {backbone}: from the {source} ({found.name})")
                return found
            log(f"{found.name} from the {source} is damaged (its SHA-256 is another); trying elsewhere")
    return None


def _is_as_published(path: Path) -> bool:
    """By the whole SHA-256 where it is known, else by its first digits, which torchvision puts into the name."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest.startswith(SHA256.get(path.name, path.stem.rpartition("-")[2]))


def _download(url: str, path: Path) -> Path | None:
    try:
        # A closed network may swallow packets rather than refuse them: five seconds are enough to find out.
        with httpx.stream("GET", url, timeout=httpx.Timeout(60, connect=5), follow_redirects=True) as answer:
            answer.raise_for_status()
            with write_atomically(path) as file:
                for chunk in answer.iter_bytes(2**20):
                    file.write(chunk)
    except (httpx.HTTPError, OSError):
        return None
    return path

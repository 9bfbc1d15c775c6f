"""The weights that training starts from: ImageNet's (from the stage, torch's cache, or downloaded), or a file's."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx
import torch
import torchvision

from cxr.atomic_files import write_atomically
from cxr.model.network import XrayNetwork, best_device
from cxr.training.starting_weights import load_starting_weights

# Full hashes of torchvision's files, from several public projects. Of other files only eight digits are known.
SHA256 = {"resnet18-f37072fd.pth": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"}
FromStage = Callable[[str, Path], Path | None]


def build_network(
    backbone: str,
    weights: str,
    classes: int = 2,
    from_stage: FromStage = lambda name, folder: None,
    log: Callable[[str], None] = print,
) -> tuple[XrayNetwork, str]:
    """The network on the best device, and the weights that it really starts from: "imagenet", "random" or a name.

    Args:
        backbone: name of a torchvision model.
        weights: "imagenet" or "random". Without ImageNet weights the network starts from random ones, and says so. Any
            other name is a file that `from_stage` finds: a run's id, or a place on a stage.
        from_stage: `from_stage(name, folder)` downloads a staged file into the folder, or returns None.

    Raises:
        LookupError: there is no file of that name.
        ValueError: the file does not fit the network.
    """
    if weights not in ("imagenet", "random"):
        return _start_from_file(XrayNetwork(backbone, classes), weights, from_stage, log), weights
    found = find_imagenet_weights(backbone, from_stage, log) if weights == "imagenet" else None
    if weights == "imagenet" and found is None:
        log(
            f"No ImageNet weights for {backbone} on the stage, in torch's cache or by download: "
            "the network starts from random weights."
        )
    network = XrayNetwork(backbone, classes, imagenet_weights=found).to(best_device())
    return network, "imagenet" if found else "random"


def _start_from_file(network: XrayNetwork, name: str, from_stage: FromStage, log: Callable[[str], None]) -> XrayNetwork:
    with tempfile.TemporaryDirectory() as folder:
        path = from_stage(name, Path(folder))
        if path is None:
            raise LookupError(f"there are no weights {name}: set `weights` to a run's id, @stage/file, or random")
        if left_out := load_starting_weights(network, path, name):
            log(left_out)
    return network.to(best_device())


def find_imagenet_weights(backbone: str, from_stage: FromStage, log: Callable[[str], None] = print) -> Path | None:
    """The file of ImageNet weights: from the stage, torch's cache, or downloaded; None if there is none.

    A file is used only if its SHA-256 is the known one or, without a known one, begins with the digits in torchvision's
    file name. Files are read with `weights_only=True`, so that they cannot run code.

    Args:
        from_stage: `from_stage(file_name, folder)` downloads a staged file into the folder, or returns None.
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
            log(f"{found.name} from the {source} is damaged (its SHA-256 differs); trying the next source")
    return None


def _is_as_published(path: Path) -> bool:
    """Whether the SHA-256 is the known one; if none is known, whether it begins with the digits in the file name."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest.startswith(SHA256.get(path.name, path.stem.rpartition("-")[2]))


def _download(url: str, path: Path) -> Path | None:
    try:
        # A firewall may drop packets instead of rejecting them, hence the short timeout to connect.
        with httpx.stream("GET", url, timeout=httpx.Timeout(60, connect=5), follow_redirects=True) as answer:
            answer.raise_for_status()
            with write_atomically(path) as file:
                for chunk in answer.iter_bytes(2**20):
                    file.write(chunk)
    except (httpx.HTTPError, OSError):
        return None
    return path

"""The network: a torchvision backbone for one-channel X-rays with one output, the log-odds of pneumonia."""

import hashlib
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

BACKBONES = (
    "resnet18",
    "resnet50",
    "vgg16_bn",
    "densenet121",
    "efficientnet_b0",
    "mobilenet_v3_large",
    "convnext_tiny",
)
BATCH = 32  # images scored together
# oneDNN sums in another order where a batch is no multiple of 4 (a ResNet's logits then differ by 1e-5).
FILLED_TO = 4


class PneumoniaNetwork(nn.Module):
    """Float [N, 1, H, W] with values in [0, 1] -> float [N], the log-odds of pneumonia.

    Each image is standardised to zero mean and unit variance inside the network, so that an overall change of exposure
    changes nothing and no caller can forget it.
    """

    def __init__(self, backbone: str = "resnet18", prior: float = 0.5, pretrained: bool = False):
        """`prior` is the share of pneumonia that the first predictions equal.

        `pretrained` takes ImageNet weights from torch's cache, where :func:`find_imagenet_weights` puts them.
        """
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"backbone {backbone!r} is not one of {', '.join(BACKBONES)}")
        self.name = backbone
        self.backbone = torchvision.models.get_model(backbone, weights="DEFAULT" if pretrained else None)
        _use_one_channel(self.backbone)
        _use_one_output(self.backbone, prior)

    @property
    def head(self) -> nn.Linear:
        """The layer that was put in the place of the classifier's last."""
        return [module for module in self.backbone.modules() if isinstance(module, nn.Linear)][-1]

    @torch.no_grad()
    def add_to_logits(self, offset: float) -> None:
        """Raise every answer by `offset`, the part of a calibration that a temperature cannot express."""
        self.head.bias += offset

    def parameter_groups(self, rate: float, early_share: float) -> list[dict]:
        """Groups for an optimizer: the head has the whole rate, the first layers `early_share` of it.

        The layers before the head make four groups, whose rates fall by equal factors.
        """
        if early_share == 1:
            return [{"params": list(self.parameters()), "lr": rate}]
        head = list(self.head.parameters())
        before = [p for p in self.parameters() if all(p is not other for other in head)]
        cuts = [len(before) * level // 4 for level in range(5)]
        groups = [
            {"params": before[start:end], "lr": rate * early_share ** (1 - level / 4)}
            for level, (start, end) in enumerate(itertools.pairwise(cuts))
        ]
        return [*groups, {"params": head, "lr": rate}]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean(dim=(2, 3), keepdim=True)
        deviation = images.std(dim=(2, 3), keepdim=True)
        return self.backbone((images - mean) / (deviation + 1e-3)).squeeze(1)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N, H, W] as :mod:`cxr.images` makes them -> float32 [N, 1, H, W] in [0, 1]."""
    return images.unsqueeze(1).float().div_(255.0)


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast on this device; where a CPU emulates it, it is ten times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@torch.inference_mode()
def predict_logits(network: nn.Module, images: torch.Tensor, batch_size: int = BATCH) -> torch.Tensor:
    """Log-odds of pneumonia for uint8 [N, H, W]: float32 [N] on the CPU.

    An image's answer must not depend on those beside it, whatever the size of a request: batches are filled up with
    black images to shapes for which one convolution is chosen, and nothing is computed in less than float32.
    """
    network.eval()
    device = next(network.parameters()).device
    if not len(images):
        return torch.empty(0)
    filled = FILLED_TO if device.type == "cpu" else batch_size
    logits = []
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        for batch in images.split(batch_size):
            missing = -len(batch) % filled
            batch = torch.nn.functional.pad(batch.to(device), (0, 0, 0, 0, 0, missing))
            logits.append(network(to_float(batch)).float().cpu()[: len(batch) - missing])
    return torch.cat(logits)


def _use_one_channel(backbone: nn.Module) -> None:
    """Replace the first convolution; summed over its three inputs it answers a grey image as it would its RGB copy."""
    name, first = next((n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Conv2d))
    stem = nn.Conv2d(1, first.out_channels, first.kernel_size, first.stride, first.padding, bias=first.bias is not None)
    stem.load_state_dict({key: _grey(value) for key, value in first.state_dict().items()})
    backbone.set_submodule(name, stem)


def _grey(weight: torch.Tensor) -> torch.Tensor:
    return weight.sum(dim=1, keepdim=True) if weight.ndim == 4 else weight


def _use_one_output(backbone: nn.Module, prior: float) -> None:
    name, last = [(n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Linear)][-1]
    head = nn.Linear(last.in_features, 1)
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, math.log(prior / (1 - prior)))
    backbone.set_submodule(name, head)


def build(
    backbone: str,
    weights: str,
    from_stage: Callable[[str, Path], Path | None] = lambda name, folder: None,
    log: Callable[[str], None] = print,
    prior: float = 0.5,
) -> tuple[PneumoniaNetwork, str]:
    """The network on the best device, and the weights that it really starts from: "imagenet" or "random"."""
    found = find_imagenet_weights(backbone, from_stage, log) if weights == "imagenet" else None
    if weights == "imagenet" and found is None:
        log(
            f"No ImageNet weights for {backbone} on the stage, in torch's cache or by download: "
            "the network starts from random weights."
        )
    network = PneumoniaNetwork(backbone, prior, pretrained=found is not None).to(best_device())
    return network, "imagenet" if found else "random"


def find_imagenet_weights(
    backbone: str, from_stage: Callable[[str, Path], Path | None], log: Callable[[str], None] = print
) -> Path | None:
    """The file of ImageNet weights: from the stage, torch's cache, or downloaded; None where none can be had.

    `from_stage(file_name, folder)` fetches a staged file into a folder or answers None. A file whose SHA-256 does not
    begin as torchvision's file name says is not used.
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
            if _has_hash_of_its_name(found):
                log(f"ImageNet weights for {backbone}: from the {source} ({found.name})")
                return found
            log(f"{found.name} from the {source} is damaged (its SHA-256 differs from its name); trying elsewhere")
    return None


def _has_hash_of_its_name(path: Path) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem.rpartition("-")[2])


def _download(url: str, path: Path) -> Path | None:
    import httpx

    aside = path.with_suffix(".part")
    try:
        # A closed network may swallow packets rather than refuse them: five seconds are enough to find out.
        with httpx.stream("GET", url, timeout=httpx.Timeout(60, connect=5), follow_redirects=True) as answer:
            answer.raise_for_status()
            with aside.open("wb") as file:
                for chunk in answer.iter_bytes(2**20):
                    file.write(chunk)
    except (httpx.HTTPError, OSError):
        aside.unlink(missing_ok=True)
        return None
    return aside.replace(path)

"""The network: a torchvision backbone for one-channel X-rays, with one output, or one a class."""

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision
from torch import nn

from cxr.model.folding import fold_batch_norms, replace_module

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
# torchvision's file for DenseNet calls its layers norm.1, conv.2, ... and the network calls them norm1, conv2, ...
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")
# oneDNN sums in another order where a batch is no multiple of 4 (a ResNet's logits then differ by 1e-5).
FILLED_TO = 4


class XrayNetwork(nn.Module):
    """Float [N, 1, H, W] with values in [0, 1] -> logits, float [N, outputs].

    With two classes there is one output, the log-odds of the positive class; with more there is one a class, and a
    softmax makes probabilities of them. Class 0 is the negative one.

    Each image is standardised to zero mean and unit variance inside the network, so that an overall change of exposure
    changes nothing and no caller can forget it.
    """

    def __init__(self, backbone: str = "resnet18", classes: int = 2, imagenet_weights: Path | None = None):
        """`imagenet_weights` is a file of torchvision's, which :mod:`cxr.training.pretrained` finds."""
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"backbone {backbone!r} is not one of {', '.join(BACKBONES)}")
        if classes < 2:
            raise ValueError(f"{classes} classes: a classifier needs two or more")
        self.name, self.classes = backbone, classes
        self.backbone = torchvision.models.get_model(backbone, weights=None)
        if imagenet_weights:
            state = torch.load(imagenet_weights, map_location="cpu", weights_only=True)
            self.backbone.load_state_dict({_DENSENET.sub(r"\1\2", key): value for key, value in state.items()})
        use_one_channel(self.backbone)
        replace_head(self.backbone, 1 if classes == 2 else classes)

    @property
    def head(self) -> nn.Linear:
        """The layer that replaces the classifier's last one."""
        return [module for module in self.backbone.modules() if isinstance(module, nn.Linear)][-1]

    @torch.no_grad()
    def start_from_frequencies(self, frequencies: Sequence[float]) -> None:
        """Set a new head's bias so that the first predictions equal these class frequencies; its weights are zero.

        A head that was trained before keeps its bias.
        """
        if self.head.weight.any():
            return
        logs = [math.log(frequency) for frequency in frequencies]
        self.head.bias.copy_(torch.tensor([logs[1] - logs[0]] if self.classes == 2 else logs))

    def parameter_groups(self, lr: float, early_factor: float) -> list[dict]:
        """Groups for an optimizer: the head has the whole learning rate, the first layers `early_factor` of it.

        The layers before the head make four groups, whose rates fall by equal factors.
        """
        if early_factor == 1:
            return [{"params": list(self.parameters()), "lr": lr}]
        head = list(self.head.parameters())
        before = [p for p in self.parameters() if all(p is not other for other in head)]
        cuts = [len(before) * level // 4 for level in range(5)]
        groups = [
            {"params": before[start:end], "lr": lr * early_factor ** (1 - level / 4)}
            for level, (start, end) in enumerate(itertools.pairwise(cuts))
        ]
        return [*groups, {"params": head, "lr": lr}]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean(dim=(2, 3), keepdim=True)
        deviation = images.std(dim=(2, 3), keepdim=True)
        return self.backbone((images - mean) / (deviation + 1e-3))


def load_network(backbone: str, classes: int, weights: Path) -> XrayNetwork:
    """A trained network on the best device, ready to answer; `weights` is a file of its state dict."""
    network = XrayNetwork(backbone, classes)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval().to(best_device())


def make_fast(network: XrayNetwork) -> XrayNetwork:
    """The network, changed in place to answer faster; its logits change by rounding alone (1e-5 for a ResNet-18)."""
    fold_batch_norms(network.backbone)
    on_cpu = next(network.parameters()).device.type == "cpu"
    return network.to(memory_format=torch.channels_last if on_cpu else torch.preserve_format)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N, H, W] as :mod:`cxr.model.preprocessing` makes them -> float32 [N, 1, H, W] in [0, 1]."""
    return images.unsqueeze(1).float().div_(255.0)


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast on this device; where a CPU emulates it, it is ten times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    ask = getattr(torch.cpu, "get_capabilities", None)  # since torch 2.10 or so
    capabilities = ask() if ask else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@torch.inference_mode()
def predict_logits(network: nn.Module, images: torch.Tensor, batch_size: int = BATCH) -> torch.Tensor:
    """Logits of uint8 [N, H, W]: float32 [N, outputs] on the CPU.

    An image's answer must not depend on those beside it, whatever the size of a request: batches are filled up with
    black images to shapes for which one convolution is chosen, and nothing is computed in less than float32.
    """
    network.eval()
    device = next(network.parameters()).device
    filled = FILLED_TO if device.type == "cpu" else batch_size
    logits = [torch.empty(0, network.head.out_features)]
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        for batch in images.split(batch_size) if len(images) else ():
            missing = -len(batch) % filled
            batch = torch.nn.functional.pad(batch.to(device), (0, 0, 0, 0, 0, missing))
            logits.append(network(to_float(batch)).float().cpu()[: len(batch) - missing])
    return torch.cat(logits)


def use_one_channel(backbone: nn.Module) -> None:
    """Replace the first convolution; summed over its three inputs it answers a grey image as it would its RGB copy."""
    name, first = next((n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Conv2d))
    stem = nn.Conv2d(1, first.out_channels, first.kernel_size, first.stride, first.padding, bias=first.bias is not None)
    stem.load_state_dict({key: _grey(value) for key, value in first.state_dict().items()})
    replace_module(backbone, name, stem)


def _grey(weight: torch.Tensor) -> torch.Tensor:
    return weight.sum(dim=1, keepdim=True) if weight.ndim == 4 else weight


def replace_head(backbone: nn.Module, outputs: int) -> None:
    """Replace the last linear layer by one with so many outputs, all zero at first."""
    name, last = [(n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Linear)][-1]
    head = nn.Linear(last.in_features, outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    replace_module(backbone, name, head)

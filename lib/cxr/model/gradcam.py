"""Where the network looked: Grad-CAM (Selvaraju et al. 2017) on the backbone's last stage."""

import io
import threading
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from cxr.model.network import XrayNetwork, to_float


def grad_cam(network: XrayNetwork, images: torch.Tensor, outputs: Sequence[int] | None = None) -> np.ndarray:
    """How much each place speaks for a class: float32 [N, H, W] in [0, 1] for uint8 [N, H, W].

    A map is scaled to its own maximum; one that is zero everywhere says that nothing speaks for that class.

    Args:
        outputs: for each image, which of the network's outputs to explain; without it the first, which in a network
            of two classes is the positive one.
    """
    network.eval()
    stage = network.backbone.layer4 if hasattr(network.backbone, "layer4") else network.backbone.features
    kept, thread = {}, threading.get_ident()

    def keep(module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        if threading.get_ident() == thread:  # a service answers several requests with one network
            kept["activation"] = output

    hook = stage.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            # The parameters of a served network may not ask for gradients; the input always can.
            inputs = to_float(images.to(next(network.parameters()).device)).requires_grad_()
            logits = network(inputs)
            chosen = torch.tensor(outputs if outputs is not None else [0] * len(images), device=logits.device)
            (gradient,) = torch.autograd.grad(logits.gather(1, chosen.long().unsqueeze(1)).sum(), kept["activation"])
    finally:
        hook.remove()
    activation = kept["activation"].detach()
    maps = (activation * gradient.mean(dim=(2, 3), keepdim=True)).sum(dim=1, keepdim=True).relu()
    maps = torch.nn.functional.interpolate(maps, size=images.shape[1:], mode="bilinear", align_corners=False)
    peak = maps.amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)
    return (maps / peak).squeeze(1).cpu().numpy()


def output_of_interest(probabilities: np.ndarray) -> np.ndarray:
    """[N, classes] -> int [N], the output to explain: that of the likeliest class that is not the negative one."""
    return np.zeros(len(probabilities), int) if probabilities.shape[1] == 2 else 1 + probabilities[:, 1:].argmax(axis=1)


def to_png(heatmap: np.ndarray) -> bytes:
    """A map in [0, 1] as a greyscale PNG; the viewer lays it over the X-ray in the colours it likes."""
    buffer = io.BytesIO()
    Image.fromarray(np.rint(heatmap * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()

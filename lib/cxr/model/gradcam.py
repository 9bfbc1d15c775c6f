"""Where the network looked: Grad-CAM (Selvaraju et al. 2017) on the backbone's last stage."""

import io

import numpy as np
import torch
from PIL import Image

from cxr.model.network import PneumoniaNetwork, to_float


def grad_cam(network: PneumoniaNetwork, images: torch.Tensor) -> np.ndarray:
    """How much each place speaks for pneumonia: float32 [N, H, W] in [0, 1] for uint8 [N, H, W].

    A map is scaled to its own maximum; one that is zero everywhere says that nothing speaks for pneumonia.
    """
    network.eval()
    stage = network.backbone.layer4 if hasattr(network.backbone, "layer4") else network.backbone.features
    kept = {}
    hook = stage.register_forward_hook(lambda module, inputs, output: kept.update(activation=output))
    try:
        with torch.enable_grad():
            # The parameters of a served network may not ask for gradients; the input always can.
            inputs = to_float(images.to(next(network.parameters()).device)).requires_grad_()
            logits = network(inputs)
            (gradient,) = torch.autograd.grad(logits.sum(), kept["activation"])
    finally:
        hook.remove()
    activation = kept["activation"].detach()
    maps = (activation * gradient.mean(dim=(2, 3), keepdim=True)).sum(dim=1, keepdim=True).relu()
    maps = torch.nn.functional.interpolate(maps, size=images.shape[1:], mode="bilinear", align_corners=False)
    peak = maps.amax(dim=(2, 3), keepdim=True).clamp(min=1e-12)
    return (maps / peak).squeeze(1).cpu().numpy()


def to_png(heatmap: np.ndarray) -> bytes:
    """A map in [0, 1] as a greyscale PNG; the viewer lays it over the X-ray in the colours it likes."""
    buffer = io.BytesIO()
    Image.fromarray(np.rint(heatmap * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()

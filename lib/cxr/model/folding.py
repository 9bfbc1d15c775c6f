"""Fold batch normalisation into the convolutions before it: the same answers in evaluation mode, with less work."""

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(backbone: nn.Module) -> nn.Module:
    """The backbone in evaluation mode, changed in place; a batch norm that follows a convolution becomes an identity.

    Batch norms elsewhere (DenseNet has them before its convolutions) stay. The logits differ by rounding alone.
    """
    backbone.eval()
    modules = dict(backbone.named_modules())
    for node in fx.symbolic_trace(backbone).graph.nodes:
        before = node.args[0] if node.args else None
        if node.op != "call_module" or getattr(before, "op", None) != "call_module" or len(before.users) > 1:
            continue
        convolution, norm = modules[before.target], modules[node.target]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            replace_module(backbone, before.target, fuse_conv_bn_eval(convolution, norm))
            replace_module(backbone, node.target, nn.Identity())
    return backbone


def replace_module(backbone: nn.Module, name: str, module: nn.Module) -> None:
    """What `set_submodule` does since torch 2.5."""
    parent, _, own = name.rpartition(".")
    setattr(backbone.get_submodule(parent), own, module)

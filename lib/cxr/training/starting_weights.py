"""Start from a state dict: of an earlier run, to fine-tune it, or of anybody's network with the same backbone."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch

from cxr.model.network import XrayNetwork

# What torch.load raises for a file that is none of its own: its unpickler reads whatever bytes come.
UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, TypeError)


def load_starting_weights(network: XrayNetwork, path: Path, name: str) -> str | None:
    """Load a file into the network, in place. Returns a sentence about what was not taken, or None.

    The file is a state dict of :class:`cxr.model.network.XrayNetwork`, or of the torchvision backbone alone. A stem for
    colours is summed for grey images. A head of another size is left out: the classes are others.

    Raises:
        ValueError: the file is no state dict, or its tensors are not those of this backbone; names the first.
    """
    own = network.state_dict()
    given = {key.removeprefix("backbone."): value for key, value in _read(path, name).items()}
    given = {f"backbone.{key}": value for key, value in given.items()}
    head = next(key for key, module in network.named_modules() if module is network.head)
    left_out = [
        key for key in (f"{head}.weight", f"{head}.bias") if key in given and given[key].shape != own[key].shape
    ]
    for key in left_out:
        given[key] = own[key]
    for key, value in given.items():
        if key in own and value.ndim == 4 and value.shape[1] == 3 and own[key].shape[1] == 1:
            given[key] = value.sum(dim=1, keepdim=True)
    _check(given, own, name, network.name)
    network.load_state_dict(given)
    return f"the head of {name} is for other classes: a new one is trained" if left_out else None


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """The SHA-256 of a state dict, whatever device its tensors are on and however they lie in memory."""
    found = hashlib.sha256()
    for key, value in state.items():
        found.update(f"{key} {value.dtype} {list(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _read(path: Path, name: str) -> dict[str, torch.Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ValueError(f"{name} cannot be read as weights: save a state dict with torch.save ({error})") from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        inside = (
            f"a dict of {', '.join(map(str, list(found)[:5]))}" if isinstance(found, dict) else type(found).__name__
        )
        raise ValueError(f"{name} holds {inside}, not a state dict: save `network.state_dict()` with torch.save")
    return found


def _check(given: dict[str, torch.Tensor], own: dict[str, torch.Tensor], name: str, backbone: str) -> None:
    wrong = [f"lacks {key}" for key in own if key not in given]
    wrong += [f"has {key}, which the network lacks" for key in given if key not in own]
    wrong += [
        f"has {key} of shape {list(given[key].shape)} in place of {list(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    if wrong:
        raise ValueError(f"{name} does not fit a {backbone}: it {wrong[0]} ({len(wrong)} differences); set `backbone`")

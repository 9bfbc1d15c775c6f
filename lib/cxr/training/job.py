"""What several processes train, as a file on the stage: a recipe, and which images of the catalog; no pixels."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from cxr.data.splits import Indexed
from cxr.model.network import XrayNetwork
from cxr.settings import NAMES, Settings
from cxr.training.batches import Examples
from cxr.training.recipe import Recipe

FILE, HISTORY = "job.pt", "history.jsonl"
# What a process needs to find the account's objects and the same images. No secret is among them.
_SETTINGS = (*NAMES, "backbone", "image_size", "include_set_aside", "images_mount", "decode_in")


@dataclass(frozen=True)
class Job:
    """A training run that each process can start on its own, given the account.

    A place is an index into the catalog in the order of image ids. The job's folder has a name with a hash of those
    ids, so a place means the same image for all processes, or the run is refused.
    """

    settings: dict
    network: dict  # backbone, classes, and state: the weights to start from
    recipe: dict
    train: tuple[torch.Tensor, torch.Tensor]  # places and labels, int64 [N] each
    validation: tuple[torch.Tensor, torch.Tensor]
    shift_seed: int | None  # see Examples.with_shifted

    @classmethod
    def of(
        cls,
        settings: Settings,
        network: XrayNetwork,
        recipe: Recipe,
        train: Examples,
        validation: Examples,
        shift_seed: int | None,
    ) -> "Job":
        """Raises TypeError if the examples are pixels in memory: only images of the catalog can be handed over."""
        if not (isinstance(train.pixels, Indexed) and isinstance(validation.pixels, Indexed)):
            raise TypeError("several processes train on images of the catalog (Indexed), not on pixels in memory")
        return cls(
            settings={name: getattr(settings, name) for name in _SETTINGS},
            network=dict(backbone=network.name, classes=network.classes, state=network.state_dict()),
            recipe=asdict(recipe),
            train=(torch.from_numpy(train.pixels.places), train.labels),
            validation=(torch.from_numpy(validation.pixels.places), validation.labels),
            shift_seed=shift_seed,
        )

    def write(self, path: Path) -> None:
        torch.save(vars(self), path)

    @classmethod
    def read(cls, path: Path) -> "Job":
        return cls(**torch.load(path, map_location="cpu", weights_only=True))

    def start_network(self) -> XrayNetwork:
        network = XrayNetwork(self.network["backbone"], self.network["classes"])
        network.load_state_dict(self.network["state"])
        return network

    def train_examples(self, stack: np.ndarray) -> Examples:
        """The training images out of all decoded ones, uint8 [M, H, W]."""
        places, labels = self.train
        return Examples(Indexed(stack, places.numpy()), labels)

    def validation_examples(self, stack: np.ndarray) -> Examples:
        """The validation images out of all decoded ones, and their changed copies, in memory."""
        places, labels = self.validation
        return Examples(Indexed(stack, places.numpy()), labels).with_shifted(
            self.shift_seed, self.recipe["augmentation"]
        )

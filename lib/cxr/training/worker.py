"""One of several training processes: `torchrun --nproc-per-node 2 -m cxr.training.worker FOLDER`."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from cxr.atomic_files import write_atomically
from cxr.model.network import XrayNetwork, best_device
from cxr.training.batches import Examples
from cxr.training.distributed import DistributedTrainer, end_process, join_group
from cxr.training.recipe import Recipe


def train_job(folder: str) -> None:
    """Train as the files in the folder say, which `cxr.training.launch.fit` wrote. Rank 0 writes `result.pt` there."""
    join_group()
    place = Path(folder)
    job = torch.load(place / "job.pt", map_location="cpu", weights_only=True)
    network = XrayNetwork(job["backbone"], job["classes"])
    network.load_state_dict(job["state"])
    train, validation = (
        Examples(*(torch.from_numpy(np.load(place / f"{split}_{name}.npy")) for name in ("pixels", "labels")))
        for split in ("train", "validation")
    )

    def on_epoch(metrics: dict[str, float]) -> None:
        with (place / "history.jsonl").open("a") as file:
            file.write(json.dumps(metrics) + "\n")

    trainer = DistributedTrainer(network.to(best_device()), train, validation, Recipe(**job["recipe"]))
    result = trainer.fit(Path(job["checkpoints"]), job["resume"], on_epoch)
    if trainer.is_main_process:
        with write_atomically(place / "result.pt") as file:
            torch.save([trainer.best_state, result.best_epoch, result.history], file)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    train_job(sys.argv[1])
    end_process()

"""Data-parallel training: several processes train one network, each on its part of every batch.

:mod:`cxr.training.launch` starts them. Two processes over gloo on CPUs are tested; NCCL and CUDA were never tried.
"""

import os
import sys
from datetime import timedelta
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

from cxr.model.network import XrayNetwork, predict_logits
from cxr.training.trainer import Trainer

T = TypeVar("T")
PATIENCE = timedelta(hours=12)


class DistributedTrainer(Trainer):
    """A :class:`Trainer` in each of several processes, on one machine or on many. Only rank 0 writes and reports."""

    def __init__(self, *arguments, **named):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.is_main_process = self.rank == 0
        super().__init__(*arguments, **named)

    def prepare_network(self, network: XrayNetwork) -> XrayNetwork:
        """Make batch normalisation use the whole batch instead of this process's part."""
        if next(network.parameters()).is_cuda:
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        for module in network.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = WholeBatchNorm
        return network

    def wrap_network(self, network: XrayNetwork) -> nn.Module:
        """Average gradients over the processes. Buffers need no broadcast: they are equal already."""
        return DistributedDataParallel(network, broadcast_buffers=False)

    def local_part(self, batch: torch.Tensor) -> torch.Tensor:
        return batch[self.rank :: self.size]

    def batch_loss(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, total: int) -> torch.Tensor:
        """Multiplied by the number of processes: DDP averages, and the result is the batch loss for any part sizes."""
        return super().batch_loss(model, images, labels, total) * self.size

    def sum_over_processes(self, values: torch.Tensor) -> torch.Tensor:
        values = values / self.size  # batch_loss multiplied by it
        dist.all_reduce(values)
        return values

    def all_logits(self, pixels: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(pixels), self.network.head.out_features, device=self.device)
        part = predict_logits(self.ema.network, pixels[self.rank :: self.size])
        logits[self.rank :: self.size] = part.to(self.device)
        dist.all_reduce(logits)
        return logits.cpu()


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the parts of all processes, for CPUs, which nn.SyncBatchNorm does not support."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(images)
        wide = images.to(torch.promote_types(images.dtype, torch.float32))
        sums = torch.cat([wide.sum(dim=(0, 2, 3)), wide.new_tensor([wide.numel() / wide.shape[1]])])
        sums = all_reduce(sums)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = wide - mean.view(1, -1, 1, 1)
        variance = all_reduce(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(images.dtype)


def join_group() -> None:
    """Join the process group that torchrun or PyTorchDistributor started."""
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(_local_rank() % torch.cuda.device_count())


def patient_group() -> dist.ProcessGroup:
    """A group of all processes whose members wait for each other for hours, while a node decodes many images."""
    return dist.new_group(backend="gloo", timeout=PATIENCE)


def is_first_of_node() -> bool:
    return _local_rank() == 0


def from_first_of_node(own: T | None, group: dist.ProcessGroup) -> T:
    """What the first process of this node gives, for each process of the node. All processes of all nodes call it.

    Args:
        own: what this process gives; None unless it is the first of its node.
    """
    given = [None] * dist.get_world_size()
    dist.all_gather_object(given, own, group)
    return given[dist.get_rank() - _local_rank()]  # the ranks of a node follow each other


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", dist.get_rank()))


def end_process() -> NoReturn:
    """Exit with success at once, after the process has left the group.

    A normal exit sometimes aborts although all work is done: a thread of PyTorch uses the interpreter while it shuts
    down. torchrun then reports a failed run.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

"""What processes that train one network together share: their places, whole batches, sums. :mod:`cxr.launch` starts
them. Two processes over gloo on CPUs are tested; NCCL and CUDA were never tried.
"""

import os
import sys
from dataclasses import dataclass
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """This process among those that train together. Only the one of rank 0 writes and reports."""

    rank: int = 0
    size: int = 1

    def share(self, items: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch; the parts of all processes are the batch."""
        return items[self.rank :: self.size]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def prepare(self, network: nn.Module) -> None:
        """Let batch normalisation see the whole batch and not this process's part of it."""
        if self.size == 1:
            return
        if next(network.parameters()).is_cuda:
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        for module in network.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = WholeBatchNorm

    def wrap(self, network: nn.Module) -> nn.Module:
        """Gradients become the mean over the processes. Buffers are equal already."""
        return DistributedDataParallel(network, broadcast_buffers=False) if self.size > 1 else network


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the parts of all processes, for CPUs, where nn.SyncBatchNorm refuses to run."""

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


def join() -> World:
    """Take this process's place among those that torchrun or PyTorchDistributor started."""
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    world = World(dist.get_rank(), dist.get_world_size())
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", world.rank)) % torch.cuda.device_count())
    return world


def end_process() -> NoReturn:
    """End a process that has left the group, at once and with success.

    An ordinary end now and then aborts, after all work is done: a thread of PyTorch asks for the interpreter that is
    being taken down, and torchrun calls the run failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

"""Several processes, one training: ``torchrun --standalone --nproc_per_node=N -m fa_repro train ...``.

Every process learns from its share of each batch, gradients are averaged (DistributedDataParallel), and the process of
rank 0 alone writes and speaks. On GPUs batch norm is synchronised; on CPUs torch has no such layer, and each process
normalises by its own share of the batch; what the evaluation normalises by is the mean of all processes' statistics.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fa_repro.errors import InputError


class World(NamedTuple):
    """The processes of one training, and which of them this is; alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            dist.barrier()

    @contextlib.contextmanager
    def leader_first(self) -> Iterator[None]:
        """Let rank 0 through the block before the others, who then find what it downloaded or cached.

        Raises:
            InputError: in the others, if it did not come through; what was wrong, rank 0 says.

        """
        if not self.leads and not self._told_by_leader():
            raise InputError("the process of rank 0 could not begin, and says why.")
        try:
            yield
        except Exception:
            if self.leads:
                self._told_by_leader(False)
            raise
        if self.leads:
            self._told_by_leader(True)

    def _told_by_leader(self, word: bool = False) -> bool:
        """Return in every process the word that rank 0 gives; the others wait for it."""
        told = [word]
        if self.size > 1:
            dist.broadcast_object_list(told, src=0)
        return told[0]

    def share(self, values: Tensor) -> Tensor:
        """Return this process's part of ``values`` (N,...): every size-th from rank on, without copying."""
        return values[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` over all processes, the same in each."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def pool(self, model: nn.Module) -> None:
        """Average batch norm's running statistics over all processes, so that all evaluate one model that saw all."""
        if self.size == 1:
            return
        for layer in model.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats:
                for running in (layer.running_mean, layer.running_var):
                    assert running is not None
                    dist.all_reduce(running)
                    running /= self.size

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return ``model`` with its gradients averaged over all processes; its weights become those of rank 0."""
        if self.size == 1:
            return model
        parameter = next(model.parameters())
        if parameter.is_cuda:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        device_ids = [parameter.device] if parameter.is_cuda else None
        # Rank 0's running statistics would take the place of the others' at every step: `pool` takes all of them.
        return DistributedDataParallel(model, device_ids=device_ids, broadcast_buffers=False)


ALONE = World()
# For one another: rank 0 may download and decode a large data set while the others wait.
PATIENCE = timedelta(hours=2)


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started, for the time of the block; without torchrun there is this one alone."""
    if "RANK" not in os.environ:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", timeout=PATIENCE, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    world = World(dist.get_rank(), dist.get_world_size())
    try:
        yield world
        world.wait()  # one that leaves early takes the connections of the others with it, and is aborted for it
    finally:
        dist.destroy_process_group()

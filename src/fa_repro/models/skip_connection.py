"""The block of the network: a branch F and the skip connection around it, dampened or, for the ablations, not."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mixture(NamedTuple):
    """A block's output is ``skip_weight * A + branch_weight * F(A)``."""

    skip_weight: float
    branch_weight: float


def mixture(kind: str, alpha: float) -> Mixture:
    """Return the weights of a ``damped``, ``undamped`` or missing (``none``) skip connection.

    Damped is the paper's: (1 - alpha) A + alpha F(A).
    """
    return {"damped": Mixture(1 - alpha, alpha), "undamped": Mixture(1.0, 1.0), "none": Mixture(0.0, 1.0)}[kind]


class SkipBlock(nn.Module):
    """``A -> skip_weight * A + branch_weight * F(A)``.

    The skip path is linear and works channel by channel: no norm, no activation, no 1x1 convolution, no max-pool. F
    may mix as it likes, see `Branch`.
    """

    def __init__(self, branch: nn.Module, mix: Mixture) -> None:
        """Build from F, a module that maps (N,C,h,w) to the same shape and takes ``pool``, and its `mixture`."""
        super().__init__()
        self.branch = branch
        self.mix = mix

    def combine(self, maps: Tensor, branched: Tensor) -> Tensor:
        """Return ``skip_weight * maps + branch_weight * branched``, both (N,C,h,w); ``branched`` is F's output."""
        skip, weight = self.mix
        branched = branched.to(maps.dtype)  # autocast may have left it in bf16
        if skip == 0:
            return branched if weight == 1 else weight * branched
        if skip == 1 and weight == 1:
            return maps + branched
        return torch.lerp(maps, branched, weight) if skip == 1 - weight else skip * maps + weight * branched

    def forward(self, maps: Tensor, pool: int = 1) -> Tensor:
        """Map feature maps (N,C,h,w) to feature maps of the same shape, average-pooled ``pool`` x ``pool`` to one.

        Pooling and mixture are both linear and channel by channel, so that it is the same in either order; pooling what
        is mixed, and not the mixture, spares the branch an up-sampling that the pooling would undo.
        """
        if pool == 1:
            return self.combine(maps, self.branch(maps))
        return self.combine(F.avg_pool2d(maps, pool), self.branch(maps, pool))

"""What the branches of the FA-CNN and its twin among ResNets are made of: convolutions that begin as the identity."""

import torch
from torch import Tensor, nn


def convolution(before: int, after: int, kernel: int) -> list[nn.Module]:
    """Return convolution, batch norm, GELU, from (N,before,h,w) to (N,after,h,w).

    A 3x3 convolution begins as the identity on as many channels as it can carry over (Jordan 2024,
    arXiv:2404.00498, section 3.2), so that a deep branch passes pixels on from the first step.
    """
    conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    if kernel > 1:
        with torch.no_grad():
            nn.init.dirac_(conv.weight[: min(before, after)])
    return [conv, nn.BatchNorm2d(after), nn.GELU()]


class Residual(nn.Module):
    """``layers`` and an identity around them (He et al. 2016, "Identity Mappings in Deep Residual Networks")."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N,C,h,w) to the same shape."""
        return maps + self.layers(maps)


def stage(before: int, after: int, depth: int, shrink: int) -> list[nn.Module]:
    """Return ``depth`` 3x3 convolutions with max-pooling behind the first (Jordan 2024, arXiv:2404.00498, section 3).

    Args:
        before: channels that come in.
        after: channels of all the rest.
        depth: convolutions; from three on with an identity around all but the first.
        shrink: side of the max-pooling, in positions; 1: none.

    """
    conv, *rest = convolution(before, after, 3)
    first = [conv, nn.MaxPool2d(shrink), *rest] if shrink > 1 else [conv, *rest]
    others = [layer for _ in range(depth - 1) for layer in convolution(after, after, 3)]
    return [*first, Residual(others)] if depth > 2 else [*first, *others]

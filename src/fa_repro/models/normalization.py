"""Normalisation inside the model, so that every model takes images in [0,1]."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SMALLEST_STD = 1e-3  # a quarter of a grey level of 255: a channel that is empty stays finite


class Normalize(nn.Module):
    """Subtract the training set's mean and divide by its standard deviation, channel by channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1).clamp_min(SMALLEST_STD))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to the same shape, of mean 0 and standard deviation 1 over the training set."""
        return (images - self.mean) / self.std

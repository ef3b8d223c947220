"""Global-average-pooling classifier head: a logit is the scaled mean activation of its class's feature maps."""

import math

import torch
from torch import Tensor, nn

from fa_repro.models.global_average import global_average


def class_maps(features: Tensor, n_classes: int) -> Tensor:
    """Average each class's group of channels: feature maps (N,C,h,w) -> class maps (N,K,h,w), C = K*m, class-major."""
    return features.unflatten(1, (n_classes, -1)).mean(2)


class GAPHead(nn.Module):
    """``y_k = s * mean of A over class k's channels and all positions``; s > 0 is one scalar for all classes."""

    def __init__(self, n_classes: int, scale: float, learn_scale: bool) -> None:
        """Build.

        Args:
            n_classes: K.
            scale: s at the start, logits per unit of mean activation.
            learn_scale: whether s is trained.

        """
        super().__init__()
        self.n_classes = n_classes
        # Its logarithm is learned, so that s stays positive and the order of the logits is the maps' own.
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learn_scale)

    @property
    def scale(self) -> Tensor:
        """s, a scalar."""
        return self.log_scale.exp()

    def forward(self, features: Tensor) -> Tensor:
        """Map feature maps (N,C,h,w) to logits (N,K)."""
        means = global_average(features).unflatten(1, (self.n_classes, -1)).mean(2)
        return self.scale * means

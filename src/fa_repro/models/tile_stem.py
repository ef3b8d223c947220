"""Tile stem: raw pixels become the first feature maps, without a parameter (C1: aligned from the raw pixels on)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TileStem(nn.Module):
    """Space-to-depth by ``unshuffle``, then the pixel planes repeated: channel c is plane c mod planes.

    With maps_per_class a multiple of the number of planes, every class gets every plane equally often, so the pixels'
    own term is the same in all logits and cancels in the softmax.
    """

    def __init__(self, in_channels: int, channels: int, unshuffle: int) -> None:
        """Build.

        Args:
            in_channels: of the images.
            channels: C of the feature maps, K*m.
            unshuffle: p, the side of the space-to-depth in pixels; in_channels * p**2 planes come of it.

        """
        super().__init__()
        self.unshuffle = unshuffle
        self.planes = in_channels * unshuffle**2
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to feature maps (N,C,H/p,W/p) in [0,1]."""
        planes = F.pixel_unshuffle(images, self.unshuffle)
        copies, rest = divmod(self.channels, self.planes)
        # By concatenation, which keeps the memory format; a gather of channels would not.
        return torch.cat([*[planes] * copies, planes[:, :rest]], 1)

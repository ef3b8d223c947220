"""A fixed first convolution that whitens 2x2 patches of pixels (Jordan 2024, arXiv:2404.00498, section 3.1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 2  # of a patch, in pixels (Jordan 2024, section 3.1)
# Added to every variance, so that the directions that hardly vary are not all noise (Jordan 2024, listing 4).
FLOOR = 5e-4
FITTED = 2000  # images that the statistics come from; their patches' covariance has settled long before


class Whitening(nn.Module):
    """Patches along their principal directions, each of unit variance, and the same with the opposite sign.

    Not learned: `fit` sets the directions from training images. Until then every patch is given as it is. A patch of
    the mean colour gives zero in all channels.
    """

    directions: Tensor
    offset: Tensor

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = 2 * in_channels * SIDE**2
        whole = torch.eye(in_channels * SIDE**2)
        self.register_buffer("directions", torch.cat([whole, -whole]).view(-1, in_channels, SIDE, SIDE))
        self.register_buffer("offset", torch.zeros(self.channels))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw directions and offset as an untrained convolution draws weights and bias: what was fitted is lost.

        The sanity check asks for it. A new module is not drawn: its patches are given as they are.
        """
        drawn = nn.Conv2d(self.in_channels, self.channels // 2, SIDE)
        for own, new in zip((self.directions, self.offset), drawn.parameters(), strict=True):
            own.copy_(torch.cat([new, -new]))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take the directions from the patches of ``images`` (N,I,H,W), uint8: the same for the same images."""
        few = images[:: max(1, len(images) // FITTED)][:FITTED].double() / 255
        patches = F.unfold(few, SIDE).transpose(0, 1).flatten(1)
        variances, vectors = torch.linalg.eigh(torch.cov(patches))
        # An eigenvector's sign is the solver's whim: its largest entry is made positive.
        largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
        rows = (vectors * largest.sign() / (variances.clamp_min(0) + FLOOR).sqrt()).T
        colour = few.mean((0, 2, 3)).repeat_interleave(SIDE**2)
        self.directions.copy_(torch.cat([rows, -rows]).view_as(self.directions))
        self.offset.copy_(torch.cat([-rows @ colour, rows @ colour]))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to (N,8*I,H,W); the last row's and column's patches reach over the edge."""
        edged = F.pad(images, (0, SIDE - 1, 0, SIDE - 1), mode="reflect")
        return F.conv2d(edged, self.directions, self.offset)


def fit_whitening(model: nn.Module, images: Tensor) -> None:
    """Fit every `Whitening` in ``model`` to the training images (N,I,H,W), uint8; other models stay as they are."""
    for module in model.modules():
        if isinstance(module, Whitening):
            module.fit(images)

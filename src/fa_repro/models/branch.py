"""F, the branch of a block: free to mix channels, to be deep, and to work at another resolution than its maps."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


def convolution(before: int, after: int, kernel: int) -> list[nn.Module]:
    """Return convolution, batch norm, ReLU, from (N,before,h,w) to (N,after,h,w)."""
    return [
        nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions and an identity around them (He et al. 2016, section 3.2), inside F."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inside = nn.Sequential(*convolution(width, width, 3), nn.Conv2d(width, width, 3, padding=1, bias=False))
        self.norm = nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N,width,h,w) to the same shape, not negative."""
        return F.relu(maps + self.norm(self.inside(maps)))


class Branch(nn.Module):
    """(convolution, batch norm, ReLU) for each kernel, residual units after the first, on smaller maps if asked.

    It ends with a ReLU, so that non-negative feature maps stay non-negative; nearest-neighbour up-sampling keeps every
    channel's mean, so that the branch's share of a logit is what it was before (T3).
    """

    def __init__(
        self, channels: int, hidden: int, kernels: Sequence[int], *, units: int = 0, shrink: int = 1, reads: int = 0
    ) -> None:
        """Build.

        Args:
            channels: C of the feature maps that come in and go out.
            hidden: width between the first convolution and the last.
            kernels: side of each convolution in pixels, odd.
            units: residual units after the first convolution.
            shrink: F works on maps with 1/shrink of the side: average pooling before it, nearest neighbour after it.
            reads: the first channels that F looks at; 0: all.

        """
        super().__init__()
        self.reads = reads or channels
        self.shrink = shrink
        widths = [self.reads, *[hidden] * (len(kernels) - 1), channels]
        layers: list[nn.Module] = []
        for i, kernel in enumerate(kernels):
            layers += convolution(widths[i], widths[i + 1], kernel)
            if i == 0:
                layers += [ResidualUnit(widths[1]) for _ in range(units)]
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Map feature maps (N,C,h,w) to the branch's, of the same shape."""
        inside = maps[:, : self.reads]
        if self.shrink > 1:
            inside = F.avg_pool2d(inside, self.shrink)
        inside = self.layers(inside)
        return F.interpolate(inside, scale_factor=float(self.shrink)) if self.shrink > 1 else inside

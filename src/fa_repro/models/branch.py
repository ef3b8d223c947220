"""F, the branch of a block: free to mix channels, to be deep, and to work at another resolution than its maps."""

from torch import Tensor, nn
from torch.nn import functional as F

from fa_repro.models.stage import convolution, stage
from fa_repro.models.whitening import Whitening


class Branch(nn.Module):
    """1x1 convolution in, 3x3 convolutions with max-pooling, 1x1 convolution and ReLU out, nearest neighbour back.

    The first branch of a network has the raw pixels for feature maps: it puts the planes of the tile stem together
    again and whitens patches of them at full resolution in place of the 1x1 convolution.

    The ReLU keeps non-negative feature maps so; nearest-neighbour up-sampling keeps every channel's mean, so that the
    branch's share of a logit is what it was before (T3).
    """

    def __init__(
        self,
        channels: int,
        *,
        squeeze: int,
        hidden: int,
        depth: int,
        shrink: int,
        pixels: tuple[int, int] | None = None,
    ) -> None:
        """Build.

        Args:
            channels: C of the feature maps that come in and go out.
            squeeze: channels behind the 1x1 convolution that reads the maps.
            hidden: channels of the 3x3 convolutions.
            depth: number of 3x3 convolutions, see `stage`.
            shrink: the branch's own maps have 1/shrink of the side.
            pixels: of the first branch alone: the image's channels, and the side of the space-to-depth of its maps.

        """
        super().__init__()
        self.shrink = shrink
        if pixels is None:
            self.reads, self.unshuffle = channels, 1
            reading, width = convolution(channels, squeeze, 1), squeeze
        else:
            whitening = Whitening(pixels[0])
            self.reads, self.unshuffle = pixels[0] * pixels[1] ** 2, pixels[1]
            reading, width = [whitening, nn.GELU()], whitening.channels
        conv, norm, _ = convolution(hidden, channels, 1)
        inside = stage(width, hidden, depth, shrink * self.unshuffle)
        self.layers = nn.Sequential(*reading, *inside, conv, norm, nn.ReLU())

    def forward(self, maps: Tensor, pool: int = 1) -> Tensor:
        """Map feature maps (N,C,h,w) to the branch's, not negative, of the same shape average-pooled by ``pool``."""
        inside = maps[:, : self.reads]
        if self.unshuffle > 1:
            inside = F.pixel_shuffle(inside, self.unshuffle)
        inside = self.layers(inside)
        if self.shrink % pool == 0:  # the average of copies is what was copied
            back, pool = self.shrink // pool, 1
        else:
            back = self.shrink
        inside = F.interpolate(inside, scale_factor=float(back)) if back > 1 else inside
        return F.avg_pool2d(inside, pool) if pool > 1 else inside

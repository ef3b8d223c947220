"""The FA-CNN's twin: a ResNet that reads pixels as the FA-CNN's branches do, with nothing that keeps an order.

Whitened patches, max-pooling behind a convolution, GELU and identity start are worth more on small images than the
difference between architectures; against a ResNet without them the FA-CNN would win for the wrong reason.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from fa_repro.models.global_average import global_average
from fa_repro.models.stage import stage
from fa_repro.models.whitening import Whitening


class ResNetWhitened(nn.Module):
    """Whitened patches, stages that each halve the maps and then add residual convolutions, GAP and Linear."""

    def __init__(self, *, n_classes: int, in_channels: int, widths: Sequence[int], depth: int) -> None:
        """Build: a stage for each of ``widths``, of ``depth`` 3x3 convolutions, see `stage`."""
        super().__init__()
        self.n_classes = n_classes
        self.down_sampling = 2 ** len(widths)
        whitening = Whitening(in_channels)
        self.stem = nn.Sequential(whitening, nn.GELU())
        before = [whitening.channels, *widths[:-1]]
        self.layers = nn.Sequential(
            *(nn.Sequential(*stage(b, after, depth, 2)) for b, after in zip(before, widths, strict=True))
        )
        self.head = nn.Linear(widths[-1], n_classes)

    @property
    def last_feature_layer(self) -> nn.Module:
        """The module whose output is the last feature maps: what Grad-CAM looks at."""
        return self.layers[-1]

    def features(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to the last feature maps (N,C,h,w)."""
        return self.layers(self.stem(images))

    def classify(self, features: Tensor) -> Tensor:
        """Map the last feature maps (N,C,h,w) to logits (N,K)."""
        return self.head(global_average(features))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to logits (N,K)."""
        return self.classify(self.features(images))

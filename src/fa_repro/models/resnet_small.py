"""The ResNet for small images of He et al. (2016), "Deep Residual Learning for Image Recognition", section 4.2."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from fa_repro.models.global_average import global_average
from fa_repro.models.normalization import Normalize


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.stride = stride
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))

    def forward(self, maps: Tensor) -> Tensor:
        inside = F.relu(self.norm1(self.conv1(maps)))
        # A strided 1x1 convolution is one of every stride-th pixel. Asked for as such, torch 2.15 on a CPU
        # corrupts the heap below 8 channels in channels_last.
        kept = maps[:, :, :: self.stride, :: self.stride]
        return F.relu(self.norm2(self.conv2(inside)) + self.shortcut(kept))


class ResNetSmall(nn.Module):
    """3x3 stem, then stages of basic blocks; every stage but the first halves the maps; GAP and Linear."""

    def __init__(
        self,
        *,
        n_classes: int,
        in_channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        """Build.

        Args:
            n_classes: K.
            in_channels: of the images.
            widths: channels of each stage.
            blocks: basic blocks of each stage, of two 3x3 convolutions.
            mean: of each input channel over the training set, in [0,1].
            std: likewise.

        """
        super().__init__()
        self.n_classes = n_classes
        self.down_sampling = 2 ** (len(widths) - 1)
        self.normalize = Normalize(mean, std)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        layers: list[nn.Module] = []
        before = widths[0]
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for j in range(count):
                layers.append(_Block(before, width, stride=2 if i > 0 and j == 0 else 1))
                before = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(before, n_classes)

    @property
    def last_feature_layer(self) -> nn.Module:
        """The module whose output is the last feature maps: what Grad-CAM looks at."""
        return self.layers[-1]

    def features(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to the last feature maps (N,C,h,w)."""
        return self.layers(self.stem(self.normalize(images)))

    def classify(self, features: Tensor) -> Tensor:
        """Map the last feature maps (N,C,h,w) to logits (N,K)."""
        return self.head(global_average(features))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to logits (N,K)."""
        return self.classify(self.features(images))

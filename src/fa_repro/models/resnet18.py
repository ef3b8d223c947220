"""torchvision's ResNet-18, with the stem that small images need."""

from collections.abc import Sequence

from torch import Tensor, nn

from fa_repro.models.global_average import global_average
from fa_repro.models.normalization import Normalize
from fa_repro.torchvision_library import torchvision_part

SMALL = 64  # pixels; up to this side the ImageNet stem, which shrinks fourfold, would leave too small a map


class ResNet18(nn.Module):
    """torchvision's ResNet-18 on images in [0,1]; up to 64 pixels its stem is a 3x3 convolution without max-pool."""

    def __init__(
        self,
        *,
        n_classes: int,
        in_channels: int,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        """Build.

        Args:
            n_classes: K.
            in_channels: of the images.
            image_size: their side in pixels, which decides on the stem.
            mean: of each input channel over the training set, in [0,1].
            std: likewise.

        """
        super().__init__()
        self.n_classes = n_classes
        small = image_size <= SMALL
        self.down_sampling = 8 if small else 32
        self.normalize = Normalize(mean, std)
        self.net = torchvision_part("models").resnet18(num_classes=n_classes)
        if small:
            self.net.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            self.net.maxpool = nn.Identity()
        elif in_channels != 3:
            self.net.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)

    @property
    def last_feature_layer(self) -> nn.Module:
        """The module whose output is the last feature maps: what Grad-CAM looks at."""
        return self.net.layer4

    def features(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to the last feature maps (N,512,h,w)."""
        net = self.net
        maps = net.maxpool(net.relu(net.bn1(net.conv1(self.normalize(images)))))
        return net.layer4(net.layer3(net.layer2(net.layer1(maps))))

    def classify(self, features: Tensor) -> Tensor:
        """Map the last feature maps (N,C,h,w) to logits (N,K)."""
        return self.net.fc(global_average(features))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N,I,H,W) in [0,1] to logits (N,K)."""
        return self.classify(self.features(images))

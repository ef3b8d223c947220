"""Global average pooling (Lin, Chen & Yan 2014, "Network in Network", section 3.2), in front of every model's head."""

from torch import Tensor
from torch.nn import functional as F


def global_average(features: Tensor) -> Tensor:
    """Average feature maps (N,C,h,w) over positions, to (N,C).

    As a pooling, not as ``mean``: the gradient of ``mean`` lies contiguous in memory whatever the maps' memory format,
    and everything behind it then reads two formats at once.
    """
    return F.avg_pool2d(features, features.shape[2:])[:, :, 0, 0]

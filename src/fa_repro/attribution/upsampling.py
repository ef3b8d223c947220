"""One way from a map's own resolution to the image's, for every method.

Blocky maps remove blocks, which hurts a network more than scattered pixels do: methods are comparable only if all their
maps go through the same up-sampling before they are ranked.
"""

from torch import Tensor
from torch.nn import functional as F


def upsample(maps: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Bring maps (N,h,w) to ``size`` (H,W) by ``bilinear`` or ``nearest`` interpolation."""
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    corners = {"align_corners": False} if mode == "bilinear" else {}
    return F.interpolate(maps[:, None], size=size, mode=mode, **corners)[:, 0]


def image_size(images: Tensor) -> tuple[int, int]:
    """Return (H,W) of images (N,C,H,W)."""
    return images.shape[2], images.shape[3]

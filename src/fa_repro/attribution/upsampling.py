"""One way from a map's own resolution to the image's, for every method.

Blocky maps remove blocks, which hurts a network more than scattered pixels do: methods are comparable only if all their
maps go through the same up-sampling before they are ranked. The depth map's terms go through it before they are summed,
in float64 throughout (`fa_repro.models.fa_cnn.add_terms`).
"""

from torch import Tensor
from torch.nn import functional as F


def upsample(maps: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Bring maps (N,h,w) to ``size`` (H,W) by ``bilinear`` or ``nearest`` interpolation.

    Bilinear interpolation repeats values along the border. It is worked out in float64, in which the weights of whole
    factors are exact, so that equal values stay equal and their order is the tie-break's, not the rounding's.
    """
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    corners = {"align_corners": False} if mode == "bilinear" else {}
    return F.interpolate(maps[:, None].double(), size=size, mode=mode, **corners)[:, 0].to(maps.dtype)


def image_size(images: Tensor) -> tuple[int, int]:
    """Return (H,W) of images (N,C,H,W)."""
    return images.shape[2], images.shape[3]

"""The image without anything in it: where patches are taken from that are no longer shown."""

from torch import Tensor

from fa_repro.attribution.context import Context


def baseline(images: Tensor, context: Context) -> Tensor:
    """Return the image (1,C,H,W) of the removal value everywhere, black where there is none, for images (N,C,H,W)."""
    colour = context.colour if context.colour is not None else images.new_zeros(images.shape[1])
    return colour.to(images).view(1, -1, 1, 1).expand(1, *images.shape[1:])

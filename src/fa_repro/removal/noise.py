"""Noise that belongs to an image, not to the batch that it comes in."""

import torch
from torch import Tensor


def noise_field(images: Tensor, rows: Tensor, pool_size: int, seed: int) -> Tensor:
    """Return standard normal noise of the shape of images (N,C,H,W), on their device.

    Args:
        images: only their shape, type and device count.
        rows: (N,) positions of the images among ``pool_size``: each position has its own noise.
        pool_size: how many images there are in all.
        seed: of the noise.

    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(pool_size, *images.shape[1:], generator=generator)[rows.cpu()].to(images)

"""What stands in for a removed pixel.

Most kinds give a whole stand-in image once, and at any fraction the removed positions are taken from it. What
``noisy_linear`` puts in depends on what is left, and is solved for every mask.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fa_repro.device import arithmetic
from fa_repro.noise import noise_field
from fa_repro.removal.noisy_linear import NOISE, fill_linearly, with_noise

Impute = Callable[[Tensor, Tensor], Tensor]  # images (N,C,H,W), removed (N,H,W) bool -> images (N,C,H,W)

BLUR_SIGMA = 1 / 8  # of the Gaussian, as a share of the image's side: an object's shape is gone
NOISE_SEED_OFFSET = 1  # the noise must not be the random control's own


def imputer(images: Tensor, kind: str, mean: Tensor, std: Tensor, rows: Tensor, pool_size: int, seed: int) -> Impute:
    """Return what removes pixels from this batch: a function of the batch and the positions that are gone.

    Args: those of `stand_in`; ``kind`` may also be ``noisy_linear`` (`fa_repro.removal.noisy_linear`). With it an image
    that has lost every pixel becomes the training set's mean colour; an image's noise is the same under every mask.

    Raises:
        ValueError: an unknown ``kind``.

    """
    if kind == "noisy_linear":
        field = noise_field(images, rows, pool_size, seed + NOISE_SEED_OFFSET)  # one for every mask
        return lambda images, gone: with_noise(fill_linearly(images, gone, mean), gone, NOISE * field)
    instead = stand_in(images, kind, mean, std, rows, pool_size, seed)
    return lambda images, gone: torch.where(gone[:, None], instead, images)


def stand_in(images: Tensor, kind: str, mean: Tensor, std: Tensor, rows: Tensor, pool_size: int, seed: int) -> Tensor:
    """Return the images that removed pixels are taken from.

    Args:
        images: (N,C,H,W) in [0,1].
        kind: ``mean`` (the training set's mean colour), ``zero`` (black), ``blur`` (the image itself under a Gaussian)
            or ``noise`` (normal noise of the training set's mean and standard deviation, clipped to [0,1]).
        mean: (C,) of the training set, in [0,1].
        std: (C,) likewise.
        rows: (N,) positions of the images among ``pool_size``: an image's noise does not depend on its batch.
        pool_size: how many images there are in all.
        seed: of the noise.

    Returns:
        (N,C,H,W) in [0,1].

    Raises:
        ValueError: an unknown ``kind``.

    """
    if kind == "mean":
        return mean.to(images).view(1, -1, 1, 1).expand_as(images)
    if kind == "zero":
        return torch.zeros_like(images)
    if kind == "blur":
        return gaussian_blur(images, BLUR_SIGMA * images.shape[-1])
    if kind == "noise":
        noise = noise_field(images, rows, pool_size, seed + NOISE_SEED_OFFSET)
        return (mean.to(images).view(1, -1, 1, 1) + std.to(images).view(1, -1, 1, 1) * noise).clamp(0, 1)
    raise ValueError(f"unknown imputation {kind!r}")


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur images (N,C,H,W) by a Gaussian of ``sigma`` pixels, cut at 3 sigma and renormalised at the borders."""
    radius = max(1, min(round(3 * sigma), images.shape[-1] - 1))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    n, channels, height, width = images.shape
    planes = torch.cat([images.reshape(n * channels, 1, height, width), images.new_ones(1, 1, height, width)])
    with arithmetic(images.device, torch.float32):
        planes = F.conv2d(planes, kernel.view(1, 1, 1, -1), padding=(0, radius))
        planes = F.conv2d(planes, kernel.view(1, 1, -1, 1), padding=(radius, 0))
    return (planes[:-1] / planes[-1:]).view_as(images)

"""The two controls that know nothing of the image: seeded noise and a centre prior. A method has to beat both."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.noise import noise_of

SPREAD = 0.25  # standard deviation of the centre prior, in sides of the image: the edge is two away; our choice


def random(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Return noise (N,H,W), uniform in [0,1); with a pool, an image's noise is its own in whatever batch it comes."""
    rows = context.rows.cpu() if context.rows is not None else torch.arange(len(images))
    n = len(context.pool) if context.pool is not None else len(images)
    return noise_of(torch.rand, images.shape[2:], rows, n, context.seed).to(images.device)


def center(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Return a Gaussian (N,H,W) around the image's centre, its standard deviation a quarter of the image's side."""
    height, width = images.shape[2:]
    y = (torch.arange(height, device=images.device) + 0.5) / height - 0.5
    x = (torch.arange(width, device=images.device) + 0.5) / width - 0.5
    prior = torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * SPREAD**2))
    return prior.expand(len(images), height, width)

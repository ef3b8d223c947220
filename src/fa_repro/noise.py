"""Noise that belongs to an image, not to the batch that it comes in, in memory for one batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

BLOCK = 1024  # images that share a generator: as far as a batch has to draw ahead, at most
CHUNK = 16  # images drawn at a time; a multiple of 16 values, so that torch draws what it would draw in one go


def noise_of(draw: Callable[..., Tensor], shape: Sequence[int], rows: Tensor, pool_size: int, seed: int) -> Tensor:
    """Return the noise of images ``rows`` (N,) among ``pool_size``, (N,*shape), on the CPU.

    Every image has noise of its own, the same in whatever batch it comes; up to `BLOCK` images it is what one call of
    ``draw`` gives for all of them.

    Args:
        draw: ``torch.randn`` or ``torch.rand``.
        shape: of one image's noise.
        rows: positions of the images.
        pool_size: how many images there are in all.
        seed: of the noise.

    """
    rows = rows.cpu()
    noise = torch.empty(len(rows), *shape)
    for block in rows.div(BLOCK, rounding_mode="floor").unique().tolist():
        generator = torch.Generator().manual_seed(_seed(seed, block))
        start, end = block * BLOCK, min((block + 1) * BLOCK, pool_size)
        last = int(rows[rows < end].max())
        while start <= last:
            drawn: Any = draw(min(CHUNK, end - start), *shape, generator=generator)
            wanted = (rows >= start) & (rows < start + len(drawn))
            noise[wanted] = drawn[rows[wanted] - start]
            start += len(drawn)
    return noise


def _seed(seed: int, block: int) -> int:
    """Return a seed of the block's own; the first block's is ``seed`` itself."""
    return int(np.random.SeedSequence([seed, block]).generate_state(1)[0]) if block else seed


def noise_field(images: Tensor, rows: Tensor, pool_size: int, seed: int) -> Tensor:
    """Return standard normal noise of the shape of images (N,C,H,W), on their device.

    Args:
        images: only their shape, type and device count.
        rows: (N,) positions of the images among ``pool_size``: each position has its own noise.
        pool_size: how many images there are in all.
        seed: of the noise.

    """
    return noise_of(torch.randn, images.shape[1:], rows, pool_size, seed).to(images)

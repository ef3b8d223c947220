"""Permutation importance of patches (Breiman 2001; Fisher et al. 2019): each patch takes another image's place-mate."""

import torch
from torch import Tensor, nn

from fa_repro.attribution.context import DEFAULT, Context
from fa_repro.attribution.patches import patch_drops, spread
from fa_repro.attribution.upsampling import image_size


def derangement(n: int, generator: torch.Generator) -> Tensor:
    """Return a random permutation (n,) without a fixed point: a single cycle through all (Sattolo 1986).

    Raises:
        ValueError: n < 2 has none.

    """
    if n < 2:
        raise ValueError("permutation needs two images or more: a patch is replaced by another image's")
    order = torch.randperm(n, generator=generator)
    donors = torch.empty(n, dtype=torch.int64)
    donors[order] = order.roll(1)
    return donors


@torch.inference_mode()
def permutation(model: nn.Module, images: Tensor, targets: Tensor, context: Context = DEFAULT) -> Tensor:
    """Explain images (N,C,H,W) in [0,1] for classes ``targets`` (N,) by permutation, (N,H,W); for (N,T), (N,T,H,W).

    Each patch is replaced by the same patch of another image of the pool, ``context.repeats`` times; the drops of the
    target's logit are averaged.
    """
    pool = context.pool if context.pool is not None else (images * 255).round().to(torch.uint8)
    rows = context.rows if context.rows is not None else torch.arange(len(images))
    generator = torch.Generator().manual_seed(context.seed)
    orders = (derangement(len(pool), generator)[rows.cpu()] for _ in range(context.repeats))
    donors = ((pool[order.to(pool.device)].to(images.device).float() / 255).__getitem__ for order in orders)
    drops = patch_drops(model, images, targets, context.patch, context.batch_size, donors)
    return spread(drops, context.patch, image_size(images), context.upsampling)

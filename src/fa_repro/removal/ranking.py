"""From a map to the order in which pixels go.

A map with NaN has an order too: it is degenerate, is counted as such, and stays in the curves.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def tie_break(positions: int, seed: int) -> Tensor:
    """Return one seeded permutation of all positions (P,): the same for every method and image."""
    return torch.randperm(positions, generator=torch.Generator().manual_seed(seed))


def rank_pixels(maps: Tensor, order: str, ties: Tensor) -> Tensor:
    """Rank the pixels of each map: rank 0 goes first.

    Ties go in the order of ``ties``; NaN counts as minus infinity, the least relevant in either order. LeRF of a map
    without NaN is MoRF of its negative.

    Args:
        maps: (N,H,W), larger is more relevant.
        order: ``morf`` (most relevant first) or ``lerf`` (least relevant first).
        ties: (P,) a permutation of the P = H*W positions.

    Returns:
        (N,H,W) int64 ranks, 0 ... P-1 in each map.

    Raises:
        ValueError: ``order`` is neither.

    """
    if order not in ("morf", "lerf"):
        raise ValueError(f"order must be morf or lerf, not {order!r}")
    ties = ties.to(maps.device)
    values = torch.nan_to_num(maps.flatten(1), nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)[:, ties]
    sequence = ties[values.argsort(dim=1, descending=order == "morf", stable=True)]
    places = torch.arange(sequence.shape[1], device=maps.device).expand_as(sequence)
    return torch.empty_like(sequence).scatter_(1, sequence, places).view(maps.shape)


def patch_means(maps: Tensor, side: int) -> Tensor:
    """Return the mean of each patch of ``side`` x ``side`` pixels: (N,H,W) -> (N,H/side,W/side); side divides both.

    A single NaN makes its patch NaN.
    """
    return F.avg_pool2d(maps[:, None], side)[:, 0] if side > 1 else maps


def rank_patches(means: Tensor, order: str, ties: Tensor, side: int) -> Tensor:
    """Rank whole patches of ``side`` x ``side`` pixels, which go together, as `rank_pixels` ranks pixels.

    Args:
        means: (N,h,w), one value a patch.
        order: ``morf`` or ``lerf``.
        ties: (h*w,) a permutation of the patches.
        side: in pixels.

    Returns:
        (N,h*side,w*side) int64: to each pixel how many pixels go before its patch.

    """
    ranks = rank_pixels(means, order, ties) * side**2
    return ranks.repeat_interleave(side, 1).repeat_interleave(side, 2)

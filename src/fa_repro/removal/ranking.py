"""From a map to the order in which pixels go."""

import torch
from torch import Tensor


def tie_break(positions: int, seed: int) -> Tensor:
    """Return one seeded permutation of all positions (P,): the same for every method and image."""
    return torch.randperm(positions, generator=torch.Generator().manual_seed(seed))


def rank_pixels(maps: Tensor, order: str, ties: Tensor) -> Tensor:
    """Rank the pixels of each map: rank 0 goes first.

    Ties go in the order of ``ties``; NaN counts as the least relevant. LeRF of a map is MoRF of its negative.

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


def degenerate(maps: Tensor) -> Tensor:
    """Return which maps (N,H,W) order nothing, (N,) bool: constant, or with a value that is no number."""
    flat = maps.flatten(1)
    return (flat.amax(1) == flat.amin(1)) | ~flat.isfinite().all(1)

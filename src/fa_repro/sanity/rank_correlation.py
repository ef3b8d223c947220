"""Spearman's rank correlation of maps, for a whole batch on the device."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fa_repro.attribution.degenerate import is_degenerate


def average_ranks(values: Tensor) -> Tensor:
    """Rank each row of ``values`` (N,P) from 0 to P-1; equal values share the mean of their ranks. (N,P) float64."""
    ordered, order = values.sort(dim=1)
    # Equal neighbours are one group; a group's rank is the mean of its places.
    group = F.pad((ordered[:, 1:] != ordered[:, :-1]).long(), (1, 0)).cumsum(1)
    places = torch.arange(values.shape[1], device=values.device, dtype=torch.float64).expand_as(group)
    means = torch.zeros_like(places).scatter_reduce(1, group, places, "mean", include_self=False)
    return torch.empty_like(means).scatter_(1, order, means.gather(1, group))


def spearman(one: Tensor, other: Tensor) -> Tensor:
    """Return the rank correlation of each pair of maps (N,H,W) over their pixels, (N,) float64.

    NaN where a map of the pair orders nothing: it is constant or holds what is no number.
    """
    middle = (one[0].numel() - 1) / 2  # the mean rank, whatever the ties
    a, b = (average_ranks(maps.flatten(1)) - middle for maps in (one, other))
    correlation = (a * b).sum(1) / ((a**2).sum(1) * (b**2).sum(1)).sqrt()
    return correlation.masked_fill(is_degenerate(one) | is_degenerate(other), torch.nan)

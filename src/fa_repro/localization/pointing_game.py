"""The pointing game (Zhang et al. 2018, "Top-Down Neural Attention by Excitation Backprop", IJCV; arXiv:1608.00507)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fa_repro.attribution.degenerate import is_degenerate
from fa_repro.localization.scores import Scores


def pointing_game(maps: Tensor, truth: Tensor, tolerance: int = 0) -> Scores:
    """Score 1 where a map's maximum is a hit: inside the truth, or within ``tolerance`` pixels of it.

    Ties: the share of hits among all positions of the maximum. The chance level: the share of positions that are hits.

    Args:
        maps: (N,H,W), larger is more relevant.
        truth: (N,H,W) bool.
        tolerance: distance in pixels, between pixel centres.

    Returns:
        (N,) each.

    """
    hits = within(truth, tolerance).flatten(1)
    chance = hits.double().mean(1)
    flat = maps.flatten(1)
    maxima = flat == flat.amax(1, keepdim=True)
    value = (maxima & hits).sum(1).double() / maxima.sum(1)
    degenerate = is_degenerate(maps)
    return Scores(torch.where(degenerate, chance, value), chance, degenerate)


def within(truth: Tensor, tolerance: int) -> Tensor:
    """Return which pixels (N,H,W) lie within ``tolerance`` pixels of a true one: its dilation by a disc."""
    if tolerance == 0:
        return truth
    offsets = torch.arange(-tolerance, tolerance + 1, device=truth.device)
    disc = (offsets[:, None] ** 2 + offsets[None, :] ** 2 <= tolerance**2).float()
    return F.conv2d(truth[:, None].float(), disc[None, None], padding=tolerance)[:, 0] > 0.5

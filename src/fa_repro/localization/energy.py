"""The energy-based pointing game (Wang et al. 2020, "Score-CAM", arXiv:1910.01279): how much of a map lies inside."""

import torch
from torch import Tensor

from fa_repro.attribution.degenerate import is_degenerate
from fa_repro.localization.scores import Scores


def energy(maps: Tensor, truth: Tensor) -> Scores:
    """Return the share of each map's positive part that lies inside the truth.

    The chance level is the truth's share of the image. A map without a positive value is degenerate.

    Args:
        maps: (N,H,W), larger is more relevant.
        truth: (N,H,W) bool.

    Returns:
        (N,) each.

    """
    positive = maps.double().clamp_min(0).flatten(1)
    inside = truth.flatten(1)
    total = positive.sum(1)
    degenerate = is_degenerate(maps) | ~(total > 0)
    chance = inside.double().mean(1)
    return Scores(torch.where(degenerate, chance, (positive * inside).sum(1) / total), chance, degenerate)

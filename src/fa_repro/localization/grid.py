"""The grid pointing game: mosaics of images of distinct classes, each map judged by its own class's cell.

Böhle et al. 2021, "Convolutional Dynamic Alignment Networks for Interpretable Classifications" (arXiv:2104.00032, the
localisation metric); 2022, "B-cos Networks" (arXiv:2205.10268). It needs no truth but the labels. What it counts is a
map's positive part: a map that is positive everywhere points nowhere, whatever stands out of it. So the pointing game's
question is asked of the same mosaics, too: is the maximum in the map's own cell?
"""

import torch
from torch import Tensor

from fa_repro.attribution.degenerate import is_degenerate
from fa_repro.localization.pointing_game import pointing_game
from fa_repro.localization.scores import Scores


def cell_shares(maps: Tensor, grid: int) -> Scores:
    """Return the share of each map's positive part that lies in its own cell: map k of a mosaic in cell k.

    The chance level is 1 / grid**2. A map without a positive value is degenerate.

    Args:
        maps: (M, grid * grid, grid * H, grid * W), one map for the class of each cell, cells row by row.
        grid: cells a side.

    Returns:
        (M, grid * grid) each.

    """
    m, cells, height, width = maps.shape
    positive = maps.double().clamp_min(0).view(m, cells, grid, height // grid, grid, width // grid)
    by_cell = positive.sum((3, 5)).flatten(2)
    total = by_cell.sum(2)
    degenerate = is_degenerate(maps) | ~(total > 0)
    chance = torch.full_like(total, 1 / cells)
    own = by_cell.diagonal(dim1=1, dim2=2)
    return Scores(torch.where(degenerate, chance, own / total), chance, degenerate)


def cell_peaks(maps: Tensor, grid: int) -> Scores:
    """Return 1 where a map's maximum lies in its own cell, by `pointing_game`; arguments and shapes of `cell_shares`.

    The chance level is 1 / grid**2; a constant map is degenerate.
    """
    m, cells, height, width = maps.shape
    own = torch.eye(cells, dtype=torch.bool, device=maps.device).view(cells, grid, grid)
    own = own.repeat_interleave(height // grid, 1).repeat_interleave(width // grid, 2)
    scores = pointing_game(maps.flatten(0, 1), own.repeat(m, 1, 1))
    return Scores(*(field.view(m, cells) for field in scores))

"""The grid pointing game: mosaics of images of distinct classes, each map judged by its own class's cell.

Böhle et al. 2021, "Convolutional Dynamic Alignment Networks for Interpretable Classifications" (arXiv:2104.00032, the
localisation metric); 2022, "B-cos Networks" (arXiv:2205.10268). It needs no truth but the labels.
"""

import torch
from torch import Tensor

from fa_repro.attribution.degenerate import is_degenerate
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

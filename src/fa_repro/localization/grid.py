"""The grid pointing game: mosaics of images of distinct classes, each map judged by its own class's cell.

Böhle et al. 2021, "Convolutional Dynamic Alignment Networks for Interpretable Classifications" (arXiv:2104.00032, the
localisation metric); 2022, "B-cos Networks" (arXiv:2205.10268). It needs no truth but the labels.
"""

import numpy as np
import torch
from torch import Tensor

from fa_repro.attribution.degenerate import is_degenerate
from fa_repro.localization.scores import Scores


def draw_mosaics(labels: Tensor, grid: int, count: int, seed: int) -> Tensor:
    """Draw mosaics of ``grid`` x ``grid`` images of distinct classes.

    Each image is used once at most, so that mosaics are independent; the classes with the most images left come first,
    which makes as many mosaics as there can be. Places in a mosaic are drawn too.

    Args:
        labels: (N,) of the images to choose from.
        grid: cells a side.
        count: mosaics wanted.
        seed: of every draw.

    Returns:
        (M, grid * grid) positions among ``labels``, cells row by row, on the CPU; M < ``count`` where images run out.

    """
    generator = np.random.default_rng(seed)
    values = labels.cpu().numpy()
    left = [generator.permutation(np.flatnonzero(values == label)).tolist() for label in np.unique(values)]
    mosaics: list[list[int]] = []
    while len(mosaics) < count:
        sizes = np.array([len(images) for images in left])
        if (sizes > 0).sum() < grid**2:
            break
        largest = np.lexsort((generator.random(len(sizes)), -sizes))[: grid**2]
        mosaics.append([left[label].pop() for label in generator.permutation(largest)])
    return torch.tensor(mosaics, dtype=torch.int64).view(-1, grid**2)


def compose(images: Tensor, mosaics: Tensor, grid: int) -> Tensor:
    """Lay out images (N,C,H,W) at positions ``mosaics`` (M, grid * grid): (M, C, grid * H, grid * W)."""
    n, (channels, height, width) = len(mosaics), images.shape[1:]
    cells = images[mosaics.to(images.device)].view(n, grid, grid, channels, height, width)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(n, channels, grid * height, grid * width)


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

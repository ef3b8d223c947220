"""Localization for one model: every method's maps on every image or mosaic, scored by every measure."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from fa_repro.attribution import METHODS, Context, asked, explain_classes
from fa_repro.attribution.batches import batches
from fa_repro.attribution.targets import choose_targets
from fa_repro.localization.energy import energy
from fa_repro.localization.grid import cell_peaks, cell_shares
from fa_repro.localization.mosaics import by_mosaics
from fa_repro.localization.pointing_game import pointing_game
from fa_repro.localization.scores import Scores
from fa_repro.reader import reader_for

ON_MOSAICS: dict[str, Callable[[Tensor, int], Scores]] = {"grid": cell_shares, "grid_peak": cell_peaks}


class Measured(NamedTuple):
    """One measure of every method, on the CPU; M methods, N images or mosaics, T maps for each (an image has one)."""

    measure: str
    methods: tuple[str, ...]
    value: np.ndarray  # (M,N,T)
    chance: np.ndarray  # (N,T)
    degenerate: np.ndarray  # (M,N,T) bool
    targets: np.ndarray  # (N,T) the classes that were explained


def measure_truth(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    masks: Tensor,
    *,
    measures: Sequence[str],
    methods: Sequence[str],
    target: str,
    tolerance: int,
    context: Context,
    tick: Callable[[int], object] = lambda maps: None,
) -> list[Measured]:
    """Score the methods' maps against the truth.

    Args:
        model: in eval mode, on the images' device.
        images: (N,C,H,W) uint8.
        labels: (N,).
        masks: (N,H,W) bool, the truth.
        measures: of ``pointing_game`` and ``energy``.
        methods: names of `fa_repro.attribution.METHODS`.
        target: the class that is explained: ``label``, or ``predicted``.
        tolerance: of the pointing game, in pixels.
        context: settings of the methods; pool and rows are filled in here.
        tick: told how many maps have been scored.

    Returns:
        For each measure, N images with T = 1.

    """
    scorers: dict[str, Callable[[Tensor, Tensor], Scores]] = {
        "pointing_game": partial(pointing_game, tolerance=tolerance),
        "energy": energy,
    }
    scores: dict[str, list[list[Scores]]] = {measure: [] for measure in measures}
    explained = choose_targets(model, images, labels, target, context.batch_size)
    reader = reader_for(methods, model, images, context.batch_size)
    for rows, batch, batch_context in batches(images, context):
        truth, chosen = masks[rows], explained[rows]
        by_method: dict[str, list[Scores]] = {measure: [] for measure in measures}
        for method in methods:
            maps = METHODS[method](asked(method, model, reader), batch, chosen, batch_context)
            for measure in measures:
                by_method[measure].append(scorers[measure](maps, truth))
            tick(len(rows))
        for measure in measures:
            scores[measure].append(by_method[measure])
    return [_gather(measure, methods, scores[measure], explained[:, None]) for measure in measures]


def measure_grid(
    model: nn.Module,
    mosaics: Tensor,
    classes: Tensor,
    grid: int,
    *,
    measures: Sequence[str],
    methods: Sequence[str],
    context: Context,
    tick: Callable[[int], object] = lambda maps: None,
) -> list[Measured]:
    """Score the methods' maps of every mosaic for the class of each of its cells.

    Args:
        model: in eval mode, on the mosaics' device.
        mosaics: (N,C,H,W) uint8.
        classes: (N, grid * grid) of the cells, row by row.
        grid: cells a side.
        measures: names of `ON_MOSAICS`.
        methods: names of `fa_repro.attribution.METHODS`.
        context: settings of the methods; its batch size counts images, a mosaic being grid * grid of them.
        tick: told how many maps have been scored.

    Returns:
        For each measure, N mosaics with T = grid * grid.

    """
    scores: dict[str, list[list[Scores]]] = {measure: [] for measure in measures}
    settings = by_mosaics(context, grid)
    reader = reader_for(methods, model, mosaics, settings.batch_size)
    for rows, batch, batch_context in batches(mosaics, settings):
        chosen = classes[rows]
        by_method: dict[str, list[Scores]] = {measure: [] for measure in measures}
        for method in methods:
            maps = explain_classes(method, asked(method, model, reader), batch, chosen, batch_context)
            for measure in measures:
                by_method[measure].append(ON_MOSAICS[measure](maps, grid))
            tick(chosen.numel())
        for measure in measures:
            scores[measure].append(by_method[measure])
    return [_gather(measure, methods, scores[measure], classes) for measure in measures]


def _gather(measure: str, methods: Sequence[str], scores: list[list[Scores]], targets: Tensor) -> Measured:
    """Join batches of scores of the methods; nothing has left the device before."""

    def joined(field: str) -> np.ndarray:
        whole = torch.cat([torch.stack([getattr(s, field) for s in batch]) for batch in scores], dim=1)
        return whole.view(len(methods), *targets.shape).cpu().numpy()

    value, chance, degenerate = (joined(field) for field in Scores._fields)
    return Measured(measure, tuple(methods), value, chance[0], degenerate, targets.cpu().numpy())


def per_image_table(measured: Measured, rows: np.ndarray) -> pd.DataFrame:
    """Return one line for each map; ``rows`` (N,T): the image's, or the cell's image's, place in the data set."""
    m, i, t = (index.ravel() for index in np.indices(measured.value.shape))
    in_mosaic = measured.measure in ON_MOSAICS
    return pd.DataFrame(
        {
            "measure": measured.measure,
            "mosaic": pd.array(i if in_mosaic else [pd.NA] * len(i), dtype="Int64"),
            "image": rows[i, t],
            "method": np.array(measured.methods)[m],
            "target": measured.targets[i, t],
            "value": measured.value.ravel().round(6),
            "chance": measured.chance[i, t].round(6),
            "degenerate": measured.degenerate.ravel().astype(int),
        }
    )

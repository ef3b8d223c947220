"""The check: each method's maps of a network that loses its layers, held against those of the intact one."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fa_repro.attribution import METHODS, Context, asked
from fa_repro.attribution.batches import batches
from fa_repro.reader import reader_for
from fa_repro.sanity.randomization import Layer, cascade
from fa_repro.sanity.rank_correlation import spearman

INTACT = "(none)"  # the layer at depth 0


class Cascade(NamedTuple):
    """Everything that was measured, on the CPU; M methods, D layers, N images."""

    methods: tuple[str, ...]
    layers: tuple[str, ...]  # D+1 names; depth 0 is the intact network
    correlation: np.ndarray  # (M,D+1,N); NaN where one of the two maps orders nothing


def measure(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    order: Sequence[Layer],
    *,
    methods: Sequence[str],
    context: Context,
    tick: Callable[[int], object] = lambda images: None,
) -> Cascade:
    """Randomise layer by layer and correlate each method's maps with the intact network's, image by image.

    Args:
        model: in eval mode, on the images' device; stays as it is.
        images: (N,C,H,W) uint8.
        targets: (N,) classes, the same at every depth.
        order: layers from the top down, of `fa_repro.sanity.randomization.layers`.
        methods: names of `fa_repro.attribution.METHODS`.
        context: settings of the methods; pool and rows are filled in here.
        tick: told how many maps have been made.

    Raises:
        InputError: the model can't be copied.

    """

    def explain(network: nn.Module, use: Callable[[int, int, Tensor], Tensor]) -> list[list[Tensor]]:
        """Return what ``use`` makes of each method's maps (by number), a batch (by number) at a time."""
        reader = reader_for(methods, network, images, context.batch_size)
        used: list[list[Tensor]] = []
        for m, method in enumerate(methods):
            used.append([])
            for b, (rows, batch, batch_context) in enumerate(batches(images, context)):
                maps = METHODS[method](asked(method, network, reader), batch, targets[rows], batch_context)
                used[m].append(use(m, b, maps))
                tick(len(rows))
        return used

    randomised = cascade(model, list(order), context.seed)  # first of all, as a model that can't be copied is refused
    # On the CPU, however many images: on the device lies a batch.
    intact = explain(model, lambda m, b, maps: maps.cpu())

    def correlation(m: int, b: int, maps: Tensor) -> Tensor:
        return spearman(intact[m][b].to(maps.device), maps).cpu()

    itself = [[spearman(maps, maps) for maps in of_method] for of_method in intact]
    by_depth = [itself, *(explain(network, correlation) for _, network in randomised)]
    names = (INTACT, *(layer.name for layer in order))
    found = torch.stack([torch.stack([torch.cat(parts) for parts in of_depth]) for of_depth in by_depth], dim=1)
    return Cascade(tuple(methods), names, found.numpy())

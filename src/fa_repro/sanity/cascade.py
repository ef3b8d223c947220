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

    def explain(network: nn.Module) -> list[Tensor]:
        reader = reader_for(methods, network, images, context.batch_size)
        explained = []
        for method in methods:
            maps = []
            for rows, batch, batch_context in batches(images, context):
                maps.append(METHODS[method](asked(method, network, reader), batch, targets[rows], batch_context))
                tick(len(rows))
            explained.append(torch.cat(maps))
        return explained

    randomised = cascade(model, list(order), context.seed)  # first of all, as a model that can't be copied is refused
    intact = explain(model)
    by_depth = [torch.stack([spearman(maps, maps) for maps in intact])]
    names = [INTACT]
    for name, network in randomised:
        by_depth.append(torch.stack([spearman(*pair) for pair in zip(intact, explain(network), strict=True)]))
        names.append(name)
    return Cascade(tuple(methods), tuple(names), torch.stack(by_depth, dim=1).cpu().numpy())

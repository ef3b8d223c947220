"""What the figure of localization shows: a few images with every method's map, and a mosaic."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fa_repro.attribution import METHODS, Context, explain_classes
from fa_repro.attribution.batches import take
from fa_repro.attribution.examples import first_of_each_class
from fa_repro.attribution.targets import predict, targets_of
from fa_repro.data import ImageSet
from fa_repro.localization.figures import Examples, Mosaic
from fa_repro.localization.mosaics import Mosaics, by_mosaics

EXAMPLES = 4  # images


def explain_examples(
    model: nn.Module, images: ImageSet, methods: Sequence[str], target: str, context: Context
) -> Examples:
    """Explain the first images of different classes, those that the model gets right before others.

    Args:
        model: in eval mode, on the images' device.
        images: with their truth.
        methods: names of `fa_repro.attribution.METHODS`.
        target: the class that is explained: ``label``, or ``predicted``.
        context: settings of the methods.

    """
    assert images.masks is not None
    predicted = predict(model, images.images, context.batch_size).argmax(1)
    chosen = first_of_each_class(images.labels, predicted, EXAMPLES)
    rows, batch, batch_context = take(images.images, chosen, context)
    targets = targets_of(predicted[rows], images.labels[rows], target)
    maps = {method: METHODS[method](model, batch, targets, batch_context) for method in methods}
    return Examples(batch, images.masks[rows], maps, [images.classes[int(k)] for k in targets])


def explain_mosaic(
    model: nn.Module, mosaics: Mosaics, grid: int, methods: Sequence[str], context: Context, classes: Sequence[str]
) -> Mosaic:
    """Explain the first mosaic for the class of each of its cells.

    Args:
        model: in eval mode, on the mosaics' device.
        mosaics: of `fa_repro.localization.mosaics.make_mosaics`.
        grid: cells a side.
        methods: names of `fa_repro.attribution.METHODS`.
        context: settings of the methods.
        classes: K names.

    """
    _, image, batch_context = take(mosaics.images, torch.zeros(1, dtype=torch.int64), by_mosaics(context, grid))
    targets = mosaics.classes[:1]
    maps = {method: explain_classes(method, model, image, targets, batch_context)[0] for method in methods}
    return Mosaic(image[0], _cells(grid, image), maps, [classes[int(k)] for k in targets[0]])


def _cells(grid: int, mosaic: Tensor) -> Tensor:
    """Return where each cell of a mosaic (1,C,H,W) is, (grid * grid,H,W) bool."""
    cells = torch.eye(grid**2, dtype=torch.bool).view(-1, grid, grid)
    height, width = mosaic.shape[2] // grid, mosaic.shape[3] // grid
    return cells.repeat_interleave(height, 1).repeat_interleave(width, 2)

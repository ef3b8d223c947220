"""What the figure of examples shows: a few images, every method's map of them, and the pixels that it removes."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor, nn

from fa_repro.attribution import METHODS, Context
from fa_repro.attribution.batches import take
from fa_repro.attribution.examples import first_of_each_class
from fa_repro.attribution.targets import predict, targets_of
from fa_repro.data import ImageSet
from fa_repro.removal.figures import examples_figure
from fa_repro.removal.imputation import imputer
from fa_repro.removal.ranking import tie_break
from fa_repro.removal.units import Units

EXAMPLES = 4  # images


def draw_examples(
    model: nn.Module,
    images: ImageSet,
    *,
    methods: Sequence[str],
    imputations: Sequence[str],
    target: str | int,
    units: Units,
    mean: Tensor,
    std: Tensor,
    context: Context,
) -> Figure:
    """Draw the first images of different classes, those that the model gets right before others.

    Args: those of `fa_repro.removal.measure`, by the same names; ``images`` have their labels and classes with them.
    """
    predicted = predict(model, images.images, context.batch_size).argmax(1)
    chosen = first_of_each_class(images.labels, predicted, EXAMPLES)
    rows, batch, batch_context = take(images.images, chosen, context)
    targets = targets_of(predicted[rows], images.labels[rows], target)
    partition = units.of(batch)
    maps = {method: partition.means(METHODS[method](model, batch, targets, batch_context)) for method in methods}
    ties = tie_break(units.places(batch[0, 0].numel()), context.seed)
    ranks = {method: partition.ranks(values, "morf", ties) for method, values in maps.items()}
    imputes = {kind: imputer(batch, kind, mean, std, chosen, len(images), context.seed) for kind in imputations}
    return examples_figure(batch, imputes, maps, ranks, [images.classes[int(t)] for t in targets], units.step)

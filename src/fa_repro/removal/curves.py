"""The measurement: remove pixels step by step and read the target's probability (percent pixels removed)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fa_repro.removal.imputation import Impute


class Readings(NamedTuple):
    """What the network says at each step; all (..., N) tensors."""

    probability: Tensor  # of the target, softmax
    logit: Tensor  # of the target
    prediction: Tensor  # class, int64


def removed_counts(fractions: Sequence[float], positions: int, unit: int = 1) -> list[int]:
    """Return how many of P pixels are gone at each fraction f: exactly round(f * P).

    With units of u pixels that go together, exactly round(f * P / u) units. Fractions that come to the same count are
    one step.
    """
    units = positions // unit
    return list(dict.fromkeys(round(fraction * units) * unit for fraction in fractions))


def read(model: nn.Module, images: Tensor, targets: Tensor) -> Readings:
    """Read the network on images (N,C,H,W) for targets (N,)."""
    logits = model(images)
    chosen = targets[:, None]
    probability = logits.softmax(1).gather(1, chosen)[:, 0]
    return Readings(probability, logits.gather(1, chosen)[:, 0], logits.argmax(1))


@torch.inference_mode()
def removal_readings(
    model: nn.Module,
    images: Tensor,
    imputes: Sequence[Impute],
    targets: Tensor,
    ranks: Sequence[Tensor],
    counts: Sequence[int],
    tick: Callable[[int], object] = lambda images: None,
) -> list[list[Readings]]:
    """Measure a batch under several imputations and orders.

    Args:
        model: in eval mode.
        images: (N,C,H,W) in [0,1].
        imputes: from the images and the removed positions (N,H,W) to the images without them.
        targets: (N,) classes.
        ranks: for each order, (N,H,W) ranks; a pixel is gone when its rank is below the count.
        counts: removed pixels at each step, from 0 to H*W.
        tick: told how many images have just been read.

    Returns:
        For each imputation and order, readings (F,N) at each of the F counts. End points are measured once: the intact
        images for all, those without a pixel left once for each imputation.

    """
    intact = read(model, images, targets)
    tick(len(images))
    result = []
    for impute in imputes:
        nothing_left = read(model, impute(images, torch.ones_like(ranks[0], dtype=torch.bool)), targets)
        tick(len(images))
        ends = {0: intact, images[0, 0].numel(): nothing_left}
        by_order = []
        for rank in ranks:
            steps = []
            for count in counts:
                if count in ends:
                    steps.append(ends[count])
                    continue
                steps.append(read(model, impute(images, rank < count), targets))
                tick(len(images))
            by_order.append(Readings(*(torch.stack(values) for values in zip(*steps, strict=True))))
        result.append(by_order)
    return result

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


class Ends(NamedTuple):
    """Readings (N,) that every method and order share."""

    intact: Readings
    nothing_left: list[Readings]  # one for each imputation


def readings(logits: Tensor, targets: Tensor) -> Readings:
    """Read logits (N,K) for targets (N,)."""
    chosen = targets[:, None]
    probability = logits.softmax(1).gather(1, chosen)[:, 0]
    return Readings(probability, logits.gather(1, chosen)[:, 0], logits.argmax(1))


@torch.inference_mode()
def read_ends(
    model: nn.Module, images: Tensor, imputes: Sequence[Impute], targets: Tensor, logits: Tensor | None = None
) -> Ends:
    """Read images (N,C,H,W) whole and without any pixel; ``logits`` (N,K): of the intact images, where known."""
    gone = images.new_ones(len(images), *images.shape[2:], dtype=torch.bool)
    intact = readings(model(images) if logits is None else logits, targets)
    return Ends(intact, [readings(model(impute(images, gone)), targets) for impute in imputes])


@torch.inference_mode()
def removal_readings(
    model: nn.Module,
    images: Tensor,
    imputes: Sequence[Impute],
    targets: Tensor,
    ranks: Sequence[Tensor],
    counts: Sequence[int],
    tick: Callable[[int], object] = lambda images: None,
    ends: Ends | None = None,
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
        ends: of these images; None: they are read first.

    Returns:
        For each imputation and order, readings (F,N) at each of the F counts. End points are measured once: the intact
        images for all, those without a pixel left once for each imputation.

    """
    if ends is None:
        ends = read_ends(model, images, imputes, targets)
        tick(len(images) * (1 + len(imputes)))
    result = []
    for impute, nothing_left in zip(imputes, ends.nothing_left, strict=True):
        known = {0: ends.intact, images[0, 0].numel(): nothing_left}
        by_order = []
        for rank in ranks:
            steps = []
            for count in counts:
                if count in known:
                    steps.append(known[count])
                    continue
                steps.append(readings(model(impute(images, rank < count)), targets))
                tick(len(images))
            by_order.append(Readings(*(torch.stack(values) for values in zip(*steps, strict=True))))
        result.append(by_order)
    return result

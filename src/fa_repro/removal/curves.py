"""The measurement: remove pixels step by step and read the target's probability (percent pixels removed)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Readings(NamedTuple):
    """What the network says at each step; all (..., N) tensors."""

    probability: Tensor  # of the target, softmax
    logit: Tensor  # of the target
    prediction: Tensor  # class, int64


def removed_counts(fractions: Sequence[float], positions: int) -> list[int]:
    """Return how many pixels are gone at each fraction: exactly round(f * P)."""
    return [round(fraction * positions) for fraction in fractions]


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
    stand_ins: Tensor,
    targets: Tensor,
    ranks: Sequence[Tensor],
    counts: Sequence[int],
    tick: Callable[[int], object] = lambda images: None,
) -> list[Readings]:
    """Measure a batch under several orders.

    Args:
        model: in eval mode.
        images: (N,C,H,W) in [0,1].
        stand_ins: (N,C,H,W), whose pixels replace the removed ones.
        targets: (N,) classes.
        ranks: for each order, (N,H,W) ranks; a pixel is gone when its rank is below the count.
        counts: removed pixels at each step, from 0 to H*W.
        tick: told how many images have just been read.

    Returns:
        For each order, readings (F,N) at each of the F counts. The end points, the same for all, are measured once.

    """
    ends = {0: read(model, images, targets), images[0, 0].numel(): read(model, stand_ins, targets)}
    tick(2 * len(images))
    result = []
    for rank in ranks:
        steps = []
        for count in counts:
            if count in ends:
                steps.append(ends[count])
                continue
            steps.append(read(model, torch.where((rank < count)[:, None], stand_ins, images), targets))
            tick(len(images))
        result.append(Readings(*(torch.stack(values) for values in zip(*steps, strict=True))))
    return result

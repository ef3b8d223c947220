"""The learning rate as a share of its peak, over the steps of a training."""

import math
from collections.abc import Callable

START = 1 / 25  # of the peak, where ``onecycle`` begins: as PyTorch's OneCycleLR (its div_factor)


def schedule(kind: str, steps: int, warmup: float) -> Callable[[int], float]:
    """Return the factor on the peak learning rate for each step.

    Args:
        kind: ``onecycle`` (linear rise from 1/25 over the warm-up, then half a cosine to 0; Smith & Topin 2018),
            ``cosine`` (half a cosine to 0, Loshchilov & Hutter 2017) or ``constant``.
        steps: of the whole training.
        warmup: share of the steps over which ``onecycle`` rises.

    """
    rise = warmup * steps if kind == "onecycle" else 0.0

    def factor(step: int) -> float:
        if kind == "constant":
            return 1.0
        if step < rise:
            return START + (1 - START) * step / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / (steps - rise))))

    return factor

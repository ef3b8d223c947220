"""What all work on, a measurement of ours beside a library's, and how far the two may differ."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

# Limits of the largest difference. Two float32 programs that do the same sums in another order differ by this much.
PROBABILITIES = 1e-5
SHARES = 1e-4  # of a map's range
FILLED = 5e-5  # our solver stops at an error of 1e-5 of the image's range, as it estimates or bounds it

Work = Callable[[], np.ndarray]


class Material(NamedTuple):
    """What all of them work on; on the CPU."""

    model: nn.Module  # in eval mode, its weights without gradients
    reader: nn.Module  # its logits as our commands read them, made ready once
    pool: Tensor  # (N,C,H,W) uint8
    images: Tensor  # (N,C,H,W) in [0,1]
    targets: Tensor  # (N,) predicted
    maps: Tensor  # (N,H,W) without two equal values: every library breaks ties in its own way
    mean: Tensor  # (C,) of the training set
    std: Tensor
    batch_size: int  # images a forward pass, for all
    seed: int


class Pair(NamedTuple):
    """One measurement of ours beside a library's."""

    what: str
    ours: str  # names of contenders
    theirs: str
    package: str
    difference: Callable[[np.ndarray, np.ndarray], float]
    limit: float
    images: int = 0  # that a run works on; 0: all


def largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest absolute difference."""
    return float(np.abs(ours - theirs).max())


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference as a share of their largest value."""
    return largest(ours, theirs) / float(np.abs(theirs).max())


def of_range(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference of maps (N,H,W), each scaled to 0 ... 1."""
    return largest(_scaled(ours.astype(np.float64)), _scaled(theirs.astype(np.float64)))


def _scaled(maps: np.ndarray) -> np.ndarray:
    maps = maps - maps.min(axis=(1, 2), keepdims=True)
    return maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-7)


def in_batches(it: Material, work: Callable[[Tensor, Tensor], Tensor | np.ndarray]) -> np.ndarray:
    """Return what the work makes of all images and targets, a batch at a time."""
    parts = zip(it.images.split(it.batch_size), it.targets.split(it.batch_size), strict=True)
    return np.concatenate([np.asarray(work(images, targets)) for images, targets in parts])

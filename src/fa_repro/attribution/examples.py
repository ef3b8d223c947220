"""Which images the figures of maps show."""

import torch
from torch import Tensor


def first_of_each_class(labels: Tensor, predicted: Tensor, n: int) -> Tensor:
    """Return the positions of the first images of ``n`` classes, classes with an image that is right before others.

    Args:
        labels: (N,).
        predicted: (N,) classes.
        n: how many; fewer where there are fewer classes.

    Returns:
        (n,) int64 on the CPU. A class is shown by its first image that is right, or if none is by its first.

    """
    right = (predicted == labels).tolist()
    firsts: dict[int, int] = {}
    for i in sorted(range(len(right)), key=lambda i: not right[i]):
        firsts.setdefault(int(labels[i]), i)
    return torch.tensor(list(firsts.values())[:n])

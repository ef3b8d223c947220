"""How far two computations of the same number may lie apart."""

import torch
from torch import Tensor

# Both sides of each identity average up to a few thousand numbers of one sign in different orders; the error of such a
# mean is a few units in the last place. 64 leaves room for other machines' orders of summation, while anything but
# rounding is millions of units away.
UNITS = 64


def tolerance(dtype: torch.dtype) -> float:
    """Return the largest relative error that rounding in ``dtype`` explains."""
    return UNITS * torch.finfo(dtype).eps


def errors(found: Tensor, reference: Tensor) -> tuple[float, float]:
    """Return the largest absolute error, and the largest error relative to the reference's largest value, over items.

    Args:
        found: (N,...), one item a row: a map, a vector of logits.
        reference: the same shape.

    An item whose reference is zero everywhere counts as 0 if it is matched exactly, else as infinite.

    """
    difference = (found - reference).abs().flatten(1).amax(1)
    size = reference.abs().flatten(1).amax(1)
    relative = torch.where(difference == 0, torch.zeros_like(difference), difference / size)
    return difference.max().item(), relative.max().item()

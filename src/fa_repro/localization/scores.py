"""What every measure returns."""

from typing import NamedTuple

from torch import Tensor


class Scores(NamedTuple):
    """One measure of a batch of maps, all of one shape.

    Attributes:
        value: float64 in [0,1]; the larger, the better. Of a degenerate map: what a uniform map scores, so that a
            method neither gains nor loses by saying nothing, and every method is judged on the same images.
        chance: float64, what a uniform map scores.
        degenerate: bool, the map says nothing about a place.

    """

    value: Tensor
    chance: Tensor
    degenerate: Tensor

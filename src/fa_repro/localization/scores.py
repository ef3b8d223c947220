"""What every measure returns, and which maps say nothing."""

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


def says_nothing(maps: Tensor) -> Tensor:
    """Return which maps (...,H,W) are constant or hold a value that is no finite number, (...) bool."""
    flat = maps.flatten(-2)
    return (flat.amax(-1) == flat.amin(-1)) | ~flat.isfinite().all(-1)

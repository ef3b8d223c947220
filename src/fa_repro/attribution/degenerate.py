"""Which maps say nothing about a place."""

from torch import Tensor


def is_degenerate(maps: Tensor) -> Tensor:
    """Return which maps (...,H,W) are constant or hold a value that is no finite number, (...) bool."""
    flat = maps.flatten(-2)
    return (flat.amax(-1) == flat.amin(-1)) | ~flat.isfinite().all(-1)

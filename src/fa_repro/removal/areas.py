"""From readings to figures: areas and flips."""

import numpy as np


def area(curves: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return the area under each curve (F,...) over ``fractions`` (F,) by the trapezoid rule, (...)."""
    widths = np.diff(fractions).reshape(-1, *[1] * (curves.ndim - 1))
    return ((curves[1:] + curves[:-1]) / 2 * widths).sum(0)


def percent_until_flip(kept: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return the percent of pixels gone when the prediction first leaves the target; never: 100.

    An image that is predicted otherwise from the start counts, and flips at the first fraction: of a label, or of one
    class for all, means and medians hold the wrong images too.

    Args:
        kept: (F,N) bool, whether the target is still predicted.
        fractions: (F,).

    Returns:
        (N,) in percent.

    """
    lost = ~kept
    return np.where(lost.any(0), 100 * fractions[lost.argmax(0)], 100.0)

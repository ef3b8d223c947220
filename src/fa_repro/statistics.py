"""Figures with their bootstrap intervals over images, paired between methods."""

from typing import NamedTuple

import numpy as np

LEVEL = 0.95  # of every interval


class Interval(NamedTuple):
    """A figure with its 95 % bootstrap interval over images."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Resamples of the same images for every figure, so that differences between methods are paired."""

    def __init__(self, n: int, resamples: int, seed: int) -> None:
        """Draw ``resamples`` resamples of ``n`` images with replacement."""
        generator = np.random.default_rng(seed)
        self._shares = generator.multinomial(n, np.full(n, 1 / n), size=resamples) / n  # (B,n) weights of the images
        self._drawn = generator.integers(0, n, size=(resamples, n))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return value, low and high (3,...) of the mean over images of ``values`` (n,...)."""
        flat = values.reshape(len(values), -1)
        resampled = self._shares @ flat
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return np.stack([flat.mean(0), low, high]).reshape(3, *values.shape[1:])

    def median(self, values: np.ndarray) -> Interval:
        """Return the median over images of ``values`` (n,) with its interval."""
        resampled = np.median(values[self._drawn], axis=1)
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(float(np.median(values)), float(low), float(high))

    def interval(self, values: np.ndarray) -> Interval:
        """Return the mean over images of ``values`` (n,) with its interval."""
        return Interval(*self.mean(values).tolist())

    def ratio(self, above: np.ndarray, below: np.ndarray) -> Interval:
        """Return mean(above) / mean(below) over the same images (n,), with its interval.

        NaN where the denominator is not positive in every resample: a share of nothing means nothing.
        """
        denominators = self._shares @ below
        if not (denominators > 0).all() or not below.mean() > 0:
            return Interval(np.nan, np.nan, np.nan)
        ratios = (self._shares @ above) / denominators
        low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(float(above.mean() / below.mean()), float(low), float(high))

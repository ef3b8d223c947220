"""Figures with their bootstrap intervals over images and trainings, paired between methods."""

from typing import NamedTuple

import numpy as np

LEVEL = 0.95  # of every interval
TRAININGS = 1  # beside the seed, of the generator that draws trainings


class Interval(NamedTuple):
    """A figure with its 95 % bootstrap interval over images, and over trainings where there are several."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Resamples of the same images for every figure, so that differences between methods are paired.

    With several trainings of one model, these are resampled too. Trainings and images are crossed, as all trainings see
    the same images: a resample draws trainings, then images, and takes every drawn image from every drawn training (the
    pigeonhole bootstrap: Owen 2007, Annals of Applied Statistics 1(2)). Values then come training by training, the
    images of each in the same order: where (n,...) is written below, (trainings * n,...).
    """

    def __init__(self, n: int, resamples: int, seed: int, trainings: int = 1) -> None:
        """Draw ``resamples`` resamples of ``n`` images, and of ``trainings``, with replacement."""
        generator = np.random.default_rng(seed)
        self._shares = generator.multinomial(n, np.full(n, 1 / n), size=resamples) / n  # (B,n) weights of the images
        self._drawn = generator.integers(0, n, size=(resamples, n))
        # (B,T), of a generator of its own: images are drawn alike for any number of trainings.
        own = np.random.default_rng([seed, TRAININGS])
        self._trainings = own.integers(0, trainings, size=(resamples, trainings))

    def _means(self, values: np.ndarray) -> np.ndarray:
        """Return the mean (B,...) of ``values`` (n,...) in every resample."""
        trainings = self._trainings.shape[1]
        if trainings == 1:
            return self._shares @ values
        by_training = np.stack([self._shares @ part for part in np.split(values, trainings)])  # (T,B,...)
        resample = np.arange(len(self._trainings))[:, None]
        return by_training[self._trainings, resample].mean(1)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return value, low and high (3,...) of the mean over images of ``values`` (n,...)."""
        flat = values.reshape(len(values), -1)
        resampled = self._means(flat)
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return np.stack([flat.mean(0), low, high]).reshape(3, *values.shape[1:])

    def median(self, values: np.ndarray) -> Interval:
        """Return the median over images of ``values`` (n,) with its interval."""
        by_training = values.reshape(self._trainings.shape[1], -1)
        if len(by_training) == 1:
            resampled = np.median(values[self._drawn], axis=1)
        else:  # one at a time: all of them are B * T * n values
            pairs = zip(self._trainings, self._drawn, strict=True)
            resampled = np.array([np.median(by_training[np.ix_(t, i)]) for t, i in pairs])
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(float(np.median(values)), float(low), float(high))

    def interval(self, values: np.ndarray) -> Interval:
        """Return the mean over images of ``values`` (n,) with its interval."""
        return Interval(*self.mean(values).tolist())

    def ratio(self, above: np.ndarray, below: np.ndarray) -> Interval:
        """Return mean(above) / mean(below) over the same images (n,), with its interval.

        NaN where the denominator is not positive in every resample: a share of nothing means nothing.
        """
        denominators = self._means(below)
        if not (denominators > 0).all() or not below.mean() > 0:
            return Interval(np.nan, np.nan, np.nan)
        ratios = self._means(above) / denominators
        low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(float(above.mean() / below.mean()), float(low), float(high))

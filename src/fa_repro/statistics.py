"""Figures with their bootstrap intervals over images and trainings, paired between methods."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

LEVEL = 0.95  # of every interval
BLOCK = 2**22  # values of a block of resamples, so many times 8 bytes
EQUAL = 1e-6  # scores so near are equal: one map times a constant, as class map and Grad-CAM are, rounds differently
TRAININGS = 1  # beside the seed, of the generator that draws trainings


class Interval(NamedTuple):
    """A figure with its 95 % bootstrap interval over images, and over trainings where there are several."""

    value: float
    low: float
    high: float


UNKNOWN = Interval(np.nan, np.nan, np.nan)


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
        self._block = max(1, BLOCK // (n * trainings))  # resamples that are worked out at once
        # How often each image is drawn, (B,n): a byte holds it, as of n draws with n choices 255 never fall on one.
        draws = (
            generator.multinomial(n, np.full(n, 1 / n), size=min(self._block, resamples - start)).astype(np.uint8)
            for start in range(0, resamples, self._block)
        )
        self._images = np.concatenate(list(draws))
        # And each training, (B,T), by a generator of its own: images are drawn alike for any number of trainings.
        own = np.random.default_rng([seed, TRAININGS])
        self._trainings = own.multinomial(trainings, np.full(trainings, 1 / trainings), size=resamples)

    def _weights(self) -> Iterator[np.ndarray]:
        """Yield how often each value counts, (b,T*n) float64, for some resamples after the other."""
        for start in range(0, len(self._images), self._block):
            here = np.s_[start : start + self._block]
            both = self._trainings[here, :, None] * self._images[here, None].astype(np.float64)
            yield both.reshape(len(both), -1)

    def _means(self, values: np.ndarray) -> np.ndarray:
        """Return the mean (B,...) of ``values`` (n,...) in every resample."""
        return np.concatenate([weights @ values for weights in self._weights()]) / len(values)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return value, low and high (3,...) of the mean over images of ``values`` (n,...)."""
        flat = values.reshape(len(values), -1)
        resampled = self._means(flat)
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return np.stack([flat.mean(0), low, high]).reshape(3, *values.shape[1:])

    def median(self, values: np.ndarray) -> Interval:
        """Return the median over images of ``values`` (n,) with its interval."""
        order = np.argsort(values)
        middle = (len(values) - 1) // 2, len(values) // 2  # one place, or of an even number the two
        resampled = np.concatenate(
            [np.mean([values[order][_place(w[:, order], m)] for m in middle], axis=0) for w in self._weights()]
        )
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
            return UNKNOWN
        ratios = self._means(above) / denominators
        low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(float(above.mean() / below.mean()), float(low), float(high))


def paired(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return how far ``values`` (n,) are ahead of the reference's on the same images; 0 where they are `EQUAL`."""
    ahead = values - reference
    return np.where(np.abs(ahead) < EQUAL, 0.0, ahead)


def won(ahead: np.ndarray) -> np.ndarray:
    """Return how much of a win each difference (n,) of `paired` is: 1, 0, where there is none a half; of NaN, NaN."""
    return np.where(np.isnan(ahead), np.nan, np.where(ahead == 0, 0.5, ahead > 0))


def _place(weights: np.ndarray, rank: int) -> np.ndarray:
    """Return for each line of counts ``weights`` (b,n) the column (b,) in which the value of 0-based ``rank`` falls."""
    return (weights.cumsum(1) <= rank).sum(1)

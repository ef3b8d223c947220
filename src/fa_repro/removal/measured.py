"""What a removal benchmark has read, and its table of every reading."""

import gzip
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import pandas as pd


class ReadingError(NamedTuple):
    """What reading in bf16 does to the target's probability, over ``n`` readings of one batch."""

    largest: float
    mean: float
    n: int


class Measured(NamedTuple):
    """Everything that was read under one imputation, on the CPU; M methods, O orders, F fractions, N images."""

    imputation: str
    methods: tuple[str, ...]
    orders: tuple[str, ...]
    fractions: np.ndarray  # (F,) pixels gone, as a share of all, after rounding to whole pixels or squares
    targets: np.ndarray  # (N,)
    labels: np.ndarray  # (N,)
    probability: np.ndarray  # (M,O,F,N)
    logit: np.ndarray  # (M,O,F,N)
    prediction: np.ndarray  # (M,O,F,N)
    degenerate: np.ndarray  # (M,N) bool
    seconds: np.ndarray  # (M,) spent on the maps
    error: ReadingError | None = None  # None in fp32
    trainings: int = 1  # of one model; of several, N runs over the images of the first, then of the second, ...

    @property
    def n(self) -> int:
        """How many images there are."""
        return len(self.labels) // self.trainings

    @property
    def kept(self) -> np.ndarray:
        """Whether the target is still predicted, (M,O,F,N) bool."""
        return self.prediction == self.targets


def pooled(measured: Sequence[Measured]) -> Measured:
    """Join several trainings of one model, measured on the same images, along N."""
    if len(measured) == 1:
        return measured[0]
    along_images = ("targets", "labels", "probability", "logit", "prediction", "degenerate")
    fields: dict[str, Any] = measured[0]._asdict()
    fields |= {name: np.concatenate([getattr(one, name) for one in measured], axis=-1) for name in along_images}
    fields |= {"seconds": np.sum([one.seconds for one in measured], axis=0), "trainings": len(measured)}
    return Measured(**fields)


def per_image_table(measured: Measured, rows: np.ndarray) -> pd.DataFrame:
    """Return one line for each image, method, order and fraction; ``rows`` (N,): places in the data set."""
    shape = measured.probability.shape
    m, o, f, i = (index.ravel() for index in np.indices(shape))
    return pd.DataFrame(
        {
            "image": rows[i],
            "method": np.array(measured.methods)[m],
            "order": np.array(measured.orders)[o],
            "imputation": measured.imputation,
            "fraction": measured.fractions[f].round(6),
            "target": measured.targets[i],
            "target_probability": measured.probability.ravel().round(6),
            "target_logit": measured.logit.ravel().round(5),
            "kept": measured.kept.ravel().astype(int),
            "correct": (measured.prediction == measured.labels).ravel().astype(int),
        }
    )


def write_per_image(
    file: IO[bytes], measured: Sequence[Measured], rows: np.ndarray, seeds: Sequence[int] | None = None
) -> None:
    """Write the tables of `per_image_table` one after the other as one gzipped CSV, a method and order at a time.

    With ``seeds``, one for each table, these are its first column.
    """
    # No time stamp and no name inside: the same rows are the same file.
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed:
        header = True
        for t, one in enumerate(measured):
            for m, method in enumerate(one.methods):
                for o, order in enumerate(one.orders):
                    here = np.s_[m : m + 1, o : o + 1]
                    part = one._replace(
                        methods=(method,),
                        orders=(order,),
                        probability=one.probability[here],
                        logit=one.logit[here],
                        prediction=one.prediction[here],
                    )
                    table = per_image_table(part, rows)
                    if seeds is not None:
                        table.insert(0, "seed", seeds[t])
                    packed.write(table.to_csv(index=False, header=header).encode())
                    header = False

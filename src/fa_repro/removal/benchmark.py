"""Percent pixels removed for one model: every method's maps, every order, read and summarised."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from fa_repro.attribution import METHODS, Context
from fa_repro.attribution.batches import take
from fa_repro.attribution.targets import choose_targets
from fa_repro.progress import Keep, Part
from fa_repro.removal.curves import Ends, Readings, read_ends, removal_readings, removed_counts
from fa_repro.removal.imputation import Impute, imputer
from fa_repro.removal.ranking import degenerate, rank_squares, square_means, tie_break


class _Shared(NamedTuple):
    """What all methods take of a batch."""

    images: Tensor  # (N,C,H,W) in [0,1]
    context: Context
    targets: Tensor  # (N,)
    imputes: list[Impute]
    ends: Ends


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
    trainings: int = 1  # of one model; of several, N runs over the images of the first, then of the second, ...

    @property
    def n(self) -> int:
        """How many images there are."""
        return len(self.labels) // self.trainings

    @property
    def kept(self) -> np.ndarray:
        """Whether the target is still predicted, (M,O,F,N) bool."""
        return self.prediction == self.targets


def measure(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    methods: Sequence[str],
    orders: Sequence[str],
    fractions: Sequence[float],
    imputations: Sequence[str],
    target: str | int,
    unit: int = 1,
    mean: Tensor,
    std: Tensor,
    context: Context,
    tick: Callable[[int], object] = lambda images: None,
    keep: Keep = lambda name, find: find(),
) -> list[Measured]:
    """Run the benchmark; every map is made and ranked once, whatever the number of imputations.

    It is measured in parts, one for each batch and method. Whatever is drawn is drawn from ``context.seed`` anew, so
    that a part does not depend on which others were measured before.

    Args:
        model: in eval mode, on the images' device.
        images: (N,C,H,W) uint8.
        labels: (N,).
        methods: names of `fa_repro.attribution.METHODS`.
        orders: of ``morf`` and ``lerf``.
        fractions: ascending from 0 to 1.
        imputations: kinds of `fa_repro.removal.imputation.imputer`.
        target: ``predicted`` (on the intact image), ``label``, or a class's number.
        unit: side in pixels of the squares that go together, 1 for single pixels; must divide height and width.
        mean: (C,) of the training set, in [0,1]; the removal value.
        std: (C,) likewise.
        context: settings of the methods; pool and rows are filled in here.
        tick: told how many images have been read.
        keep: of `fa_repro.progress.Progress`; parts that it has are not measured again.

    Returns:
        One for each imputation.

    """
    n, _, height, width = images.shape
    counts = removed_counts(fractions, height * width, unit**2)
    ties = tie_break(height * width // unit**2, context.seed)
    context = replace(context, colour=mean.to(images.device))
    places = torch.arange(n).split(context.batch_size)  # of each batch

    @lru_cache(maxsize=1)  # made when the first method asks for it: of a batch whose parts are all kept, none does
    def shared(b: int) -> _Shared:
        rows, batch, there = take(images, places[b], context)
        chosen = choose_targets(model, batch, labels[rows], target)
        imputes = [imputer(batch, kind, mean, std, places[b], n, context.seed) for kind in imputations]
        ends = read_ends(model, batch, imputes, chosen)
        tick(len(batch) * (1 + len(imputes)))
        return _Shared(batch, there, chosen, imputes, ends)

    def find(b: int, method: str) -> Part:
        batch, there, chosen, imputes, ends = shared(b)
        began = time.perf_counter()
        maps = METHODS[method](model, batch, chosen, there)
        if maps.is_cuda:
            torch.cuda.synchronize(maps.device)
        seconds = time.perf_counter() - began
        maps = square_means(maps, unit)
        ranks = [rank_squares(maps, order, ties, unit) for order in orders]
        read = removal_readings(model, batch, imputes, chosen, ranks, counts, tick, ends)  # by imputation and order
        found = {f: torch.stack([torch.stack([getattr(r, f) for r in one]) for one in read]) for f in Readings._fields}
        of_maps = {"degenerate": degenerate(maps), "seconds": torch.tensor(seconds, dtype=torch.float64)}
        return {**found, "targets": chosen, **of_maps}

    parts = [[keep(f"{method} {b}", partial(find, b, method)) for method in methods] for b in range(len(places))]

    def gather(field: str) -> np.ndarray:
        """Join the methods and the batches: (M,...,N)."""
        return torch.stack(
            [torch.cat([batch[m][field].cpu() for batch in parts], dim=-1) for m in range(len(methods))]
        ).numpy()

    probability, logit, prediction = (gather(field) for field in Readings._fields)  # (M,I,O,F,N)
    targets, broken = gather("targets")[0], gather("degenerate")
    seconds = np.array([sum(float(batch[m]["seconds"]) for batch in parts) for m in range(len(methods))])
    return [
        Measured(
            imputation=kind,
            methods=tuple(methods),
            orders=tuple(orders),
            fractions=np.array(counts) / (height * width),
            targets=targets,
            labels=labels.cpu().numpy(),
            probability=probability[:, i].astype(np.float64),
            logit=logit[:, i].astype(np.float64),
            prediction=prediction[:, i],
            degenerate=broken,
            seconds=seconds,
        )
        for i, kind in enumerate(imputations)
    ]


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

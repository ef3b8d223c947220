"""Percent pixels removed for one model: every method's maps, every order, read and summarised."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from fa_repro.attribution import METHODS, Context
from fa_repro.removal.curves import Readings, removal_readings, removed_counts
from fa_repro.removal.imputation import imputer
from fa_repro.removal.ranking import degenerate, rank_squares, square_means, tie_break


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
) -> list[Measured]:
    """Run the benchmark; every map is made and ranked once, whatever the number of imputations.

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

    Returns:
        One for each imputation.

    """
    n, _, height, width = images.shape
    counts = removed_counts(fractions, height * width, unit**2)
    ties = tie_break(height * width // unit**2, context.seed)
    context = replace(context, colour=mean.to(images.device), pool=images)
    seconds = np.zeros(len(methods))
    batches: list[list[list[Readings]]] = []  # by batch, imputation, and method x order
    targets, broken = [], []
    for rows in torch.arange(n).split(context.batch_size):
        batch = images[rows.to(images.device)].float() / 255
        there = replace(context, rows=rows)
        chosen = choose_targets(model, batch, labels[rows.to(labels.device)], target)
        ranks, flat = [], []
        for m, method in enumerate(methods):
            began = time.perf_counter()
            maps = METHODS[method](model, batch, chosen, there)
            if maps.is_cuda:
                torch.cuda.synchronize(maps.device)
            seconds[m] += time.perf_counter() - began
            maps = square_means(maps, unit)
            flat.append(degenerate(maps))
            ranks += [rank_squares(maps, order, ties, unit) for order in orders]
        imputes = [imputer(batch, kind, mean, std, rows, n, context.seed) for kind in imputations]
        batches.append(removal_readings(model, batch, imputes, chosen, ranks, counts, tick))
        targets.append(chosen)
        broken.append(torch.stack(flat))

    def gather(imputation: int, field: str) -> np.ndarray:
        joined = torch.cat([torch.stack([getattr(r, field) for r in batch[imputation]]) for batch in batches], dim=2)
        return joined.unflatten(0, (len(methods), len(orders))).cpu().numpy()

    return [
        Measured(
            imputation=kind,
            methods=tuple(methods),
            orders=tuple(orders),
            fractions=np.array(counts) / (height * width),
            targets=torch.cat(targets).cpu().numpy(),
            labels=labels.cpu().numpy(),
            probability=gather(i, "probability").astype(np.float64),
            logit=gather(i, "logit").astype(np.float64),
            prediction=gather(i, "prediction"),
            degenerate=torch.cat(broken, dim=1).cpu().numpy(),
            seconds=seconds,
        )
        for i, kind in enumerate(imputations)
    ]


@torch.inference_mode()
def _predictions(model: nn.Module, images: Tensor) -> Tensor:
    return model(images).argmax(1)


def choose_targets(model: nn.Module, images: Tensor, labels: Tensor, target: str | int) -> Tensor:
    """Return the classes (N,) whose probability is watched; see `measure`."""
    if isinstance(target, int):
        return torch.full_like(labels, target)
    chosen = _predictions(model, images) if target == "predicted" else labels
    return chosen.clone()  # an inference tensor can't take part in Grad-CAM's graph


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

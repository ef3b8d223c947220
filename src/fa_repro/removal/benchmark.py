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
from fa_repro.removal.imputation import stand_in
from fa_repro.removal.ranking import degenerate, rank_pixels, tie_break


class Measured(NamedTuple):
    """Everything that was read, on the CPU; M methods, O orders, F fractions, N images."""

    methods: tuple[str, ...]
    orders: tuple[str, ...]
    fractions: np.ndarray  # (F,) pixels gone, as a share of all, after rounding to whole pixels
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
    imputation: str,
    target: str,
    mean: Tensor,
    std: Tensor,
    context: Context,
    tick: Callable[[int], object] = lambda images: None,
) -> Measured:
    """Run the benchmark.

    Args:
        model: in eval mode, on the images' device.
        images: (N,C,H,W) uint8.
        labels: (N,).
        methods: names of `fa_repro.attribution.METHODS`.
        orders: of ``morf`` and ``lerf``.
        fractions: ascending from 0 to 1.
        imputation: a kind of `fa_repro.removal.imputation.stand_in`.
        target: ``predicted`` (on the intact image) or ``label``.
        mean: (C,) of the training set, in [0,1]; the removal value.
        std: (C,) likewise.
        context: settings of the methods; pool and rows are filled in here.
        tick: told how many images have been read.

    """
    n, _, height, width = images.shape
    counts = removed_counts(fractions, height * width)
    ties = tie_break(height * width, context.seed)
    context = replace(context, colour=mean.to(images.device), pool=images)
    seconds = np.zeros(len(methods))
    batches: list[list[list[Readings]]] = []
    targets, broken = [], []
    for rows in torch.arange(n).split(context.batch_size):
        batch = images[rows.to(images.device)].float() / 255
        there = replace(context, rows=rows)
        truth = labels[rows.to(labels.device)]
        with torch.inference_mode():
            chosen = model(batch).argmax(1) if target == "predicted" else truth
        chosen = chosen.clone()  # an inference tensor can't take part in Grad-CAM's graph
        ranks, flat = [], []
        for m, method in enumerate(methods):
            began = time.perf_counter()
            maps = METHODS[method](model, batch, chosen, there)
            if maps.is_cuda:
                torch.cuda.synchronize(maps.device)
            seconds[m] += time.perf_counter() - began
            flat.append(degenerate(maps))
            ranks += [rank_pixels(maps, order, ties) for order in orders]
        instead = stand_in(batch, imputation, mean, std, rows, n, context.seed)
        read = removal_readings(model, batch, instead, chosen, ranks, counts, tick)
        batches.append([read[i : i + len(orders)] for i in range(0, len(read), len(orders))])
        targets.append(chosen)
        broken.append(torch.stack(flat))

    def gather(field: str) -> np.ndarray:
        joined = [torch.stack([torch.stack([getattr(r, field) for r in by_order]) for by_order in b]) for b in batches]
        return torch.cat(joined, dim=3).cpu().numpy()

    return Measured(
        methods=tuple(methods),
        orders=tuple(orders),
        fractions=np.array(counts) / (height * width),
        targets=torch.cat(targets).cpu().numpy(),
        labels=labels.cpu().numpy(),
        probability=gather("probability").astype(np.float64),
        logit=gather("logit").astype(np.float64),
        prediction=gather("prediction"),
        degenerate=torch.cat(broken, dim=1).cpu().numpy(),
        seconds=seconds,
    )


def per_image_table(measured: Measured, rows: np.ndarray, imputation: str) -> pd.DataFrame:
    """Return one line for each image, method, order and fraction; ``rows`` (N,): places in the data set."""
    shape = measured.probability.shape
    m, o, f, i = (index.ravel() for index in np.indices(shape))
    return pd.DataFrame(
        {
            "image": rows[i],
            "method": np.array(measured.methods)[m],
            "order": np.array(measured.orders)[o],
            "imputation": imputation,
            "fraction": measured.fractions[f].round(6),
            "target": measured.targets[i],
            "target_probability": measured.probability.ravel().round(6),
            "target_logit": measured.logit.ravel().round(5),
            "kept": measured.kept.ravel().astype(int),
            "correct": (measured.prediction == measured.labels).ravel().astype(int),
        }
    )

"""Percent pixels removed for one model: every method's maps, every order, read and summarised.

A batch is done with before the next begins, and a method before the next: on the device lie the images (uint8), one
batch of them with its stand-ins, and one method's maps and ranks.
"""

import gzip
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import IO, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from fa_repro.attribution import METHODS, PATCHWISE, Context
from fa_repro.attribution.batches import take
from fa_repro.attribution.degenerate import is_degenerate
from fa_repro.attribution.targets import targets_of
from fa_repro.progress import Keep, Part
from fa_repro.removal.curves import Ends, Readings, read_ends, removal_readings, removed_counts
from fa_repro.removal.imputation import Impute, imputer
from fa_repro.removal.ranking import patch_means, rank_patches, tie_break
from fa_repro.removal.reader import Reader


class ReadingError(NamedTuple):
    """What reading in bf16 does to the target's probability, over ``n`` readings of one batch."""

    largest: float
    mean: float
    n: int


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
    fractions: np.ndarray  # (F,) pixels gone, as a share of all, after rounding to whole pixels or patches
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
    reader: Reader | None = None,
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
        unit: side in pixels of the patches that go together, 1 for single pixels; must divide height and width.
        mean: (C,) of the training set, in [0,1]; the removal value.
        std: (C,) likewise.
        context: settings of the methods; pool and rows are filled in here.
        tick: told how many images have been read.
        reader: of the model; None: one in fp32. Targets and maps are fp32's in any case.
        keep: of `fa_repro.progress.Progress`; parts that it has are not measured again.

    Returns:
        One for each imputation.

    """
    n, _, height, width = images.shape
    counts = removed_counts(fractions, height * width, unit**2)
    ties = tie_break(height * width // unit**2, context.seed)
    context = replace(context, colour=mean.to(images.device))
    reads = Reader(model, images[: context.batch_size].float() / 255) if reader is None else reader
    # The memory format was chosen by a stopwatch, and rounds otherwise: a run that goes on keeps the first choice.
    laid = keep("memory format", lambda: {"channels_last": torch.tensor(reads.memory_format == torch.channels_last)})
    reads.lay_out(torch.channels_last if bool(laid["channels_last"]) else torch.contiguous_format)
    in_fp32 = reads.in_fp32()
    places = torch.arange(n).split(context.batch_size)  # of each batch

    @lru_cache(maxsize=1)  # made when the first method asks for it: of a batch whose parts are all kept, none does
    def shared(b: int) -> _Shared:
        rows, batch, there = take(images, places[b], context)
        logits = reads(batch)
        # What is explained is the model's own prediction: in bf16 the readings are rounded, never the targets.
        exact = logits if reads.precision == torch.float32 or target != "predicted" else in_fp32(batch)
        chosen = targets_of(exact.argmax(1), labels[rows], target)
        imputes = [imputer(batch, kind, mean, std, places[b], n, context.seed) for kind in imputations]
        ends = read_ends(reads, batch, imputes, chosen, logits)
        tick(len(batch) * (1 + len(imputes)))
        return _Shared(batch, there, chosen, imputes, ends)

    def find(b: int, method: str) -> Part:
        batch, there, chosen, imputes, ends = shared(b)
        began = time.perf_counter()
        maps = METHODS[method](in_fp32 if method in PATCHWISE else model, batch, chosen, there)
        if maps.is_cuda:
            torch.cuda.synchronize(maps.device)
        seconds = time.perf_counter() - began
        maps = patch_means(maps, unit)
        ranks = [rank_patches(maps, order, ties, unit) for order in orders]
        read = removal_readings(reads, batch, imputes, chosen, ranks, counts, tick, ends)  # by imputation and order
        found = {f: torch.stack([torch.stack([getattr(r, f) for r in one]) for one in read]) for f in Readings._fields}
        of_maps = {"degenerate": is_degenerate(maps), "seconds": torch.tensor(seconds, dtype=torch.float64)}
        part = {**found, "targets": chosen, **of_maps}
        if reads.precision != torch.float32 and b == 0 and method == methods[0]:
            exact = removal_readings(in_fp32, batch, imputes, chosen, ranks, counts)
            errors = [_error(one, other) for one, other in zip(read, exact, strict=True)]
            part["error"] = torch.tensor(errors, dtype=torch.float64)
        return part

    parts = [[keep(f"{method} {b}", partial(find, b, method)) for method in methods] for b in range(len(places))]

    def gather(field: str) -> np.ndarray:
        """Join the methods and the batches: (M,...,N)."""
        return torch.stack(
            [torch.cat([batch[m][field].cpu() for batch in parts], dim=-1) for m in range(len(methods))]
        ).numpy()

    probability, logit, prediction = (gather(field) for field in Readings._fields)  # (M,I,O,F,N)
    targets, broken = gather("targets")[0], gather("degenerate")
    errors = (
        [ReadingError(e[0], e[1], int(e[2])) for e in parts[0][0]["error"].tolist()] if "error" in parts[0][0] else None
    )
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
            error=errors[i] if errors else None,
        )
        for i, kind in enumerate(imputations)
    ]


def _error(found: list[Readings], exact: list[Readings]) -> ReadingError:
    pairs = zip(found, exact, strict=True)
    off = torch.stack([(one.probability - other.probability).abs() for one, other in pairs])
    return ReadingError(float(off.max()), float(off.mean()), off.numel())


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

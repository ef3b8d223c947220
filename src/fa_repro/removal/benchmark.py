"""Percent pixels removed for one model: every method's maps, every order, read.

A batch is done with before the next begins, and a method before the next: on the device lie the images (uint8), one
batch of them with its stand-ins, and one method's maps and ranks.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fa_repro.attribution import METHODS, Context, asked
from fa_repro.attribution.batches import take
from fa_repro.attribution.degenerate import is_degenerate
from fa_repro.attribution.targets import targets_of
from fa_repro.progress import Keep, Part
from fa_repro.reader import Reader
from fa_repro.removal.curves import Ends, Readings, read_ends, removal_readings, removed_counts
from fa_repro.removal.imputation import Impute, imputer
from fa_repro.removal.measured import Measured, ReadingError
from fa_repro.removal.ranking import tie_break
from fa_repro.removal.units import PIXELS, Partition, Units

MEMORY_FORMAT = "memory format"  # the name of the part that keeps which one was chosen


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
    units: Units = PIXELS,
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
        units: what goes at a time.
        mean: (C,) of the training set, in [0,1]; the removal value, of the methods that hide patches too.
        std: (C,) likewise.
        context: settings of the methods; colour, pool and rows are filled in here.
        tick: told how many images have been read.
        reader: of the model; None: one in fp32. Targets and maps are fp32's in any case.
        keep: of `fa_repro.progress.Progress`; parts that it has are not measured again.

    Returns:
        One for each imputation.

    Raises:
        ValueError: an unknown imputation or order.
        InputError: a method can't be had (captum is not installed).

    """
    n, _, height, width = images.shape
    context = replace(context, colour=mean.to(images.device))
    reads = Reader(model, images[: context.batch_size].float() / 255) if reader is None else reader
    # The memory format was chosen by a stopwatch, and rounds otherwise: a run that goes on keeps the first choice.
    chosen = keep(MEMORY_FORMAT, lambda: {"channels_last": torch.tensor(reads.memory_format == torch.channels_last)})
    reads.lay_out(torch.channels_last if bool(chosen["channels_last"]) else torch.contiguous_format)
    counts = removed_counts(fractions, height * width, units.step)

    def imputes_of(batch: Tensor, rows: Tensor) -> list[Impute]:
        return [imputer(batch, kind, mean, std, rows, n, context.seed) for kind in imputations]

    protocol = _Protocol(
        model=model,
        reads=reads,
        orders=orders,
        counts=counts,
        ties=tie_break(units.places(height * width), context.seed),
        units=units,
        target=target,
        n_imputations=len(imputations),
        imputes_of=imputes_of,
        tick=tick,
    )
    parts = []  # by batch and method
    for b, rows in enumerate(torch.arange(n).split(context.batch_size)):
        batch = _Batch(protocol, images, labels, rows, context)
        checked = methods[0] if b == 0 else None  # where bf16 is held against fp32
        parts.append([keep(f"{m} {b}", partial(batch.part, m, check=m == checked)) for m in methods])
        if not batch.was_read:
            tick(batch.end_points)  # an earlier start has read them
    probability, logit, prediction = (_gather(parts, field) for field in Readings._fields)  # (M,I,O,F,N)
    error = parts[0][0].get("error")
    seconds = np.array([sum(float(part["seconds"]) for part in of_method) for of_method in zip(*parts, strict=True)])
    return [
        Measured(
            imputation=kind,
            methods=tuple(methods),
            orders=tuple(orders),
            fractions=np.array(counts) / (height * width),
            targets=_gather(parts, "targets")[0],
            labels=labels.cpu().numpy(),
            probability=probability[:, i].astype(np.float64),
            logit=logit[:, i].astype(np.float64),
            prediction=prediction[:, i],
            degenerate=_gather(parts, "degenerate"),
            seconds=seconds,
            error=None if error is None else ReadingError(float(error[i, 0]), float(error[i, 1]), int(error[i, 2])),
        )
        for i, kind in enumerate(imputations)
    ]


def readings_of_an_image(
    n_pixels: int, *, methods: int, orders: int, fractions: Sequence[float], imputations: int, step: int = 1
) -> int:
    """Return how often `measure` reads an image of ``n_pixels``; ``step``: of the units; the others are counts."""
    steps = len(removed_counts(fractions, n_pixels, step)) - 2  # the end points are read once for all
    return 1 + imputations * (1 + methods * orders * steps)


def images_read(parts: Iterable[Part]) -> int:
    """Return how many images were read for ``parts`` that `measure` has kept, end points apart."""
    between = [part["probability"][:, :, 1:-1] for part in parts if "probability" in part]
    return sum(readings.numel() for readings in between)


@dataclass(frozen=True)
class _Protocol:
    """What is done to every batch."""

    model: nn.Module
    reads: Reader
    orders: Sequence[str]
    counts: Sequence[int]  # removed pixels at each step, from 0 to all
    ties: Tensor  # of `tie_break`
    units: Units
    target: str | int
    n_imputations: int
    imputes_of: Callable[[Tensor, Tensor], list[Impute]]  # a batch and its rows, to an entry for each imputation
    tick: Callable[[int], object]


class _Shared(NamedTuple):
    """What all methods take of a batch."""

    images: Tensor  # (N,C,H,W) in [0,1]
    context: Context
    targets: Tensor  # (N,)
    partition: Partition
    imputes: list[Impute]
    ends: Ends


class _Batch:
    """One batch of images, read when the first method asks for it: of one whose parts are all kept, none does.

    Attributes:
        end_points: how many images are read for the end points: the intact ones, and without a pixel left once for
            each imputation.

    """

    def __init__(self, protocol: _Protocol, images: Tensor, labels: Tensor, rows: Tensor, context: Context) -> None:
        self._protocol, self._images, self._labels, self._rows, self._context = protocol, images, labels, rows, context
        self._made: _Shared | None = None
        self.end_points = len(rows) * (1 + protocol.n_imputations)

    @property
    def was_read(self) -> bool:
        """Whether a method has asked for it."""
        return self._made is not None

    def _shared(self) -> _Shared:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> _Shared:
        by = self._protocol
        rows, batch, context = take(self._images, self._rows, self._context)
        logits = by.reads(batch)
        # What is explained is the model's own prediction: in bf16 the readings are rounded, never the targets.
        exact = logits if by.reads.precision == torch.float32 or by.target != "predicted" else by.reads.in_fp32()(batch)
        targets = targets_of(exact.argmax(1), self._labels[rows], by.target)
        imputes = by.imputes_of(batch, self._rows)
        ends = read_ends(by.reads, batch, imputes, targets, logits)
        by.tick(self.end_points)
        return _Shared(batch, context, targets, by.units.of(batch), imputes, ends)

    def part(self, method: str, check: bool) -> Part:
        """Measure one method: its maps, ranked, read in every order under every imputation.

        Args:
            method: a name of `fa_repro.attribution.METHODS`.
            check: whether readings in bf16 are made in fp32, too, for their error.

        Returns:
            The fields of `Readings`, (I,O,F,N); ``targets`` and ``degenerate`` (N,); ``seconds``; of a check ``error``
            (I,3).

        """
        by, (batch, context, targets, partition, imputes, ends) = self._protocol, self._shared()
        if batch.is_cuda:
            torch.cuda.synchronize(batch.device)  # what was asked of the device before is not this method's time
        began = time.perf_counter()
        maps = METHODS[method](asked(method, by.model, by.reads.in_fp32()), batch, targets, context)
        if maps.is_cuda:
            torch.cuda.synchronize(maps.device)
        seconds = time.perf_counter() - began
        maps = partition.means(maps)
        ranks = [partition.ranks(maps, order, by.ties) for order in by.orders]
        found = removal_readings(by.reads, batch, imputes, targets, ranks, by.counts, by.tick, ends)
        part = {
            field: torch.stack([torch.stack([getattr(readings, field) for readings in each]) for each in found])
            for field in Readings._fields
        }
        part |= {"targets": targets, "degenerate": is_degenerate(maps)}
        part["seconds"] = torch.tensor(seconds, dtype=torch.float64)
        if check and by.reads.precision != torch.float32:
            exact = removal_readings(by.reads.in_fp32(), batch, imputes, targets, ranks, by.counts)
            errors = [_error(one, other) for one, other in zip(found, exact, strict=True)]
            part["error"] = torch.tensor(errors, dtype=torch.float64)
        return part


def _gather(parts: Sequence[Sequence[Part]], field: str) -> np.ndarray:
    """Join a field of all parts, by batch and method, on the CPU: (M,...,N)."""
    by_method = zip(*parts, strict=True)
    return torch.stack([torch.cat([part[field].cpu() for part in each], dim=-1) for each in by_method]).numpy()


def _error(found: list[Readings], exact: list[Readings]) -> ReadingError:
    pairs = zip(found, exact, strict=True)
    off = torch.stack([(one.probability - other.probability).abs() for one, other in pairs])
    return ReadingError(float(off.max()), float(off.mean()), off.numel())

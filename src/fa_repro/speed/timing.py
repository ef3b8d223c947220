"""Contenders run in turns, so that whatever the machine does falls on all; what counts are ratios within a round."""

import operator
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from fa_repro.speed.contention import Contention


class Contender(NamedTuple):
    """One way to do the work: ``run`` does it once and returns how many images that was."""

    name: str
    run: Callable[[], int]
    crowded: bool = False  # by processes of its own, which compete with it for the cores


class Comparison(NamedTuple):
    """The ratio of two contenders' images per second, and the limit that it is held against.

    Attributes:
        words: what is compared, for the reader.
        above: contender in the numerator.
        below: contender in the denominator.
        sense: ``>=`` or ``<=``.
        limit: of the ratio; None: reported alone.

    """

    words: str
    above: str
    below: str
    sense: str = ">="
    limit: float | None = None


def interleave(
    contenders: Sequence[Contender],
    rounds: int,
    device: torch.device,
    tick: Callable[[str], object] = lambda name: None,
    clock: Callable[[], float] = time.perf_counter,
    contention: Contention | None = None,
) -> pd.DataFrame:
    """Run every contender once unmeasured, then all of them in turn, ``rounds`` times, every other time backwards.

    So nobody runs always after the same one, with what that left in the caches.

    Args:
        contenders: with names of their own.
        rounds: measured runs of each.
        device: whose queued work belongs to the run that queued it.
        tick: told whose run has just ended.
        clock: in seconds.
        contention: told of every measured run that nobody but strangers can have disturbed.

    Returns:
        Images per second: a line for each round, a column for each contender.

    """
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for turn in range(rounds + 1):
        for contender in contenders if turn % 2 == 0 else reversed(contenders):
            _wait(device)
            watched = contention if contention is not None and turn > 0 and not contender.crowded else nullcontext()
            with watched:
                began = clock()
                images = contender.run()
                _wait(device)
                if turn > 0:  # the first is the warm-up: caches, worker processes, the choice of kernels
                    rates[contender.name].append(images / (clock() - began))
            tick(contender.name)
    return pd.DataFrame(rates)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate_table(rates: pd.DataFrame) -> pd.DataFrame:
    """Return each contender's median images per second with the smallest and largest of its rounds."""
    return pd.DataFrame(
        {
            "contender": rates.columns,
            "images_per_second": rates.median().to_numpy(),
            "low": rates.min().to_numpy(),
            "high": rates.max().to_numpy(),
            "rounds": len(rates),
        }
    )


def ratio_table(rates: pd.DataFrame, comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Return each comparison's median ratio over the rounds, its range, and whether it keeps its limit.

    Columns: ``comparison,above,below,ratio,low,high,sense,limit,met``; ``met`` is None without a limit. A ratio is
    taken within a round, between runs that were neighbours in time. Comparisons of absent contenders are left out.
    """
    lines = []
    for comparison in comparisons:
        if not {comparison.above, comparison.below} <= set(rates.columns):
            continue
        ratios = (rates[comparison.above] / rates[comparison.below]).to_numpy()
        ratio = float(np.median(ratios))
        keeps = {">=": operator.ge, "<=": operator.le}[comparison.sense]
        lines.append(
            {
                "comparison": comparison.words,
                "above": comparison.above,
                "below": comparison.below,
                "ratio": ratio,
                "low": float(ratios.min()),
                "high": float(ratios.max()),
                "sense": comparison.sense,
                "limit": comparison.limit,
                "met": None if comparison.limit is None else bool(keeps(ratio, comparison.limit)),
            }
        )
    columns = ["comparison", "above", "below", "ratio", "low", "high", "sense", "limit", "met"]
    return pd.DataFrame(lines, columns=columns)

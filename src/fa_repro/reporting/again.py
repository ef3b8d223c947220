"""Trainings that were made more than once, by one config and seed: does a row's result come out again?

Runs NAME and NAME-ANYTHING of ``results=RESULTS/again/GROUP`` are held against NAME of ``RESULTS/GROUP``.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from scipy import stats

from fa_repro.reporting.collect import Group, Run, short_device
from fa_repro.tables import markdown_table
from fa_repro.training.recipe import recipe

FOLDER = "again"
# A result has come out again if it lies no further from the mean of the row's trainings than so many standard
# deviations of them.
DEVIATIONS = 2.0


class Pair(NamedTuple):
    """A training, and one by the same words.

    Attributes:
        group: of the row.
        first: the row's run.
        second: the run by the same words.
        row: top-1 of all the row's trainings, in percent.

    """

    group: str
    first: Run
    second: Run
    row: Sequence[float]

    @property
    def off(self) -> float | None:
        """How many of the row's standard deviations the second result lies from its mean; None of one training."""
        if len(self.row) < 2:
            return None
        off, spread = abs(top1(self.second) - statistics.mean(self.row)), statistics.stdev(self.row)
        return off / spread if spread else math.inf if off else 0.0

    @property
    def came_out(self) -> bool | None:
        """Whether the second result lies within `DEVIATIONS` of the row's; None where one training tells no spread."""
        return None if self.off is None else self.off <= DEVIATIONS

    @property
    def chance(self) -> float | None:
        """How often another training of the same distribution, a normal one, lies beyond; None as above.

        From the prediction interval: it differs from the mean of n by t of n - 1 degrees of freedom times s √(1 + 1/n).
        """
        n = len(self.row)
        return None if n < 2 else 2 * float(stats.t.sf(DEVIATIONS / math.sqrt(1 + 1 / n), n - 1))


def top1(run: Run) -> float:
    """Return a training's top-1 on the test images, in percent."""
    return 100 * float(run.json("metrics.json")["top1"])


def is_again(group: Group) -> bool:
    """Whether a group's runs are second ones."""
    return group.name.split("/")[0] == FOLDER


def pairs(found: Sequence[Group]) -> Iterator[Pair]:
    """Yield every second training beside the first by the same words; one without a first says nothing."""
    groups = {group.name: group for group in found}
    for again in filter(is_again, found):
        name = again.name.partition("/")[2]
        networks = groups[name].networks if name in groups else {}
        known = {run.name: (run, runs) for runs in networks.values() for run in runs}
        for second in (run for runs in again.networks.values() for run in runs):
            # The longest name first: fa_cnn-seed1-xeon is of fa_cnn-seed1, where there is one.
            for first, row in (known[first] for first in sorted(known, key=len, reverse=True)):
                if f"{second.name}-".startswith(f"{first.name}-") and _words(first) == _words(second):
                    yield Pair(name, first, second, [top1(run) for run in row])
                    break


def _words(run: Run) -> tuple[Any, ...]:
    """Return what both runs of a pair must share: network, recipe, seed and images."""
    data = {key: run.config.get("data", {}).get(key) for key in ("name", "n_train", "n_test", "image_size", "seed")}
    return run.config.get("model"), recipe(run.config.get("trainer", {})), run.config.get("seed"), data


def again_table(found: Sequence[Group]) -> str:
    """Return the table of all `pairs`; empty if there is none."""
    rows = []
    for pair in pairs(found):
        mean, spread = statistics.mean(pair.row), statistics.stdev(pair.row) if len(pair.row) > 1 else None
        rows.append(
            [
                pair.group,
                f"`{pair.first.name}`",
                *(f"{top1(run):.2f} ({_where(run)})" for run in (pair.first, pair.second)),
                f"{mean:.2f}" + ("" if spread is None else f" ± {spread:.2f} ({len(pair.row)})"),
                "–" if pair.off is None else f"{'yes' if pair.came_out else '**no**'} ({pair.off:.1f})",
                "–" if pair.chance is None else f"{pair.chance:.0%}".replace("%", " %"),
            ]
        )
    header = [
        "trained as",
        "run",
        "top-1 [%]",
        "again",
        "the row",
        f"within {DEVIATIONS:g} deviations",
        "beyond by chance",
    ]
    return markdown_table(header, rows) if rows else ""


def _where(run: Run) -> str:
    """Return a run's processor and arithmetic, in words."""
    told = run.json("metrics.json")
    compiled = ["compiled"] if told.get("compiled") else []
    return ", ".join([short_device(run.provenance["device"]), told["precision"], *compiled])

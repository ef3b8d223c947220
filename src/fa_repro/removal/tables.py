"""The tables of percent pixels removed: curves, a line for each method and order, the LeRF - MoRF area, the shift."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from fa_repro.attribution import CONTROLS, reference_of
from fa_repro.removal.areas import area, percent_until_flip
from fa_repro.removal.measured import Measured, pooled
from fa_repro.statistics import UNKNOWN, Bootstrap, paired, won
from fa_repro.tables import columns

# The figures whose spread over seeds is told.
_SPREAD = (
    "target_probability", "kept", "accuracy", "auc_probability", "auc_kept", "flip_percent_median", "flip_percent_mean",
    "auc_minus_reference", "auc_won", "lerf_minus_morf", "minus_reference", "won", "share_of_occlusion",
)  # fmt: skip
SHIFT_FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)  # at which removal at random is judged, or the nearest measured


def curves_table(measured: Measured, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return the mean target probability, the share kept and the share correct at every fraction, with intervals."""
    lines = []
    correct = measured.prediction == measured.labels
    for m, method in enumerate(measured.methods):
        for o, order in enumerate(measured.orders):
            figures: dict[str, object] = {"method": method, "order": order, "imputation": measured.imputation}
            figures["fraction"] = measured.fractions
            for name, values in (
                ("target_probability", measured.probability[m, o]),
                ("kept", measured.kept[m, o].astype(float)),
                ("accuracy", correct[m, o].astype(float)),
            ):
                ends = (name, f"{name}_low", f"{name}_high")
                figures |= dict(zip(ends, bootstrap.mean(values.T), strict=True))
            lines.append(pd.DataFrame(figures | {"n": measured.n}))
    return pd.concat(lines, ignore_index=True)


def summary_table(measured: Measured, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return one line for each method and order: areas, percent until the flip, degenerate maps, seconds.

    ``auc_minus_reference`` is the paired difference of ``auc_probability`` from the reference's (`reference_of`) in the
    same order, ``auc_won`` the share of images on which it is the better one: the smaller under MoRF, the larger under
    LeRF; equal is half won.
    """
    lines = []
    reference = measured.methods.index(reference_of(measured.methods))
    areas = area(np.moveaxis(measured.probability, 2, 0), measured.fractions)  # (M,O,N)
    for m, method in enumerate(measured.methods):
        for o, order in enumerate(measured.orders):
            flips = percent_until_flip(measured.kept[m, o], measured.fractions)
            ahead = paired(areas[m, o], areas[reference, o])
            better = ahead if order == "lerf" else -ahead
            lines.append(
                {"method": method, "order": order, "imputation": measured.imputation, "n": measured.n}
                | columns("auc_probability", bootstrap.interval(areas[m, o]))
                | columns("auc_minus_reference", bootstrap.interval(ahead))
                | columns("auc_won", bootstrap.interval(won(better)) if m != reference else UNKNOWN)
                | columns(
                    "auc_kept",
                    bootstrap.interval(area(measured.kept[m, o].astype(float), measured.fractions)),
                )
                | columns("flip_percent_median", bootstrap.median(flips))
                | columns("flip_percent_mean", bootstrap.interval(flips))
                | {
                    "degenerate_maps": int(measured.degenerate[m].sum()),
                    "seconds": float(measured.seconds[m]),
                }
            )
    return pd.DataFrame(lines)


def difference_table(measured: Measured, bootstrap: Bootstrap) -> pd.DataFrame | None:
    """Return the LeRF - MoRF area of each method, and how it compares on the same images.

    Columns: ``lerf_minus_morf`` (area under the target probability, LeRF minus MoRF: the larger, the better the order),
    ``minus_reference`` (paired difference from ``feature_map``, or from the first method where the model has none),
    ``won`` (share of images on which it is larger than the reference's; equal is half won), ``share_of_occlusion``, and
    ``minus_CONTROL``, the paired difference from each control; each figure with its interval. None without both orders.
    """
    if set(measured.orders) != {"morf", "lerf"}:
        return None
    morf, lerf = measured.orders.index("morf"), measured.orders.index("lerf")
    areas = {
        method: area(measured.probability[m, lerf], measured.fractions)
        - area(measured.probability[m, morf], measured.fractions)
        for m, method in enumerate(measured.methods)
    }
    reference = reference_of(measured.methods)
    lines = []
    for method, values in areas.items():
        line: dict[str, object] = {"method": method, "imputation": measured.imputation}
        line |= {"control": method in CONTROLS, "n": measured.n}
        line |= columns("lerf_minus_morf", bootstrap.interval(values))
        line |= {"reference": reference}
        ahead = paired(values, areas[reference])
        line |= columns("minus_reference", bootstrap.interval(ahead))
        line |= columns("won", bootstrap.interval(won(ahead)) if method != reference else UNKNOWN)
        if "occlusion" in areas:
            line |= columns("share_of_occlusion", bootstrap.ratio(values, areas["occlusion"]))
        for control in (name for name in CONTROLS if name in areas):
            line |= columns(f"minus_{control}", bootstrap.interval(values - areas[control]))
        lines.append(line)
    return pd.DataFrame(lines).sort_values("lerf_minus_morf", ascending=False, ignore_index=True)


def shift_table(measured: Measured, bootstrap: Bootstrap) -> pd.DataFrame | None:
    """Return what removal costs that knows nothing of the image: accuracy under the `random` control.

    Columns: ``fraction`` gone, ``accuracy`` (over both orders, of which one is as random as the other), ``lost``
    (paired difference from the intact images), each with its interval. None without the control, or if no fraction lies
    between the end points.
    """
    if "random" not in measured.methods:
        return None
    correct = (measured.prediction[measured.methods.index("random")] == measured.labels).mean(0)  # (F,N)
    inner = np.arange(1, len(measured.fractions) - 1)
    if not len(inner):
        return None
    nearest = [inner[np.abs(measured.fractions[inner] - f).argmin()] for f in SHIFT_FRACTIONS]
    lines = [
        {"imputation": measured.imputation, "fraction": measured.fractions[f]}
        | columns("accuracy", bootstrap.interval(correct[f]))
        | columns("lost", bootstrap.interval(correct[0] - correct[f]))
        for f in dict.fromkeys([0, *nearest])
    ]
    return pd.DataFrame(lines)


class Tables(NamedTuple):
    """The tables of a benchmark, every imputation in each."""

    curves: pd.DataFrame
    summary: pd.DataFrame
    differences: pd.DataFrame | None
    shifts: pd.DataFrame | None
    by_seed: dict[str, pd.DataFrame]  # of several trainings, the first three of each alone; else empty

    def files(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the tables that are written as files, with their names."""
        for name in ("curves", "summary", "differences", "shifts"):
            table = getattr(self, name)
            if table is not None:
                yield f"{name}.csv", table
        for name, table in self.by_seed.items():
            yield f"{name}_by_seed.csv", table


def tabulate(found: Sequence[Sequence[Measured]], seeds: Sequence[int], resamples: int, seed: int) -> Tables:
    """Make all tables.

    Args:
        found: by training and imputation.
        seeds: of the trainings.
        resamples: of each interval.
        seed: of the resamples.

    """
    makers = {"curves": curves_table, "summary": summary_table, "differences": difference_table, "shifts": shift_table}
    together = [pooled(trainings) for trainings in zip(*found, strict=True)]
    bootstrap = Bootstrap(together[0].n, resamples, seed, len(seeds))
    tables = {name: _joined([make(one, bootstrap) for one in together]) for name, make in makers.items()}
    by_seed = {}
    if len(seeds) > 1:
        alone = Bootstrap(together[0].n, resamples, seed)
        for name in ("curves", "summary", "differences"):
            whole = tables[name]
            if whole is None:
                continue
            of_each = [_joined([makers[name](one, alone) for one in measured]) for measured in found]
            apart = [table.assign(seed=s) for s, table in zip(seeds, of_each, strict=True) if table is not None]
            by_seed[name] = pd.concat(apart, ignore_index=True)
            tables[name] = with_spread(whole, by_seed[name])
    curves, summary, differences, shifts = tables.values()
    assert curves is not None and summary is not None
    return Tables(curves, summary, differences, shifts, by_seed)


def of_imputation(table: pd.DataFrame | None, imputation: str) -> pd.DataFrame | None:
    """Return the lines of one imputation; None if there are none."""
    part = table[table.imputation == imputation] if table is not None else None
    return part if part is not None and len(part) else None


def _joined(tables: Sequence[pd.DataFrame | None]) -> pd.DataFrame | None:
    found = [table for table in tables if table is not None]
    return pd.concat(found, ignore_index=True) if found else None


def with_spread(table: pd.DataFrame, by_seed: pd.DataFrame) -> pd.DataFrame:
    """Return ``table`` with the spread of its figures over seeds.

    Args:
        table: of several trainings together, one of those above.
        by_seed: the same table of each training alone, one under the other, with the column ``seed``.

    Returns:
        ``table`` with ``seeds``, how many there are, and ``FIGURE_sd``, the standard deviation over seeds (of a sample)
        of each figure.

    """
    keys = [name for name in ("method", "order", "imputation", "fraction") if name in table]
    figures = [name for name in _SPREAD if name in table]
    spread = by_seed.groupby(keys, sort=False)[figures].std(ddof=1).add_suffix("_sd").reset_index()
    return table.assign(seeds=by_seed.seed.nunique()).merge(spread, on=keys, validate="one_to_one")

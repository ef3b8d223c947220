"""The tables of percent pixels removed: curves, one line for each method and order, the LeRF - MoRF area, the page."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from fa_repro.attribution import CONTROLS
from fa_repro.removal.benchmark import Measured, pooled
from fa_repro.removal.statistics import area, percent_until_flip
from fa_repro.statistics import Bootstrap, Interval
from fa_repro.tables import cell, columns, markdown_table

# The figures whose spread over seeds is told.
_SPREAD = (
    "target_probability", "kept", "accuracy", "auc_probability", "auc_kept", "flip_percent_median", "flip_percent_mean",
    "lerf_minus_morf", "minus_reference", "won", "share_of_occlusion",
)  # fmt: skip
EQUAL = 1e-6  # areas so near are equal: one map times a constant, as class map and Grad-CAM are, rounds differently
# What a control may be ahead in beside MoRF's area and LeRF - MoRF: a column of an order, and whether larger is better.
_COLUMNS = {
    "LeRF area": ("lerf", "auc_probability", True),
    "MoRF area of images kept": ("morf", "auc_kept", False),
    "LeRF area of images kept": ("lerf", "auc_kept", True),
    "MoRF flip": ("morf", "flip_percent_mean", False),
    "LeRF flip": ("lerf", "flip_percent_mean", True),
}
FEW_SEEDS = 5  # below it, resampled seeds say little of the spread of all
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
    """Return one line for each method and order: areas, percent until the flip, degenerate maps, seconds."""
    lines = []
    for m, method in enumerate(measured.methods):
        for o, order in enumerate(measured.orders):
            flips = percent_until_flip(measured.kept[m, o], measured.fractions)
            lines.append(
                {"method": method, "order": order, "imputation": measured.imputation, "n": measured.n}
                | columns(
                    "auc_probability",
                    bootstrap.interval(area(measured.probability[m, o], measured.fractions)),
                )
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
    reference = "feature_map" if "feature_map" in areas else measured.methods[0]
    lines = []
    for method, values in areas.items():
        line: dict[str, object] = {"method": method, "imputation": measured.imputation}
        line |= {"control": method in CONTROLS, "n": measured.n}
        line |= columns("lerf_minus_morf", bootstrap.interval(values))
        line |= {"reference": reference}
        line |= columns("minus_reference", bootstrap.interval(values - areas[reference]))
        ahead = values - areas[reference]
        won = np.where(np.abs(ahead) < EQUAL, 0.5, ahead > 0)
        line |= columns("won", bootstrap.interval(won) if method != reference else Interval(*3 * [np.nan]))
        if "occlusion" in areas:
            line |= columns("share_of_occlusion", bootstrap.ratio(values, areas["occlusion"]))
        for control in (name for name in CONTROLS if name in areas):
            line |= columns(f"minus_{control}", bootstrap.interval(values - areas[control]))
        lines.append(line)
    return pd.DataFrame(lines).sort_values("lerf_minus_morf", ascending=False, ignore_index=True)


def shift_table(measured: Measured, bootstrap: Bootstrap) -> pd.DataFrame | None:
    """Return what removal costs that knows nothing of the image: accuracy under the `random` control.

    Columns: ``fraction`` gone, ``accuracy`` (over both orders, of which one is as random as the other), ``lost``
    (paired difference from the intact images), each with its interval. None without the control, or if nothing is lost
    beyond the interval at any fraction.
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
    table = pd.DataFrame(lines)
    return table if (table.lost_low > 0).any() else None


class Tables(NamedTuple):
    """The tables of a benchmark, every imputation in each."""

    curves: pd.DataFrame
    summary: pd.DataFrame
    differences: pd.DataFrame | None
    shifts: pd.DataFrame | None
    by_seed: dict[str, pd.DataFrame]  # of several trainings, the first three of each alone; else empty

    def warnings(self) -> dict[str, list[str]]:
        """Return `warnings` by imputation."""
        return {
            str(imputation): warnings(lines, _of(self.differences, str(imputation)))
            for imputation, lines in self.summary.groupby("imputation", sort=False)
        }

    def files(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the tables that are written as files, with their names."""
        for name in ("curves", "summary", "differences"):
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


def _of(table: pd.DataFrame | None, imputation: str) -> pd.DataFrame | None:
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


def warnings(summary: pd.DataFrame, differences: pd.DataFrame | None) -> list[str]:
    """Return what a reader must know before ranking methods by these tables."""
    found = [*_ahead_in_morf(summary)]
    if differences is not None:
        found += _not_beaten(differences)
    return [*found, *_ahead_elsewhere(summary), *_degenerate(summary)]


def _ahead_in_morf(summary: pd.DataFrame) -> Iterator[str]:
    morf = summary[summary.order == "morf"].set_index("method").auc_probability
    for control in (name for name in CONTROLS if name in morf.index):
        beaten = [name for name in morf.index if name not in CONTROLS and morf[control] < morf[name]]
        if beaten:
            yield (
                f"MoRF alone does not rank the methods here: the control `{control}` has a lower (better) area "
                f"({morf[control]:.3f}) than {', '.join(f'`{n}` ({morf[n]:.3f})' for n in beaten)}. "
                f"Holes that are foreign to the network hurt it, whatever they hid; read LeRF - MoRF."
            )


def _not_beaten(differences: pd.DataFrame) -> Iterator[str]:
    by_method = differences.set_index("method")
    for control in (name for name in CONTROLS if name in by_method.index):
        lows = by_method[f"minus_{control}_low"]
        unbeaten = [f"`{name}`" for name, low in lows.items() if name not in CONTROLS and not low > 0]
        if unbeaten:
            yield (
                f"The control `{control}` is not beaten in LeRF - MoRF, beyond the interval of the paired difference, "
                f"by {', '.join(unbeaten)}."
            )


def _ahead_elsewhere(summary: pd.DataFrame) -> Iterator[str]:
    for control in CONTROLS:
        ahead = []
        for words, (order, column, larger) in _COLUMNS.items():
            figures = summary[summary.order == order].set_index("method")[column]
            if control not in figures.index:
                continue
            lead = (figures[control] - figures) * (1 if larger else -1)
            beaten = [f"`{name}`" for name in figures.index if name not in CONTROLS and lead[name] > 0]
            if beaten:
                ahead.append(f"{words} ({', '.join(beaten)})")
        if ahead:
            yield f"The control `{control}` is ahead in other columns too: {'; '.join(ahead)}."


def _degenerate(summary: pd.DataFrame) -> Iterator[str]:
    broken = summary[summary.degenerate_maps > 0].drop_duplicates("method")
    for _, line in broken.iterrows():
        yield (
            f"`{line.method}`: {line.degenerate_maps} of {line.n * line.get('seeds', 1)} maps are degenerate (constant "
            f"or not a number) and order nothing; they went by the seeded tie-break."
        )


def precision_notes(measured: Sequence[Measured]) -> list[str]:
    """Return what reading in bf16 did to the target's probability, a line for each imputation; none in fp32."""
    return [
        f"Read in bf16: with removed pixels {one.imputation}, the target's probability is off from fp32's by "
        f"{one.error.largest:.1e} at most and {one.error.mean:.1e} on average, over {one.error.n} readings of one "
        f"batch (`{one.methods[0]}`, every order and fraction)."
        for one in measured
        if one.error is not None
    ]


def _difference_part(differences: pd.DataFrame) -> list[str]:
    reference = differences.reference.iloc[0]
    header = ["method", "LeRF − MoRF area", f"minus `{reference}`", "share of images won", "share of occlusion"]
    rows = []
    for _, line in differences.iterrows():
        same = line.method == line.reference
        rows.append(
            [
                f"`{line.method}`" + (" (control)" if line.control else ""),
                cell(line, "lerf_minus_morf", 3),
                "–" if same else cell(line, "minus_reference", 3),
                "–" if same else cell(line, "won", 2),
                cell(line, "share_of_occlusion", 2) if "share_of_occlusion" in line else "–",
            ]
        )
    return ["### LeRF − MoRF: the larger, the better the order", markdown_table(header, rows)]


def _method_part(summary: pd.DataFrame) -> list[str]:
    header = ["method", "order", "area, probability", "area, kept", "flip, median [%]", "flip, mean [%]"]
    header += ["degenerate", "seconds"]
    rows = [
        [
            f"`{line.method}`",
            str(line.order),
            cell(line, "auc_probability", 3),
            cell(line, "auc_kept", 3),
            cell(line, "flip_percent_median", 0),
            cell(line, "flip_percent_mean", 1),
            str(line.degenerate_maps),
            f"{line.seconds:.1f}",
        ]
        for _, line in summary.iterrows()
    ]
    return ["### By method and order", markdown_table(header, rows)]


def _seed_part(by_seed: pd.DataFrame) -> list[str]:
    """Return the figures of each seed, of `difference_table` or, without both orders, of `summary_table`."""
    both = "lerf_minus_morf" in by_seed
    figure, keys = ("lerf_minus_morf", ["method"]) if both else ("auc_probability", ["method", "order"])
    title = "LeRF − MoRF area" if both else "Area under the target probability"
    seeds = list(by_seed.seed.unique())
    rows = []
    for names, part in by_seed.groupby(keys, sort=False):
        values = part.set_index("seed")[figure]
        cells = [f"{values[seed]:.3f}" for seed in seeds] + [f"{values.mean():.3f}", f"{values.std(ddof=1):.3f}"]
        method, *order = map(str, names)
        rows.append([f"`{method}`", *order, *cells])
    note = f"{title} of each training alone; standard deviation of a sample of {len(seeds)}."
    if len(seeds) < FEW_SEEDS:
        # The variance of a mean over T resampled values is short of the factor (T - 1) / T.
        share = 1 - ((len(seeds) - 1) / len(seeds)) ** 0.5
        note += f" So few seeds make the seeds' part of every interval about {100 * share:.0f} % too narrow."
    header = [*keys, *(f"seed {seed}" for seed in seeds), "mean", "sd over seeds"]
    return ["### By seed", note, markdown_table(header, rows)]


def _shift_part(shifts: pd.DataFrame) -> list[str]:
    points = shifts.copy()
    shares = [name for name in shifts.columns if name.startswith(("accuracy", "lost"))]
    points[shares] *= 100
    rows = [
        [
            f"{100 * line.fraction:.0f}",
            cell(line, "accuracy", 1),
            cell(line, "lost", 1) if line.fraction > 0 else "–",
        ]
        for _, line in points.iterrows()
    ]
    return [
        "### What removal alone costs",
        "Removal in `random` order knows nothing of the image and costs accuracy all the same: some of what it hides "
        "was needed, and images with holes are not what the network was trained on. Every curve falls for the second "
        "reason, too: judge a method against `random` at the same fraction, not against the intact image.",
        markdown_table(["removed at random [%]", "top-1 [%]", "lost [points]"], rows),
    ]


def summary_markdown(
    title: str,
    conditions: str,
    summary: pd.DataFrame,
    differences: pd.DataFrame | None,
    shifts: pd.DataFrame | None,
    left_out: list[str],
    by_seed: dict[str, pd.DataFrame] | None = None,
) -> str:
    """Return the page ``summary.md``: conditions, for each imputation warnings and tables, and how to read them."""
    of_each = None if not by_seed else by_seed.get("differences", by_seed["summary"])

    parts = [f"# {title}", conditions]
    if left_out:
        parts.append("\n".join(f"- {note}" for note in left_out))
    for imputation in summary.imputation.unique():
        tables = (summary, differences, shifts, of_each)
        by_method, compared, shifted, apart = (_of(table, imputation) for table in tables)
        assert by_method is not None
        parts.append(f"## Removed pixels: {imputation}")
        notes = warnings(by_method, compared)
        if notes:
            parts.append("\n".join(f"- {note}" for note in notes))
        parts += _difference_part(compared) if compared is not None else []
        parts += _seed_part(apart) if apart is not None else []
        parts += _method_part(by_method)
        parts += _shift_part(shifted) if shifted is not None else []
    parts.append(
        "Area under the mean target probability, and under the share of images that still predict the target, over "
        "the fraction removed. MoRF removes the most relevant pixels first (a good map makes the area small and the "
        "flip early), LeRF the least relevant first (large and late). In brackets: 95 % bootstrap intervals over "
        f"images{' and seeds' if by_seed else ''}. Seconds: for the maps of all images."
    )
    return "\n\n".join(parts) + "\n"

"""The tables of localization: each measure and method with intervals, chance level and difference from a reference."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fa_repro.attribution import CONTROLS, reference_of
from fa_repro.localization.benchmark import ON_MOSAICS, Measured
from fa_repro.statistics import UNKNOWN, Bootstrap, paired, won
from fa_repro.tables import cell, columns, markdown_table

TITLES = {
    "pointing_game": "Pointing game",
    "energy": "Energy",
    "grid": "Grid pointing game",
    "grid_peak": "Grid, maximum",
}
_OF_MAXIMA = ("pointing_game", "grid_peak")  # the others are of a map's positive part
FEW_MOSAICS = 20  # below it, percentiles of resampled means say little
_HOW = {
    "pointing_game": "Share of images whose map has its maximum inside the truth; of several maxima, the share inside.",
    "energy": "Share of the map's positive part that lies inside the truth, mean over images.",
    "grid": "Share of the positive part of a class's map that lies in that class's cell, mean over mosaics.",
    "grid_peak": "Share of a class's maps whose maximum lies in that class's cell, mean over mosaics.",
}


def _units(measured: Measured) -> np.ndarray:
    return measured.value.mean(2)  # (M,N): what is resampled; the maps of one mosaic are not independent


def localization_table(found: Sequence[Measured], resamples: int, seed: int) -> pd.DataFrame:
    """Return one line for each measure and method.

    Columns: ``value`` with its interval; ``minus_reference``, the paired difference from ``feature_map`` (or from the
    first method, where a model has none); ``won``, the share of images or mosaics on which the method is better than
    the reference, equal being half won, both with their intervals; ``chance``, what a uniform map scores;
    ``degenerate``, how many maps say nothing; ``n`` images or mosaics; ``reference``.
    """
    lines = []
    for measured in found:
        units = dict(zip(measured.methods, _units(measured), strict=True))
        reference = reference_of(measured.methods)
        bootstrap = Bootstrap(len(measured.chance), resamples, seed)
        for m, (method, values) in enumerate(units.items()):
            interval = bootstrap.interval(values)
            line: dict[str, object] = {"measure": measured.measure, "method": method, **interval._asdict()}
            ahead = paired(values, units[reference])
            line |= columns("minus_reference", bootstrap.interval(ahead))
            line |= columns("won", bootstrap.interval(won(ahead)) if method != reference else UNKNOWN)
            line["chance"] = float(measured.chance.mean())
            line["degenerate"] = int(measured.degenerate[m].sum())
            line |= {"n": len(values), "reference": reference}
            lines.append(line)
    return pd.DataFrame(lines)


def warnings(found: Sequence[Measured], resamples: int, seed: int) -> list[str]:
    """Return what a reader must know first: controls that are not beaten, maps that say nothing, too few mosaics."""
    notes = []
    for measured in found:
        units = dict(zip(measured.methods, _units(measured), strict=True))
        bootstrap = Bootstrap(len(measured.chance), resamples, seed)
        for control in (name for name in CONTROLS if name in units):
            unbeaten = [
                f"`{name}` ({values.mean():.3f})"
                for name, values in units.items()
                if name not in CONTROLS and not bootstrap.interval(values - units[control]).low > 0
            ]
            if unbeaten:
                notes.append(
                    f"{TITLES[measured.measure]}: the control `{control}` ({units[control].mean():.3f}) is not beaten "
                    f"beyond the interval of the paired difference by {', '.join(unbeaten)}."
                )
        for m, method in enumerate(measured.methods):
            if broken := int(measured.degenerate[m].sum()):
                notes.append(
                    f"{TITLES[measured.measure]}: {broken} of {measured.degenerate[m].size} maps of `{method}` say "
                    f"nothing (constant, {'' if measured.measure in _OF_MAXIMA else 'nothing positive, '}or not a "
                    f"number); they score as a uniform map does."
                )
        if measured.measure in ON_MOSAICS and len(measured.chance) < FEW_MOSAICS:
            notes.append(f"{TITLES[measured.measure]}: {len(measured.chance)} mosaics only; its intervals are rough.")
    return notes


def summary_markdown(title: str, conditions: str, table: pd.DataFrame, notes: list[str]) -> str:
    """Return the page ``summary.md``: conditions, warnings, a table for each measure, and how to read them."""
    parts = [f"# {title}", conditions]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    for measure, lines in table.groupby("measure", sort=False):
        reference = lines.reference.iloc[0]
        header = ["method", "value", f"minus `{reference}`", "won", "degenerate"]
        rows = []
        for _, line in lines.sort_values("value", ascending=False).iterrows():
            same = line.method == reference
            rows.append(
                [
                    f"`{line.method}`" + (" (control)" if line.method in CONTROLS else ""),
                    f"{line.value:.3f} [{line.low:.3f}, {line.high:.3f}]",
                    "–" if same else cell(line, "minus_reference", 3),
                    "–" if same else cell(line, "won", 2),
                    str(line.degenerate),
                ]
            )
        unit = "mosaics" if measure in ON_MOSAICS else "images"
        parts += [
            f"## {TITLES[str(measure)]}: {lines.n.iloc[0]} {unit}, chance {lines.chance.iloc[0]:.3f}",
            _HOW[str(measure)],
            markdown_table(header, rows),
        ]
    parts.append(
        "Larger is better. Chance: what a uniform map scores. In brackets: 95 % bootstrap intervals over images or "
        "mosaics; differences are paired. Won: the share of them on which a method is better than the reference; equal "
        "is half won. Degenerate: maps that say nothing about a place."
    )
    return "\n\n".join(parts) + "\n"

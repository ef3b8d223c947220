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
    ``degenerate``, how many maps say nothing; ``n`` images or mosaics; ``reference``; ``minus_random`` and
    ``minus_center``, the paired differences from the controls that were measured, with their intervals.
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
            for control in (name for name in CONTROLS if name in units):
                line |= columns(f"minus_{control}", bootstrap.interval(values - units[control]))
            lines.append(line)
    return pd.DataFrame(lines)


def is_ahead(lines: pd.DataFrame, method: str, control: str) -> bool | None:
    """Say whether a method is ahead of a control beyond the interval of their paired difference.

    Tables that were written before there was a ``minus_CONTROL`` hold differences from the reference alone. For the
    reference, and what scores as it does, these tell. For others they bound the difference from the control from below.

    Args:
        lines: a measure's lines of `localization_table`, by method.
        method: the method.
        control: the control.

    Returns:
        Whether it is; None where such an old table does not tell.

    Raises:
        KeyError: ``lines`` lack one of the two.

    """
    own, other = lines.loc[method], lines.loc[control]
    if f"minus_{control}_low" in lines:
        return bool(own[f"minus_{control}_low"] > 0)
    if own.minus_reference_low - other.minus_reference_high > 0:
        return True
    exact = own.minus_reference_low == own.minus_reference_high  # the bound is the interval's end itself
    return False if exact or own.value <= other.value else None


def control_notes(table: pd.DataFrame) -> list[str]:
    """Return a line for each measure of a `localization_table` and each control that is not beaten by every method."""
    notes = []
    for measure, part in table.groupby("measure", sort=False) if len(table) else ():
        lines = part.set_index("method")
        for control in (name for name in CONTROLS if name in lines.index):
            ahead = {str(name): is_ahead(lines, str(name), control) for name in lines.index if name not in CONTROLS}
            named = {name: f"`{name}` ({lines.value[name]:.3f})" for name in ahead}
            unbeaten, unknown = (
                ", ".join(named[name] for name, told in ahead.items() if told is answer) for answer in (False, None)
            )
            first = f"{TITLES[str(measure)]}: the control `{control}` ({lines.value[control]:.3f})"
            if unbeaten:
                notes.append(f"{first} is not beaten beyond the interval of the paired difference by {unbeaten}.")
            if unknown:
                notes.append(
                    f"{first} is not known to be beaten by {unknown}: this table lacks their paired difference; the "
                    f"run's `summary.md` tells."
                )
    return notes


def warnings(found: Sequence[Measured], table: pd.DataFrame) -> list[str]:
    """Return what a reader must know first: controls that are not beaten, maps that say nothing, too few mosaics.

    Args:
        found: the measures.
        table: their `localization_table`.

    """
    notes = []
    for measured in found:
        notes += control_notes(table[table.measure == measured.measure])
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

"""What a reader must know before ranking methods by the tables: what a control leads, which maps order nothing."""

from collections.abc import Iterator

import pandas as pd

from fa_repro.attribution import CONTROLS
from fa_repro.removal.tables import of_imputation

# What a control may be ahead in beside MoRF's area and LeRF - MoRF: a column of an order, and whether larger is better.
_COLUMNS = {
    "LeRF area": ("lerf", "auc_probability", True),
    "MoRF area of images kept": ("morf", "auc_kept", False),
    "LeRF area of images kept": ("lerf", "auc_kept", True),
    "MoRF flip, mean": ("morf", "flip_percent_mean", False),
    "LeRF flip, mean": ("lerf", "flip_percent_mean", True),
    "MoRF flip, median": ("morf", "flip_percent_median", False),
    "LeRF flip, median": ("lerf", "flip_percent_median", True),
}


def warnings(summary: pd.DataFrame, differences: pd.DataFrame | None) -> list[str]:
    """Return what a reader must know before ranking methods by these tables."""
    found = [*_ahead_in_morf(summary)]
    if differences is not None:
        found += [*_not_beaten(differences), *_won_by_controls(differences)]
    return [*found, *_ahead_elsewhere(summary), *_degenerate(summary)]


def warnings_by_imputation(summary: pd.DataFrame, differences: pd.DataFrame | None) -> dict[str, list[str]]:
    """Return `warnings` for each imputation in the tables."""
    return {
        str(imputation): warnings(lines, of_imputation(differences, str(imputation)))
        for imputation, lines in summary.groupby("imputation", sort=False)
    }


def _ahead_in_morf(summary: pd.DataFrame) -> Iterator[str]:
    morf = summary[summary.order == "morf"].set_index("method").auc_probability
    for control in (name for name in CONTROLS if name in morf.index):
        beaten = [name for name in morf.index if name not in CONTROLS and morf[control] < morf[name]]
        if beaten:
            yield (
                f"MoRF alone does not rank the methods here: the control `{control}` has a lower (better) area "
                f"({morf[control]:.3f}) than {', '.join(f'`{n}` ({morf[n]:.3f})' for n in beaten)}. "
                f"Where and how finely holes lie can hurt a network more than what they hid; read LeRF - MoRF."
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


def _won_by_controls(differences: pd.DataFrame) -> Iterator[str]:
    for _, line in differences.iterrows():
        if line.method in CONTROLS and line.won > 0.5:
            yield (
                f"The control `{line.method}` has a larger LeRF - MoRF area than `{line.reference}` on "
                f"{100 * line.won:.0f} % of the images."
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

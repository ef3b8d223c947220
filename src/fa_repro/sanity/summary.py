"""The table and the page of the sanity check."""

from functools import cache

import numpy as np
import pandas as pd

from fa_repro.attribution import CONTROLS
from fa_repro.sanity.cascade import Cascade
from fa_repro.statistics import Bootstrap
from fa_repro.tables import cell, markdown_table

COLUMNS = ("method", "layer", "depth", "correlation", "low", "high", "degenerate", "n")
# From here on a map is said to be mostly image and architecture. Our reading: Adebayo et al. judge the curves by eye.
INSENSITIVE = 0.5


def sanity_table(measured: Cascade, resamples: int, seed: int) -> pd.DataFrame:
    """Return the mean rank correlation with its 95 % bootstrap interval, for each method and depth.

    Columns: `COLUMNS`. ``layer`` is the last that was randomised, ``depth`` how many are; ``degenerate`` of ``n``
    images have a constant map, intact or randomised, and no part in the mean.
    """

    @cache
    def bootstrap(n: int) -> Bootstrap:
        return Bootstrap(n, resamples, seed)

    lines = []
    for m, method in enumerate(measured.methods):
        for depth, layer in enumerate(measured.layers):
            values = measured.correlation[m, depth]
            known = values[~np.isnan(values)]
            interval = bootstrap(len(known)).interval(known) if len(known) else (np.nan, np.nan, np.nan)
            lines.append((method, layer, depth, *interval, len(values) - len(known), len(values)))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def notes(table: pd.DataFrame) -> list[str]:
    """Return what a reader must know of a table that `sanity_table` made."""
    found = []
    control = table[table.method.isin(CONTROLS)]
    if len(control):
        names = " and ".join(f"`{name}`" for name in control.method.unique())
        found.append(
            f"Control: {names} can't know of the weights; their correlation never falls below "
            f"{control.correlation.min():.3f}. So the check sees a method that ignores the model."
        )
    last = table[(table.depth == table.depth.max()) & ~table.method.isin(CONTROLS)]
    for line in last[last.low > INSENSITIVE].itertuples():
        found.append(
            f"`{line.method}` still correlates at {line.correlation:.2f} when nothing learned is left: its maps come "
            f"mostly from the image and the architecture."
        )
    for method, lost in table[table.depth > 0].groupby("method", sort=False).degenerate.max().items():
        if lost:
            found.append(
                f"`{method}`: up to {lost} of {table.n.iloc[0]} maps at a depth are degenerate (constant or not a "
                f"number); they have no part in the means."
            )
    return found


def summary_markdown(title: str, conditions: str, table: pd.DataFrame, remarks: list[str]) -> str:
    """Return the page ``summary.md``: conditions, notes, and the correlation at every depth."""
    methods = list(table.method.unique())
    header = ["depth", "randomised down to", *(f"`{m}`" + (" (control)" if m in CONTROLS else "") for m in methods)]
    rows = []
    for (depth, layer), part in table.groupby(["depth", "layer"], sort=False):
        ends = {"low": "correlation_low", "high": "correlation_high"}
        by_method = part.rename(columns=ends).set_index("method")
        rows.append([str(depth), f"`{layer}`", *(cell(by_method.loc[m], "correlation", 3) for m in methods)])
    parts = [f"# {title}", conditions]
    if lines := [*notes(table), *remarks]:
        parts.append("\n".join(f"- {line}" for line in lines))
    parts += [
        markdown_table(header, rows),
        "Spearman's rank correlation, over the pixels of an image, of the map with that of the intact network, for the "
        "intact network's target: mean over images, in brackets its 95 % bootstrap interval. A method that explains "
        "what the network learned has a curve that falls; one that stays near 1 shows the image, whatever the weights.",
    ]
    return "\n\n".join(parts) + "\n"

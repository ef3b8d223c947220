"""The picture of the sanity check."""

import pandas as pd
from matplotlib.figure import Figure

from fa_repro.plotting import COLOURS, DASHES, figure, heading


def sanity_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw each method's mean rank correlation with its band over the depth of randomisation."""
    names = table.drop_duplicates("depth").layer.tolist()
    fig, ((panel,),) = figure(1, 1, (max(5.0, 1.6 + 0.42 * len(names)), 3.8))
    for method, part in table.groupby("method", sort=False):
        colour, dash = COLOURS.get(str(method), "C7"), DASHES.get(str(method), "-")
        panel.plot(part.depth, part.correlation, dash, marker="o", ms=3, color=colour, label=method, lw=1.6)
        panel.fill_between(part.depth, part.low, part.high, color=colour, alpha=0.15, lw=0)
    panel.axhline(0, color="0.6", lw=0.8)
    panel.set(xlabel="randomised from the top down to layer", ylabel="rank correlation with the intact network's map")
    panel.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=7)
    panel.set_ylim(min(-0.2, float(table.low.min()) - 0.05), 1.05)
    panel.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    heading(fig, title)
    return fig

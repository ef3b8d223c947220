"""The picture of a speed benchmark."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from fa_repro.plotting import figure, heading
from fa_repro.tables import rate


def rates_figure(rates: pd.DataFrame, title: str) -> Figure:
    """Draw each contender's images per second (a table of `fa_repro.speed.rate_table`) with the range of its rounds."""
    fig, ((axes,),) = figure(1, 1, (6.4, 0.8 + 0.28 * len(rates)))
    places = range(len(rates))[::-1]
    middle = rates.images_per_second
    axes.barh(places, middle, color="#56B4E9", height=0.7)
    axes.errorbar(middle, places, xerr=[middle - rates.low, rates.high - middle], fmt="none", ecolor="0.3", lw=1)
    axes.set_yticks(places, rates.contender)
    axes.set_xscale("log")
    decades = rates.high.max() > 50 * rates.low.min()  # more labels would run into one another
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades else (1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: rate(value))  # matplotlib's own are TeX, which is not read here
    axes.xaxis.set_minor_formatter(NullFormatter())
    for place, value in zip(places, middle, strict=True):
        axes.annotate(f" {rate(value)}", (value, place), va="bottom", fontsize=7)
    axes.set_xlabel("images/s: median and range of the rounds")
    heading(fig, title)  # over the whole width: the names of the contenders leave the axes half of it
    return fig

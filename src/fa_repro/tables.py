"""Figures with intervals as columns of a table and as cells of a Markdown page."""

import pandas as pd

from fa_repro.statistics import Interval


def columns(name: str, interval: Interval) -> dict[str, float]:
    """Return ``name``, ``name_low`` and ``name_high`` with the interval's figures."""
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def cell(line: pd.Series, name: str, digits: int) -> str:
    """Return ``value [low, high]`` from the columns that `columns` made; a dash for what is not known."""
    return markdown_interval(line[name], line[f"{name}_low"], line[f"{name}_high"], digits)


def markdown_interval(value: float, low: float, high: float, digits: int, sd: float | None = None) -> str:
    """Return ``value [low, high]``, or ``value ± sd [low, high]``; a dash for what is not known."""
    if pd.isna(value):
        return "–"
    value, low, high = (round(end, digits) + 0.0 for end in (value, low, high))  # no -0.000
    spread = "" if sd is None else f" ± {sd:.{digits}f}"
    return f"{value:.{digits}f}{spread} [{low:.{digits}f}, {high:.{digits}f}]"


def rate(per_second: float) -> str:
    """Write a rate with three digits that count, or all those before the point."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

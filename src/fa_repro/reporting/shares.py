"""The LeRF - MoRF area of a map as a share of occlusion's on the same network, over the seeds of its training."""

from typing import NamedTuple

import pandas as pd

from fa_repro.attribution import CONTROLS
from fa_repro.tables import markdown_interval

NAME = "share_of_occlusion"  # the column of differences.csv
BEHIND = " †"  # beside a method that a control may be ahead of


class Share(NamedTuple):
    """The mean over seeds with their standard deviation, and from where to where their 95 % intervals reach."""

    mean: float
    sd: float  # not a number, of one seed
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        """Write ``mean [low, high]``, with ``± sd`` of several seeds; a dash for what is not known."""
        return markdown_interval(self.mean, self.low, self.high, 2, self.sd if self.seeds > 1 else None)


def n_seeds(lines: pd.DataFrame) -> int:
    """Return of how many trainings a method's lines of ``differences.csv`` are: one each, or several read together."""
    return int(lines.seeds.fillna(1).sum()) if "seeds" in lines else len(lines)


def over_seeds(lines: pd.DataFrame) -> Share:
    """Return the share over a method's lines of ``differences.csv``; NaN where one has none.

    Args:
        lines: one for each seed, or the one of several that were read together, which tells its own spread.

    """
    seeds = n_seeds(lines)
    if NAME not in lines or lines[NAME].isna().any():
        return Share(float("nan"), float("nan"), float("nan"), float("nan"), seeds)
    ends = lines[f"{NAME}_low"].min(), lines[f"{NAME}_high"].max()
    together = len(lines) == 1 and seeds > 1
    return Share(lines[NAME].mean(), lines[f"{NAME}_sd"].iloc[0] if together else lines[NAME].std(), *ends, seeds)


def is_behind(method: str, lines: pd.DataFrame) -> bool:
    """Say whether a method, which is no control itself, is not ahead of every control beyond its interval, in any seed.

    Args:
        method: its name.
        lines: its lines of ``differences.csv``, one for each seed.

    """
    leads = [f"minus_{control}_low" for control in CONTROLS]
    return method not in CONTROLS and not all(lead in lines and (lines[lead] > 0).all() for lead in leads)

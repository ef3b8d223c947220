"""Localization: does a map lie where the object is? Pointing game, energy, and the grid of images."""

from fa_repro.localization.benchmark import Measured, measure_grid, measure_truth, per_image_table
from fa_repro.localization.energy import energy
from fa_repro.localization.grid import cell_peaks, cell_shares
from fa_repro.localization.mosaics import compose, draw_mosaics, make_mosaics
from fa_repro.localization.pointing_game import pointing_game
from fa_repro.localization.scores import Scores
from fa_repro.localization.truth import with_truth

__all__ = [
    "Measured",
    "Scores",
    "cell_peaks",
    "cell_shares",
    "compose",
    "draw_mosaics",
    "energy",
    "make_mosaics",
    "measure_grid",
    "measure_truth",
    "per_image_table",
    "pointing_game",
    "with_truth",
]

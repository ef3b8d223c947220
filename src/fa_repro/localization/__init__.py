"""Localization: does a map lie where the object is? Pointing game, energy, and the grid of images."""

from fa_repro.localization.benchmark import Measured, measure_grid, measure_truth, per_image_table
from fa_repro.localization.energy import energy
from fa_repro.localization.grid import cell_shares, compose, draw_mosaics
from fa_repro.localization.pointing_game import pointing_game
from fa_repro.localization.scores import Scores

__all__ = [
    "Measured",
    "Scores",
    "cell_shares",
    "compose",
    "draw_mosaics",
    "energy",
    "measure_grid",
    "measure_truth",
    "per_image_table",
    "pointing_game",
]

"""Percent pixels removed: ranking, imputation, curves, areas."""

from fa_repro.removal.benchmark import measure
from fa_repro.removal.measured import Measured, per_image_table, pooled, write_per_image
from fa_repro.removal.noisy_linear import noisy_linear

__all__ = ["Measured", "measure", "noisy_linear", "per_image_table", "pooled", "write_per_image"]

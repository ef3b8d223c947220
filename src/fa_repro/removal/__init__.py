"""Percent pixels removed: ranking, imputation, curves, areas."""

from fa_repro.removal.benchmark import measure
from fa_repro.removal.measured import Measured, per_image_table, pooled, write_per_image

__all__ = ["Measured", "measure", "per_image_table", "pooled", "write_per_image"]

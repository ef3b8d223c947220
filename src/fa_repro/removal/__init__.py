"""Percent pixels removed: ranking, imputation, measurement, statistics."""

from fa_repro.removal.benchmark import Measured, measure, per_image_table
from fa_repro.removal.statistics import Bootstrap

__all__ = ["Bootstrap", "Measured", "measure", "per_image_table"]

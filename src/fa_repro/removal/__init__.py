"""Percent pixels removed: ranking, imputation, measurement, statistics."""

from fa_repro.removal.benchmark import Measured, measure, per_image_table

__all__ = ["Measured", "measure", "per_image_table"]

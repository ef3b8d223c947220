"""Sanity check by cascading weight randomisation (Adebayo et al. 2018, arXiv:1810.03292)."""

from fa_repro.sanity.cascade import Cascade, measure
from fa_repro.sanity.randomization import cascade, layers, left_as_they_are
from fa_repro.sanity.rank_correlation import average_ranks, spearman

__all__ = ["Cascade", "average_ranks", "cascade", "layers", "left_as_they_are", "measure", "spearman"]

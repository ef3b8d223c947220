"""Throughput against a limit or a peer, measured in turns in one run."""

from fa_repro.speed.timing import Comparison, Contender, interleave, rate_table, ratio_table

__all__ = ["Comparison", "Contender", "interleave", "rate_table", "ratio_table"]

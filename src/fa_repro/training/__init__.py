"""Training a model on a resident data set."""

from fa_repro.training.distributed import World, joined
from fa_repro.training.evaluate import Score, evaluate
from fa_repro.training.macs import count_macs
from fa_repro.training.resume import Resume
from fa_repro.training.trainer import HISTORY, PRECISIONS, VERSION, Trainer

__all__ = [
    "HISTORY",
    "PRECISIONS",
    "VERSION",
    "Resume",
    "Score",
    "Trainer",
    "World",
    "count_macs",
    "evaluate",
    "joined",
]

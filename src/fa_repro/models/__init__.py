"""The Feature-Align CNN, its ablations and the baselines."""

from fa_repro.models.build import Task, build_model
from fa_repro.models.fa_cnn import FeatureAlignCNN, LinearHeadCNN
from fa_repro.models.whitening import fit_whitening

__all__ = ["FeatureAlignCNN", "LinearHeadCNN", "Task", "build_model", "fit_whitening"]

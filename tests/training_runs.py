"""What a training leaves, for several test files."""

import pandas as pd
import torch

from fa_repro.checkpoint import load_checkpoint

FILES = {
    ".identity.json",
    "DONE.json",
    "checkpoint.pt",
    "config.yaml",
    "curves.png",
    "history.csv",
    "metrics.json",
    "provenance.json",
}
COLUMNS = ["epoch", "lr", "train_loss", "val_loss", "val_top1", "images_per_second", "seconds"]
EXACT = COLUMNS[:5]  # the rest is measured


def weights(run) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoint.pt").state


def history(run) -> pd.DataFrame:
    return pd.read_csv(run / "history.csv")

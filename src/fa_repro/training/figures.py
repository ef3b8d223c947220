"""The picture of a training."""

import pandas as pd
from matplotlib.figure import Figure

from fa_repro.plotting import figure


def curves_figure(history: pd.DataFrame, test_top1: float) -> Figure:
    """Draw losses and top-1 over the epochs.

    Args:
        history: a line an epoch, with the columns `fa_repro.training.HISTORY`.
        test_top1: of the last epoch, a share.

    """
    fig, ((loss, top1),) = figure(1, 2, (3.6, 2.8))
    loss.plot(history.epoch, history.train_loss, "o-", ms=3, label="training (augmented)")
    loss.set(xlabel="epoch", ylabel="cross-entropy [nat]")
    if history.val_top1.notna().any():
        loss.plot(history.epoch, history.val_loss, "s-", ms=3, label="validation")
        top1.plot(history.epoch, 100 * history.val_top1.astype(float), "s-", ms=3, color="C1", label="validation")
    top1.axhline(100 * test_top1, ls="--", color="0.4", label=f"test, last epoch: {100 * test_top1:.1f} %")
    top1.set(xlabel="epoch", ylabel="top-1 [%]")
    loss.legend()
    top1.legend(loc="lower right")
    return fig

"""The pictures of percent pixels removed."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from fa_repro.plotting import COLOURS, DASHES, figure, heading, show_image, show_map
from fa_repro.removal.curves import removed_counts
from fa_repro.removal.imputation import Impute

TITLES = {
    "morf": "MoRF: most relevant first (lower is better)",
    "lerf": "LeRF: least relevant first (higher is better)",
}


def curves_figure(curves: pd.DataFrame, title: str, by_seed: pd.DataFrame | None = None) -> Figure:
    """Draw each method's mean target probability with its band: a row of panels for each imputation, one an order.

    Of several trainings, ``by_seed`` has each one's curves, which are drawn as thin lines.
    """
    orders, imputations = list(curves.order.unique()), list(curves.imputation.unique())
    fig, axes = figure(len(imputations), len(orders), (4.4, 3.4), sharex=True, sharey=True)
    for row, imputation in zip(axes, imputations, strict=True):
        for panel, order in zip(row, orders, strict=True):
            shown = curves[(curves.order == order) & (curves.imputation == imputation)]
            for method, part in shown.groupby("method", sort=False):
                colour, dash = COLOURS.get(str(method), "C7"), DASHES.get(str(method), "-")
                x = 100 * part.fraction
                panel.plot(x, part.target_probability, dash, color=colour, label=method, lw=1.6)
                if by_seed is not None:
                    same = (by_seed.method == method) & (by_seed.order == order) & (by_seed.imputation == imputation)
                    for _, one in by_seed[same].groupby("seed"):
                        panel.plot(100 * one.fraction, one.target_probability, color=colour, lw=0.5, alpha=0.6)
                panel.fill_between(
                    x, part.target_probability_low, part.target_probability_high, color=colour, alpha=0.15, lw=0
                )
            panel.set(xlim=(0, 100), ylim=(0, 1))
        row[0].set_ylabel(f"removed pixels: {imputation}\ntarget probability, mean and 95 % interval")
    for panel, order in zip(axes[0], orders, strict=True):
        panel.set_title(TITLES[order])
    for panel in axes[-1]:
        panel.set_xlabel("pixels removed [%]")
    axes[0][-1].legend(fontsize=8)
    heading(fig, title)
    return fig


def examples_figure(
    images: Tensor,
    imputes: dict[str, Impute],
    maps: dict[str, Tensor],
    ranks: dict[str, Tensor],
    titles: Sequence[str],
    step: int = 1,
) -> Figure:
    """Draw a few images, each method's map, and the image with 10, 30 and 50 % removed, most relevant first.

    Args:
        images: (N,C,H,W) in [0,1].
        imputes: by name of the imputation; each has a row a method.
        maps: by method, (N,H,W).
        ranks: by method, (N,H,W), MoRF.
        titles: of the images.
        step: of the units that go at a time, in pixels.

    """
    shares, n = (0.1, 0.3, 0.5), len(images)
    counts = [count for share in shares for count in removed_counts([share], images[0, 0].numel(), step)]
    rows = [(kind, method) for kind in imputes for method in maps]
    fig, axes = figure(len(rows), n * 4 + 1, (0.85, 0.92), gridspec_kw={"width_ratios": [0.02, *[1] * (4 * n)]})
    for row, (kind, method) in zip(axes, rows, strict=True):
        name = f"{method}\n{kind}" if len(imputes) > 1 else method
        row[0].axis("off")
        row[0].text(0, 0.5, name, ha="right", va="center", fontsize=8, transform=row[0].transAxes)
        removed = [imputes[kind](images, ranks[method] < count) for count in counts]
        for i in range(n):
            show_map(row[1 + 4 * i], maps[method][i])
            for cell, without in zip(row[2 + 4 * i : 5 + 4 * i], removed, strict=True):
                show_image(cell, without[i])
    for i, title in enumerate(titles):
        axes[0][1 + 4 * i].set_title(title, fontsize=6.5, loc="left")
        for cell, share in zip(axes[0][2 + 4 * i : 5 + 4 * i], shares, strict=True):
            cell.set_title(f"−{100 * share:.0f} %", fontsize=6.5)
    return fig

"""The pictures of percent pixels removed."""

from collections.abc import Sequence

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fa_repro.plotting import COLOURS, DASHES, figure, show_image, show_map

TITLES = {
    "morf": "MoRF: most relevant first (lower is better)",
    "lerf": "LeRF: least relevant first (higher is better)",
}


def curves_figure(curves: pd.DataFrame, title: str) -> Figure:
    """Draw each method's mean target probability with its band, a panel for each order."""
    orders = list(curves.order.unique())
    fig, axes = figure(1, len(orders), (4.4, 3.4), sharey=True)
    for panel, order in zip(axes[0], orders, strict=True):
        for method, part in curves[curves.order == order].groupby("method", sort=False):
            colour, dash = COLOURS.get(str(method), "C7"), DASHES.get(str(method), "-")
            x = 100 * part.fraction
            panel.plot(x, part.target_probability, dash, color=colour, label=method, lw=1.6)
            panel.fill_between(
                x, part.target_probability_low, part.target_probability_high, color=colour, alpha=0.15, lw=0
            )
        panel.set(xlabel="pixels removed [%]", title=TITLES[order], xlim=(0, 100), ylim=(0, 1))
    axes[0][0].set_ylabel("target probability, mean and 95 % interval")
    axes[0][-1].legend(fontsize=8)
    fig.suptitle(title, fontsize=9)
    return fig


def examples_figure(
    images: Tensor,
    stand_ins: Tensor,
    maps: dict[str, Tensor],
    ranks: dict[str, Tensor],
    titles: Sequence[str],
) -> Figure:
    """Draw a few images, each method's map, and the image with 10, 30 and 50 % removed, most relevant first.

    Args:
        images: (N,C,H,W) in [0,1].
        stand_ins: (N,C,H,W), whose pixels replace the removed ones.
        maps: by method, (N,H,W).
        ranks: by method, (N,H,W), MoRF.
        titles: of the images.

    """
    shares = (0.1, 0.3, 0.5)
    n, positions = len(images), images.shape[2] * images.shape[3]
    fig, axes = figure(len(maps), n * 4 + 1, (0.85, 0.92), gridspec_kw={"width_ratios": [0.02, *[1] * (4 * n)]})
    for row, (method, values) in enumerate(maps.items()):
        axes[row][0].axis("off")
        axes[row][0].text(0, 0.5, method, ha="right", va="center", fontsize=8, transform=axes[row][0].transAxes)
        for i in range(n):
            cells = axes[row][1 + 4 * i : 5 + 4 * i]
            show_map(cells[0], values[i])
            if row == 0:
                cells[0].set_title(titles[i], fontsize=6.5, loc="left")
            for cell, share in zip(cells[1:], shares, strict=True):
                gone = ranks[method][i] < round(share * positions)
                show_image(cell, torch.where(gone, stand_ins[i], images[i]))
                if row == 0:
                    cell.set_title(f"−{100 * share:.0f} %", fontsize=6.5)
    return fig

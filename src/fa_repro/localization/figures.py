"""The pictures of localization."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fa_repro.localization.summary import TITLES
from fa_repro.plotting import COLOURS, figure, heading, show_image, show_map

OUTLINE = "#00E5FF"  # cyan: on none of the maps' colours
_FINE = 8  # an outline follows pixel edges: it is drawn on a grid so many times as fine


class Examples(NamedTuple):
    """Images with their truth and every method's map."""

    images: Tensor  # (N,C,H,W) in [0,1]
    truth: Tensor  # (N,H,W) bool
    maps: dict[str, Tensor]  # by method, (N,H,W)
    titles: Sequence[str]


class Mosaic(NamedTuple):
    """One mosaic with every method's map for the class of each cell."""

    image: Tensor  # (C,H,W) in [0,1]
    cells: Tensor  # (T,H,W) bool, where the cell of each class is
    maps: dict[str, Tensor]  # by method, (T,H,W)
    titles: Sequence[str]


def bars_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw each method's value with its interval and the chance level, a panel for each measure."""
    measures = list(table.measure.unique())
    fig, axes = figure(1, len(measures), (3.4, 3.0))
    for panel, measure in zip(axes[0], measures, strict=True):
        part = table[table.measure == measure]
        # Of equal scores value and ends are equal too, up to rounding, and matplotlib takes no negative length.
        error = np.stack([part.value - part.low, part.high - part.value]).clip(min=0)
        colours = [COLOURS.get(method, "C7") for method in part.method]
        panel.bar(range(len(part)), part.value, color=colours, yerr=error, capsize=2.5, error_kw={"lw": 1})
        chance = part.chance.iloc[0]
        panel.axhline(chance, color="black", lw=1, ls="--")
        panel.set_xticks(range(len(part)), part.method, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
        panel.set(title=f"{TITLES[measure]} (dashed: chance, {chance:.2f})", ylim=(0, 1.02))
    axes[0][0].set_ylabel("mean and 95 % interval")
    heading(fig, title)
    return fig


def examples_figure(methods: Sequence[str], examples: Examples | None, mosaic: Mosaic | None) -> Figure:
    """Draw images with the truth's outline and each method's map; beside them a mosaic with its class maps.

    One of ``examples`` and ``mosaic`` may be None.
    """
    images = 0 if examples is None else len(examples.images)
    cells = 0 if mosaic is None else len(mosaic.cells)
    gap = [0.15] if images and cells else []
    widths = [0.02, *[1] * images, *gap, *[1] * cells]
    fig, axes = figure(len(methods) + 1, len(widths), (0.95, 1.0), gridspec_kw={"width_ratios": widths})
    for row, name in enumerate(["", *methods]):
        axes[row][0].axis("off")
        axes[row][0].text(0, 0.5, name, ha="right", va="center", fontsize=8, transform=axes[row][0].transAxes)
        if gap:
            axes[row][1 + images].axis("off")
        pairs: list[tuple[Axes, Tensor, Tensor, str]] = []
        if examples is not None:
            shown = examples.maps[name] if name else examples.images
            pairs += zip(axes[row][1 : 1 + images], shown, examples.truth, examples.titles, strict=True)
        if mosaic is not None:
            picture = mosaic.maps[name] if name else mosaic.image.expand(cells, *mosaic.image.shape)
            pairs += zip(axes[row][1 + images + len(gap) :], picture, mosaic.cells, mosaic.titles, strict=True)
        for panel, content, inside, words in pairs:
            if name:
                show_map(panel, content)
            else:
                show_image(panel, content)
                panel.set_title(words, fontsize=7)
            _outline(panel, inside)
    return fig


def _outline(panel: Axes, inside: Tensor) -> None:
    """Draw the outline of the pixels ``inside`` (H,W) bool along their edges."""
    height, width = inside.shape
    fine = np.kron(inside.cpu().numpy(), np.ones((_FINE, _FINE)))
    fine = np.pad(fine, 1)  # an outline at the border is closed too
    x = (np.arange(width * _FINE + 2) - 0.5) / _FINE - 0.5
    y = (np.arange(height * _FINE + 2) - 0.5) / _FINE - 0.5
    panel.contour(x, y, fine, levels=[0.5], colors=OUTLINE, linewidths=0.9)
    panel.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))

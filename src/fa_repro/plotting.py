"""One look for every figure: the backend, the colours of methods and models, and how images and maps are shown."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito's palette, and a wine of Tol's: told apart by colour-blind readers too. Controls are grey.
COLOURS = {
    "feature_map": "#0072B2",
    "depth_map": "#56B4E9",
    "contrast_map": "#F0E442",
    "grad_cam": "#D55E00",
    "permutation": "#009E73",
    "occlusion": "#E69F00",
    "integrated_gradients": "#CC79A7",
    "saliency": "#000000",
    "shapley": "#882255",
    "random": "#888888",
    "center": "#444444",
}
# On an FA-CNN, Grad-CAM lies on the feature map: dashes let both be seen.
DASHES = {"grad_cam": "-.", "random": ":", "center": "--"}

LETTERS_PER_INCH = 13  # of the letters of a heading, at 9 points

matplotlib.rcParams.update(
    {
        "figure.dpi": 130,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "legend.frameon": False,
        "text.parse_math": False,  # names of files and classes are names, dollars and all
    }
)


def figure(rows: int, columns: int, cell: tuple[float, float], **options: Any) -> tuple[Figure, np.ndarray]:
    """Return a figure of rows x columns axes, each ``cell`` inches (width, height), and the axes as a 2-D array.

    It is none of pyplot's, which needs a screen or has to be told that it has none, and keeps every figure.
    """
    fig = Figure(figsize=(cell[0] * columns, cell[1] * rows))
    return fig, fig.subplots(rows, columns, squeeze=False, **options)


def heading(fig: Figure, words: str) -> None:
    """Write ``words`` over a figure, in as many lines as they need."""
    fig.suptitle("\n".join(wrap(words, int(LETTERS_PER_INCH * fig.get_figwidth()))), fontsize=9)


def show_image(axes: Axes, image: torch.Tensor) -> None:
    """Show an image (C,H,W) in [0,1], C = 1 or 3."""
    pixels = image.detach().float().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    bare(axes)


def show_map(axes: Axes, values: torch.Tensor, limits: Sequence[float] | None = None, cmap: str = "inferno") -> Any:
    """Show a map (H,W) between ``limits``, by default its own smallest and largest value."""
    array = values.detach().float().cpu().numpy()
    low, high = limits if limits is not None else (float(array.min()), float(array.max()))
    shown = axes.imshow(array, cmap=cmap, vmin=low, vmax=high if high > low else low + 1e-12, interpolation="nearest")
    bare(axes)
    return shown


def bare(axes: Axes) -> None:
    """Take ticks and frame away, as pictures need none."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def png(fig: Figure) -> Any:
    """Return a writer of ``fig`` as PNG for `fa_repro.rundir.RunDir.write`."""

    def save(file: Any) -> None:
        # No software version inside: the same figure is the same file.
        fig.savefig(file, format="png", metadata={"Software": None})

    return save

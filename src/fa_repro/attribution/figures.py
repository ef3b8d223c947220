"""The picture of explained images."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from fa_repro.plotting import figure, heading, show_image, show_map

OVERLAID = 0.6  # opacity of a map over its image


def explained_figure(images: Tensor, maps: Mapping[str, Tensor], titles: Sequence[str], words: str) -> Figure:
    """Draw each image, and of each method the map and the map over the image, a row for each image.

    Args:
        images: (N,C,H,W) in [0,1].
        maps: by method, (N,H,W).
        titles: of the images.
        words: over the figure.

    """
    fig, axes = figure(len(images), 1 + 2 * len(maps), (1.3, 1.5))
    for i, row in enumerate(axes):
        show_image(row[0], images[i])
        row[0].set_title(titles[i], fontsize=6.5)
        for alone, over, (method, values) in zip(row[1::2], row[2::2], maps.items(), strict=True):
            show_map(alone, values[i])
            show_image(over, images[i].mean(0, keepdim=True))  # grey: the map's colours are the only ones
            show_map(over, values[i]).set_alpha(OVERLAID)
            alone.set_title(method, fontsize=6.5)
    heading(fig, words)
    return fig

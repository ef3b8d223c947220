"""The pictures of the proofs."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from fa_repro.models.fa_cnn import FeatureAlignBackbone
from fa_repro.models.gap_head import class_maps
from fa_repro.plotting import figure, show_image, show_map


def identity_figure(images: Tensor, own: Tensor, reference: Tensor, titles: list[str], own_name: str) -> Figure:
    """Draw input, own map, Grad-CAM and their difference, a row for each image.

    Args:
        images: (N,C,H,W) in [0,1].
        own: (N,h,w), already scaled by the identity's constant.
        reference: (N,h,w), Grad-CAM.
        titles: of the rows.
        own_name: what ``own`` is.

    """
    fig, axes = figure(len(images), 4, (1.75, 1.6))
    for row, cells in enumerate(axes):
        top = max(own[row].abs().max().item(), reference[row].abs().max().item())
        show_image(cells[0], images[row])
        cells[0].set_title(titles[row], fontsize=8)
        difference = own[row] - reference[row]
        largest = difference.abs().max().item()
        names = (own_name, "Grad-CAM", f"difference, at most {largest:.1e}")
        for cell, name, values in zip(cells[1:3], names, (own[row], reference[row]), strict=False):
            fig.colorbar(show_map(cell, values, (0, top)), ax=cell, shrink=0.8).ax.tick_params(labelsize=6)
            cell.set_title(name, fontsize=8)
        # On the maps' own scale: an identity is an empty picture.
        fig.colorbar(show_map(cells[3], difference, (-top, top), "RdBu_r"), ax=cells[3], shrink=0.8).ax.tick_params(
            labelsize=6
        )
        cells[3].set_title(names[2], fontsize=8)
    return fig


@torch.no_grad()
def morphing_figure(model: FeatureAlignBackbone, image: Tensor, shown: list[tuple[int, str]]) -> Figure:
    """Draw the class maps of one image (C,H,W) layer by layer, a row for each ``(class, title)``."""
    layers = list(model.trace(image[None]))
    maps = [("stem", layers[0].before), *((layer.name, layer.after) for layer in layers)]
    per_class = [(name, class_maps(values, model.n_classes)[0]) for name, values in maps]
    fig, axes = figure(len(shown), len(maps) + 1, (1.25, 1.3))
    for row, (k, title) in zip(axes, shown, strict=True):
        show_image(row[0], image)
        row[0].set_title(title, fontsize=7)
        for cell, (name, values) in zip(row[1:], per_class, strict=True):
            show_map(cell, values[k])
            cell.set_title(name, fontsize=7)
    return fig

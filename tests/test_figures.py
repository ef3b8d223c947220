"""What the pictures show: panel by panel the arrays that lie in them, of images and maps of a few pixels."""

import io

import numpy as np
import pandas as pd
import pytest
import torch

from fa_repro.localization.figures import bars_figure
from fa_repro.plotting import figure, png
from fa_repro.proofs.figures import identity_figure
from fa_repro.removal.figures import examples_figure


def shown(panel):
    """Return the one picture of a panel."""
    (picture,) = panel.images
    return picture


def test_a_proof_shows_the_own_map_grad_cam_and_their_difference_on_one_scale():
    images = torch.tensor([[[[0.0, 0.25], [0.5, 1.0]]], [[[1.0, 0.75], [0.5, 0.0]]]])
    own = torch.tensor([[[0.0, 1.0], [2.0, 3.0]], [[1.0, 0.0], [0.0, 0.0]]])
    reference = torch.tensor([[[0.0, 1.0], [2.5, 3.0]], [[4.0, 0.0], [0.0, 0.5]]])
    fig = identity_figure(images, own, reference, ["a disk", "a ring"], "feature map")
    largest = (("difference, at most 5.0e-01", 3), ("difference, at most 3.0e+00", 4))  # the scale's end is either's
    for row, (words, top) in enumerate(largest):
        panels = fig.axes[4 * row : 4 * row + 4]  # the colour bars come behind all panels
        assert [panel.get_title() for panel in panels] == [["a disk", "a ring"][row], "feature map", "Grad-CAM", words]
        contents = (images[row, 0], own[row], reference[row], own[row] - reference[row])
        for panel, content in zip(panels, contents, strict=True):
            assert np.array_equal(shown(panel).get_array(), content.numpy())
        assert [shown(panel).get_clim() for panel in panels[1:]] == [(0, top), (0, top), (-top, top)]


def test_examples_show_what_is_left_when_the_most_relevant_pixels_are_gone():
    images = torch.linspace(0.25, 1, 32).view(2, 1, 4, 4)
    maps = {name: torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(i)) for i, name in enumerate("ab")}
    # The more relevant, the smaller the rank.
    ranks = {name: (-values).flatten(1).argsort(1).argsort(1).view(2, 4, 4) for name, values in maps.items()}
    imputes = {
        "black": lambda images, gone: images.masked_fill(gone[:, None], 0),
        "white": lambda images, gone: images.masked_fill(gone[:, None], 1),
    }
    fig = examples_figure(images=images, imputes=imputes, maps=maps, ranks=ranks, titles=["disk", "ring"])
    rows = [fig.axes[start : start + 9] for start in range(0, 4 * 9, 9)]  # names, then map and 3 shares of each image
    assert [panels[0].texts[0].get_text() for panels in rows] == ["a\nblack", "b\nblack", "a\nwhite", "b\nwhite"]
    assert [panel.get_title(loc="left") for panel in rows[0][1::4]] == ["disk", "ring"]
    for panels, (name, value) in zip(rows, (("a", 0), ("b", 0), ("a", 1), ("b", 1)), strict=True):
        for i in range(2):
            assert np.array_equal(shown(panels[1 + 4 * i]).get_array(), maps[name][i].numpy())
            by_relevance = sorted(maps[name][i].flatten().tolist(), reverse=True)
            for panel, gone in zip(panels[2 + 4 * i : 5 + 4 * i], (2, 5, 8), strict=True):  # of 1.6, 4.8 and 8 pixels
                left = np.where(maps[name][i] >= by_relevance[gone - 1], np.float32(value), images[i, 0])
                assert np.array_equal(shown(panel).get_array(), left)
    assert [panel.get_title() for panel in rows[0][2:5]] == ["−10 %", "−30 %", "−50 %"]


def test_bars_stand_at_the_values_beside_each_measures_chance():
    table = pd.DataFrame(
        [
            {"measure": measure, "method": method, "value": value, "low": value - 0.125, "high": value + 0.25}
            | {"chance": chance}
            for measure, chance, values in (("energy", 0.125, (0.5, 0.25)), ("grid", 0.25, (0.375, 0.75)))
            for method, value in zip(("feature_map", "random"), values, strict=True)
        ]
    )
    fig = bars_figure(table, "conditions")
    expected = (("Energy", 0.125, [0.5, 0.25]), ("Grid pointing game", 0.25, [0.375, 0.75]))
    for panel, (measure, chance, values) in zip(fig.axes, expected, strict=True):
        assert panel.get_title() == f"{measure} (dashed: chance, {chance:.2f})"
        (line,) = (line for line in panel.lines if line.get_linestyle() == "--")
        assert list(line.get_ydata()) == [chance, chance]
        assert [bar.get_height() for bar in panel.patches] == values
        intervals = [segment[:, 1].tolist() for segment in panel.collections[0].get_segments()]
        assert intervals == [[value - 0.125, value + 0.25] for value in values]
        assert [label.get_text() for label in panel.get_xticklabels()] == ["feature_map", "random"]


def test_names_are_no_mathematics():
    fig, ((axes,),) = figure(1, 1, (2, 2))
    axes.set_title("price_$5_$.png")
    file = io.BytesIO()
    png(fig)(file)
    assert file.getvalue().startswith(b"\x89PNG")
    axes.set_title("price_$5_$.png", parse_math=True)
    with pytest.raises(ValueError, match="Expected"):
        png(fig)(io.BytesIO())

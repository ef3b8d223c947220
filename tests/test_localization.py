"""The three measures on maps of a few pixels, by hand, and the tables made of them."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fa_repro.attribution import Context, explain_classes
from fa_repro.attribution.occlusion import occlusion
from fa_repro.attribution.permutation import permutation
from fa_repro.localization import (
    Measured,
    cell_peaks,
    cell_shares,
    compose,
    draw_mosaics,
    energy,
    measure_grid,
    measure_truth,
    per_image_table,
    pointing_game,
)
from fa_repro.localization.summary import control_notes, is_ahead, localization_table, summary_markdown, warnings

TRUTH = torch.zeros(1, 4, 4, dtype=torch.bool)
TRUTH[0, 1:3, 1:3] = True  # 4 of 16 pixels: chance 0.25


def one_map(**pixels):
    """Return a map (1,4,4) of zeros with the named pixels, ``r1c2=0.5``."""
    values = torch.zeros(1, 4, 4)
    for place, value in pixels.items():
        values[0, int(place[1]), int(place[3])] = value
    return values


# ------------------------------------------------------------------------------------------ pointing game


@pytest.mark.parametrize(
    ("pixels", "tolerance", "value"),
    [
        ({"r1c1": 1.0, "r0c0": 0.9}, 0, 1.0),
        ({"r1c1": 0.9, "r0c0": 1.0}, 0, 0.0),
        ({"r1c1": 1.0, "r0c0": 1.0}, 0, 0.5),  # a tie: one of two maxima is inside
        ({"r1c1": 1.0, "r2c2": 1.0, "r0c3": 1.0}, 0, 2 / 3),
        ({"r0c1": 1.0}, 0, 0.0),
        ({"r0c1": 1.0}, 1, 1.0),  # a pixel beside the truth
        ({"r0c0": 1.0}, 1, 0.0),  # diagonally beside it: the square root of 2 away
        ({"r0c0": 1.0}, 2, 1.0),
    ],
)
def test_pointing_game_by_hand(pixels, tolerance, value):
    scores = pointing_game(one_map(**pixels), TRUTH, tolerance)
    assert scores.value.tolist() == [value]
    assert not scores.degenerate.any()


def test_the_chance_of_a_hit_grows_with_the_tolerance():
    chances = [pointing_game(one_map(r0c0=1.0), TRUTH, tolerance).chance.item() for tolerance in (0, 1, 2)]
    assert chances == [4 / 16, 12 / 16, 1.0]  # without the corners, then with them


def test_a_map_without_a_positive_value_still_points():
    assert pointing_game(one_map(r1c1=1.0) - 5, TRUTH).value.tolist() == [1.0]
    assert not pointing_game(one_map(r1c1=1.0) - 5, TRUTH).degenerate.any()


# ------------------------------------------------------------------------------------------------ energy


@pytest.mark.parametrize(
    ("pixels", "value"),
    [
        ({"r1c1": 3.0, "r0c0": 1.0}, 0.75),
        ({"r1c1": 3.0, "r0c0": -9.0}, 1.0),  # what speaks against the class counts neither way
        ({"r1c1": -3.0, "r0c0": 1.0}, 0.0),
        ({"r1c1": 1.0, "r2c2": 1.0, "r3c3": 2.0}, 0.5),
    ],
)
def test_energy_by_hand(pixels, value):
    scores = energy(one_map(**pixels), TRUTH)
    assert scores.value.tolist() == [value]
    assert scores.chance.tolist() == [0.25] and not scores.degenerate.any()


def test_a_perfect_map_scores_1_and_its_negative_0():
    perfect = torch.where(TRUTH, 1.0, -1.0)
    for measure in (pointing_game, energy):
        assert measure(perfect, TRUTH).value.tolist() == [1.0]
        assert measure(-perfect, TRUTH).value.tolist() == [0.0]


@pytest.mark.parametrize(
    ("maps", "of_pointing"),
    [
        (torch.zeros(1, 4, 4), True),
        (torch.full((1, 4, 4), 2.0), True),
        (one_map(r1c1=torch.nan), True),
        (one_map(r1c1=torch.inf), True),
        (one_map(r1c1=-1.0), False),  # it has a maximum, though nothing positive
    ],
)
def test_degenerate_maps_are_marked_and_score_as_a_uniform_map(maps, of_pointing):
    batch, truth = torch.cat([maps, one_map(r1c1=1.0)]), TRUTH.expand(2, 4, 4)
    pointing, inside = pointing_game(batch, truth), energy(batch, truth)
    assert pointing.degenerate.tolist() == [of_pointing, False]
    assert inside.degenerate.tolist() == [True, False]
    assert inside.value.tolist() == [0.25, 1.0]
    assert pointing.value.tolist() == [0.25 if of_pointing else 3 / 15, 1.0]


# -------------------------------------------------------------------------------------------------- grid


def test_shares_of_cells_by_hand():
    # Mosaic of 2 x 2 cells of 2 x 2 pixels; the map of class k is for cell k, row by row.
    maps = torch.zeros(1, 4, 4, 4)
    maps[0, 0, 0:2, 0:2] = 1.0  # all in its own cell
    maps[0, 1, 0, 2], maps[0, 1, 3, 0], maps[0, 1, 3, 3] = 1.0, 3.0, -5.0  # a quarter in its own, upper right
    maps[0, 2, 0:2, 2:4] = 1.0  # nothing in its own, lower left
    scores = cell_shares(maps, 2)
    assert scores.value.tolist() == [[1.0, 0.25, 0.0, 0.25]]
    assert scores.degenerate.tolist() == [[False, False, False, True]]
    assert scores.chance.tolist() == [[0.25] * 4]
    assert cell_shares(torch.ones(1, 9, 6, 6), 3).value[0].tolist() == [1 / 9] * 9


def test_maxima_in_cells_by_hand():
    maps = torch.zeros(1, 4, 4, 4)
    maps[0, 0] = 5.0
    maps[0, 0, 1, 1] = 6.0  # positive everywhere, the maximum in its own cell
    maps[0, 1, 0, 2] = maps[0, 1, 3, 3] = 1.0  # one of two maxima in its own, upper right
    maps[0, 2] -= 1.0
    maps[0, 2, 0, 0] = -0.5  # nothing positive, the maximum elsewhere
    scores = cell_peaks(maps, 2)
    assert scores.value.tolist() == [[1.0, 0.5, 0.0, 0.25]]
    assert scores.degenerate.tolist() == [[False, False, False, True]]
    assert scores.chance.tolist() == [[0.25] * 4]
    assert cell_shares(maps, 2).value[0, 0] == pytest.approx(21 / 81)
    own = torch.eye(9).view(1, 9, 3, 3).repeat_interleave(2, 2).repeat_interleave(4, 3)
    assert cell_peaks(own, 3).value.tolist() == [[1.0] * 9] and cell_peaks(-own, 3).value.tolist() == [[0.0] * 9]


def test_perfect_class_maps_score_1_and_their_negatives_0():
    own = torch.eye(9).view(1, 9, 3, 3).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert cell_shares(own * 2 - 1, 3).value.unique().tolist() == [1.0]
    assert cell_shares(1 - own * 2, 3).value.unique().tolist() == [0.0]
    assert cell_shares(own.flip(1), 3).value[0].tolist() == [0.0] * 4 + [1.0] + [0.0] * 4  # the centre keeps its place


def test_a_mosaic_lays_its_images_out_row_by_row():
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 2, 2)
    mosaic = compose(images, torch.tensor([[3, 0, 5, 1]]), 2)
    assert mosaic.shape == (1, 3, 4, 4)
    rows = [[3, 3, 0, 0], [3, 3, 0, 0], [5, 5, 1, 1], [5, 5, 1, 1]]
    assert mosaic[0].tolist() == [rows] * 3
    corner = torch.tensor([[[[1, 2], [3, 4]]]] * 4, dtype=torch.uint8)
    assert compose(corner, torch.tensor([[0, 1, 2, 3]]), 2)[0, 0, :2, :2].tolist() == [[1, 2], [3, 4]]


def test_mosaics_have_distinct_classes_and_use_no_image_twice():
    labels = torch.tensor([0] * 5 + [1] * 5 + [2] * 2 + [3] * 5 + [4] * 3)
    mosaics = draw_mosaics(labels, 2, 100, 0)
    assert len(mosaics) == 5  # the 20 images all find a place: no order of drawing makes more of them
    assert all(len(set(row)) == 4 for row in labels[mosaics].tolist())
    assert len(mosaics.unique()) == mosaics.numel()
    assert torch.equal(mosaics, draw_mosaics(labels, 2, 100, 0))
    assert not torch.equal(mosaics, draw_mosaics(labels, 2, 100, 1))
    assert len(draw_mosaics(labels, 2, 2, 0)) == 2
    assert len({tuple(row) for row in labels[draw_mosaics(labels, 2, 100, 3)].tolist()}) > 1  # places are drawn


@pytest.mark.parametrize(("labels", "grid"), [([0, 1, 2], 2), ([0, 0, 1, 1, 2, 2], 2), ([], 2), (range(8), 3)])
def test_too_few_classes_make_no_mosaic(labels, grid):
    assert draw_mosaics(torch.tensor(list(labels), dtype=torch.int64), grid, 10, 0).shape == (0, grid**2)


# ------------------------------------------------------------------------------------------- measurement


class Finder(nn.Module):
    """Class k sees channel k mod 3: its map is that channel, its logit the channel's mean."""

    n_classes = 4

    def class_maps(self, images):
        return images[:, [0, 1, 2, 0]]

    def forward(self, images):
        return self.class_maps(images).mean((2, 3)) - torch.tensor([0.0, 0.0, 0.0, 1.0])


def scene(n=5, size=8):
    """Return images (n,3,size,size) with a square of one channel at a place of its own, labels and masks."""
    images, masks = torch.zeros(n, 3, size, size, dtype=torch.uint8), torch.zeros(n, size, size, dtype=torch.bool)
    labels = torch.arange(n) % 3
    for i in range(n):
        masks[i, i % 4 : i % 4 + 4, :4] = True
        images[i, labels[i]][masks[i]] = 255
    return images, labels, masks


def truth_measures(target="label", batch_size=500, n=5, **changes):
    images, labels, masks = scene(n)
    methods = ["feature_map", "occlusion", "permutation", "random"]
    context = Context(patch=2, repeats=2, seed=3, batch_size=batch_size, colour=torch.zeros(3))
    arguments = {"measures": ["pointing_game", "energy"], "methods": methods, "target": target, "tolerance": 0}
    return measure_truth(Finder(), images, labels, masks, context=context, **arguments | changes)


def test_a_map_that_is_the_object_scores_1_and_noise_about_chance():
    # A quarter of the pixels: 3 standard deviations of a mean over 100 hits, and more than as many over 100 shares.
    for measured, close in zip(truth_measures(n=100), (0.13, 0.02), strict=True):
        assert measured.value.shape == (4, 100, 1)
        value = dict(zip(measured.methods, measured.value.mean((1, 2)), strict=True))
        assert value["feature_map"] == 1.0
        assert value["random"] == pytest.approx(0.25, abs=close)
        assert (measured.chance == 0.25).all()
        assert measured.targets[:5, 0].tolist() == [0, 1, 2, 0, 1]


def test_the_batch_size_changes_no_score_and_ticks_count_maps():
    ticks = []
    whole, parts = truth_measures(), truth_measures(batch_size=2, tick=ticks.append)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-12)
    assert sum(ticks) == 4 * 5


def test_the_predicted_class_is_explained_if_asked_for():
    images, labels, masks = scene()
    wrong = (labels + 1) % 3
    arguments = {"measures": ["energy"], "methods": ["feature_map"], "tolerance": 0, "context": Context()}
    (label,) = measure_truth(Finder(), images, wrong, masks, target="label", **arguments)
    (predicted,) = measure_truth(Finder(), images, wrong, masks, target="predicted", **arguments)
    assert label.degenerate.all() and not predicted.degenerate.any()  # the wrong class's map is empty
    assert (predicted.value == 1).all() and predicted.targets[:, 0].tolist() == labels.tolist()


def test_mosaics_are_scored_for_the_class_of_each_cell():
    images, labels, _ = scene(12)
    labels = torch.arange(12) % 4
    index = torch.tensor([[0, 1, 2, 3], [5, 4, 7, 6]])
    mosaics = compose(images, index, 2)
    ticks = []
    methods = ["feature_map", "random", "center"]
    settings = {"methods": methods, "context": Context(batch_size=4), "tick": ticks.append}
    measured, peaks = measure_grid(Finder(), mosaics, labels[index], 2, measures=["grid", "grid_peak"], **settings)
    assert (measured.measure, peaks.measure) == ("grid", "grid_peak") and peaks.value.shape == measured.value.shape
    assert peaks.value[2].mean(1) == pytest.approx([0.25, 0.25])
    assert measured.value.shape == (3, 2, 4) and sum(ticks) == 3 * 8
    shown = (torch.arange(12) % 3)[index]  # the channel of each cell, which several cells of a mosaic may share
    wanted = [[(seen == k % 3) / (row == k % 3).sum().item() for seen, k in zip(row.tolist(), cells, strict=True)]
              for row, cells in zip(shown, labels[index].tolist(), strict=True)]  # fmt: skip
    for got, want, row, cells in zip(measured.value[0], wanted, shown, labels[index].tolist(), strict=True):
        for t, k in enumerate(cells):
            assert got[t] == pytest.approx(want[t] if (row == k % 3).any() else 0.25)
    assert measured.value[2].mean(1) == pytest.approx([0.25, 0.25])  # the same map for all classes: chance, exactly
    assert np.ptp(measured.value[1].sum(1)) > 1e-6  # the noise of each class is its own
    assert measured.targets.tolist() == labels[index].tolist()


@pytest.mark.parametrize("method", [occlusion, permutation])
def test_several_classes_at_once_are_each_alone(method):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    images, classes = torch.rand(3, 3, 7, 6), torch.tensor([[0, 4], [1, 1], [3, 2]])
    context = Context(patch=3, repeats=2, seed=1, batch_size=4)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    both = explain_classes(method.__name__, model, images, classes, context)
    at_once = len(calls)
    assert both.shape == (3, 2, 7, 6)
    for t in range(2):
        torch.testing.assert_close(both[:, t], method(model, images, classes[:, t], context))
    assert len(calls) == 3 * at_once  # two classes cost no more than one
    assert not torch.equal(both[0, 0], both[0, 1]) and torch.equal(both[1, 0], both[1, 1])


# ------------------------------------------------------------------------------------------------ tables


def fabricated(measure="energy", degenerate=0, **values):
    value = np.stack([np.asarray(v, float) for v in values.values()])
    value = value[:, :, None] if value.ndim == 2 else value  # (methods, images or mosaics, maps of each)
    broken = np.zeros(value.shape, bool)
    broken[-1].flat[:degenerate] = True
    return Measured(
        measure, tuple(values), value, np.full(value.shape[1:], 0.25), broken, np.zeros(value.shape[1:], int)
    )


def test_differences_are_paired_and_wins_are_counted():
    values = np.random.default_rng(0).random(50)
    measured = fabricated(feature_map=values, grad_cam=values + 0.1, random=np.where(np.arange(50) < 10, 2, values))
    table = localization_table([measured], 500, 0).set_index("method")
    own, cam, noise = (table.loc[name] for name in measured.methods)
    assert own.value == pytest.approx(values.mean()) and own.low < own.value < own.high
    assert np.isnan(own.won) and own.minus_reference == own.minus_reference_high == 0
    # The same difference on every image has no spread, however much the images differ.
    assert [cam.minus_reference_low, cam.minus_reference, cam.minus_reference_high] == pytest.approx([0.1] * 3)
    assert cam.won == 1 and noise.won == pytest.approx(0.2 + 0.8 / 2)  # equal is half won
    rounded = localization_table([fabricated(feature_map=values, grad_cam=values + 1e-9)], 100, 0).iloc[1]
    assert (rounded.won, rounded.minus_reference) == (0.5, 0)  # so is a rounding
    assert set(table.reference) == {"feature_map"} and set(table.chance) == {0.25} and set(table.n) == {50}
    table = localization_table([fabricated(grad_cam=values, random=values)], 100, 0)
    assert set(table.reference) == {"grad_cam"}


def test_the_maps_of_one_mosaic_count_once():
    value = np.array([[0.0, 1.0, 0.5, 0.5]] * 30)  # the same mean in every mosaic
    line = localization_table([fabricated("grid", grad_cam=value)], 100, 0).iloc[0]
    assert [line.n, line.value, line.low, line.high] == pytest.approx([30, 0.5, 0.5, 0.5], abs=1e-12)


def warned(*measured):
    return warnings(measured, localization_table(measured, 500, 0))


def test_an_unbeaten_control_is_said_and_a_beaten_one_is_not():
    noise = np.random.default_rng(1).normal(0, 0.05, 100)
    clear = fabricated(feature_map=0.6 + noise, random=0.3 - noise)
    assert warned(clear) == []
    behind = fabricated(feature_map=0.3 + noise, grad_cam=0.6 - noise, center=0.3 - noise)
    (note,) = warned(behind)
    assert "control `center`" in note and "`feature_map`" in note and "`grad_cam`" not in note
    assert warned(clear, behind._replace(measure="grid")) == [note.replace("Energy", "Grid pointing game")]
    (note,) = warned(fabricated("pointing_game", 3, feature_map=0.6 + noise, occlusion=0.6 - noise))
    assert "3 of 100 maps of `occlusion` say nothing" in note and "nothing positive" not in note
    (note,) = warned(fabricated("energy", 3, feature_map=0.6 + noise))
    assert "nothing positive" in note
    (note,) = warned(fabricated("grid", feature_map=noise[:5]))
    assert "5 mosaics only" in note
    assert control_notes(pd.DataFrame()) == []


def of_before(table):
    """Return a table as it was written before it had paired differences from the controls."""
    return table[[name for name in table.columns if not name.startswith(("minus_random", "minus_center"))]]


def test_a_control_is_beaten_beyond_the_interval_of_the_paired_difference_alone():
    noise = np.random.default_rng(1).normal(0, 0.05, 100)
    noise -= noise.mean()
    own = 0.5 + noise
    found = fabricated(feature_map=own, grad_cam=own, above=own + 0.1, spread=0.53 - noise, center=own + 0.02)
    told = localization_table([found], 500, 0).set_index("method")
    ahead = {"feature_map": False, "grad_cam": False, "above": True, "spread": False}
    assert {name: is_ahead(told, name, "center") for name in ahead} == ahead
    # Without the differences from the control: of what is above it and has a spread of its own nothing is known.
    old = of_before(told)
    assert "minus_center" in told and "minus_center" not in old
    assert {name: is_ahead(old, name, "center") for name in ahead} == ahead | {"spread": None}
    assert (
        is_ahead(
            localization_table([fabricated(center=own, grad_cam=own)], 9, 0).set_index("method"), "grad_cam", "center"
        )
        is False
    )
    _, unknown = control_notes(of_before(localization_table([found], 500, 0)))
    assert "is not known to be beaten by `spread` (0.5" in unknown and "`above`" not in unknown
    with pytest.raises(KeyError):
        is_ahead(told, "feature_map", "random")


@pytest.mark.parametrize(("lead", "beaten"), [(0.02, True), (0.001, False), (-0.02, False)])
def test_an_older_table_tells_of_its_reference_what_the_new_one_does(lead, beaten):
    draw = np.random.default_rng(2).normal(0, 0.05, (2, 200))
    found = fabricated(feature_map=0.5 + lead + draw[0], random=0.5 + draw[1] - draw[1].mean() + draw[0].mean())
    table = localization_table([found], 500, 0)
    for lines in (table, of_before(table)):
        assert is_ahead(lines.set_index("method"), "feature_map", "random") is beaten
        assert bool(control_notes(lines)) is not beaten


def test_the_page_has_every_measure_with_its_chance():
    noise = np.random.default_rng(1).normal(0, 0.05, 100)
    found = [fabricated(name, feature_map=0.6 + noise, random=0.3 - noise) for name in ("energy", "grid")]
    page = summary_markdown("T", "conditions", localization_table(found, 100, 0), ["a note"])
    assert "## Energy: 100 images, chance 0.250" in page and "## Grid pointing game: 100 mosaics" in page
    assert "- a note" in page and "`random` (control)" in page and "Pointing game:" not in page.replace("Grid p", "")


def test_rows_of_single_maps():
    table = per_image_table(fabricated("grid", feature_map=[[0.1], [0.2]], random=[[0.3], [0.4]]), np.array([[7], [9]]))
    assert table.image.tolist() == [7, 9, 7, 9] and table.mosaic.tolist() == [0, 1, 0, 1]
    assert table.method.tolist() == ["feature_map"] * 2 + ["random"] * 2 and table.value.tolist() == [
        0.1,
        0.2,
        0.3,
        0.4,
    ]
    table = per_image_table(fabricated("energy", feature_map=[0.1]), np.array([[7]]))
    assert pd.isna(table.mosaic[0])

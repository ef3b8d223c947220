"""The tile stem: which pixels each of the first maps holds, by hand."""

import pytest
import torch

from fa_repro.models.tile_stem import TileStem
from networks import fa_cnn
from samples import noise


def test_stem_without_unshuffle_repeats_the_colour_planes():
    image = torch.tensor([[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6], [0.7, 0.8]], [[0.9, 1.0], [0.0, 0.05]]])
    maps = TileStem(3, 7, 1)(image[None])[0]
    red, green, blue = image
    assert torch.equal(maps, torch.stack([red, green, blue, red, green, blue, red]))


def test_stem_with_unshuffle_two_orders_planes_by_colour_then_row_then_column():
    pixels = torch.arange(16.0).view(1, 1, 4, 4) / 16
    maps = TileStem(1, 6, 2)(pixels)[0] * 16
    top_left = [[0, 2], [8, 10]]
    top_right = [[1, 3], [9, 11]]
    bottom_left = [[4, 6], [12, 14]]
    bottom_right = [[5, 7], [13, 15]]
    assert maps.tolist() == [top_left, top_right, bottom_left, bottom_right, top_left, top_right]


def test_stem_puts_all_places_of_a_colour_before_the_next_colour():
    image = torch.tensor([[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6], [0.7, 0.8]], [[0.9, 1.0], [0.0, 0.05]]])
    maps = TileStem(3, 14, 2)(image[None])[0, :, 0, 0]
    assert torch.equal(maps, torch.cat([image.flatten(), image.flatten()[:2]]))


def test_stem_has_no_parameters_and_keeps_the_unit_interval():
    stem = TileStem(3, 24, 2)
    assert not stem.state_dict()
    maps = stem(noise(2, 3, 8, 8))
    assert maps.shape == (2, 24, 4, 4) and maps.min() >= 0 and maps.max() <= 1


@pytest.mark.parametrize(("maps_per_class", "equal"), [(12, True), (24, True), (8, False), (13, False), (5, False)])
def test_pixels_term_is_equal_for_all_classes_only_with_balanced_planes(maps_per_class, equal):
    model = fa_cnn(n_classes=3, maps_per_class=maps_per_class).double()
    (name, pixels), *_ = model.depth_terms(noise(2, 3, 8, 8).double())
    means = pixels.mean((2, 3))
    assert name == "pixels"
    assert torch.allclose(means, means[:, :1].expand_as(means), rtol=1e-13, atol=0) is equal

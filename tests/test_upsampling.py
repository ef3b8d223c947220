"""Up-sampling of maps: by hand, and equal places to the last bit."""

import pytest
import torch

from fa_repro.attribution.upsampling import image_size, upsample
from samples import noise


def test_upsampling_by_hand():
    maps = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    nearest = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert upsample(maps, (4, 4), "nearest").tolist() == [nearest]
    bilinear = [[y + x for x in (0, 0.25, 0.75, 1)] for y in (0, 0.5, 1.5, 2)]
    assert upsample(maps, (4, 4), "bilinear").tolist() == [bilinear]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsampling_shapes(mode):
    maps = noise(3, 2, 5)
    assert upsample(maps, (8, 10), mode).shape == (3, 8, 10)
    assert torch.equal(upsample(maps, (2, 5), mode), maps)
    assert torch.allclose(upsample(torch.ones(2, 3, 3), (7, 7), mode), torch.ones(2, 7, 7), rtol=1e-6)
    assert image_size(torch.zeros(2, 3, 5, 7)) == (5, 7)


def test_places_that_bilinear_up_sampling_makes_equal_are_equal_to_the_last_bit():
    maps = noise(50, 4, 4)
    up = upsample(maps, (16, 16), "bilinear")
    for line, copy in ((up[:, 0], up[:, 1]), (up[:, -1], up[:, -2]), (up[..., 0], up[..., 1])):
        assert torch.equal(line, copy)  # beyond the outermost centres there is nothing to interpolate with
    mirrored = upsample(maps.flip(2), (16, 16), "bilinear").flip(2)
    assert torch.equal(up, mirrored)
    assert not torch.equal(up, upsample(maps.flip(2), (16, 16), "bilinear"))

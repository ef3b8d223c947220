"""The controls, which know nothing of the image: random maps and the centre."""

import pytest
import torch

from fa_repro.attribution import Context
from fa_repro.attribution.controls import center, random
from samples import pixels


def test_random_is_the_seeds_and_each_images_own():
    images, targets = pixels(4) / 255, torch.zeros(4, dtype=torch.int64)
    maps = random(None, images, targets, Context(seed=1))
    assert maps.shape == (4, 8, 8) and maps.min() >= 0 and maps.max() < 1
    assert torch.equal(random(None, images, targets, Context(seed=1)), maps)
    assert not torch.equal(random(None, images, targets, Context(seed=2)), maps)
    assert len({tuple(m.flatten().tolist()) for m in maps}) == 4


def test_random_knows_nothing_of_the_images():
    targets = torch.zeros(4, dtype=torch.int64)
    assert torch.equal(random(None, pixels(4) / 255, targets), random(None, pixels(4, seed=1) / 255, targets + 1))


@pytest.mark.parametrize("size", [8, 9])
def test_center_is_symmetric_and_largest_in_the_middle(size):
    maps = center(None, torch.zeros(2, 3, size, size), torch.zeros(2))
    assert maps.shape == (2, size, size) and torch.equal(maps[0], maps[1])
    for mirrored in (maps[0].flip(0), maps[0].flip(1), maps[0].T):
        assert torch.allclose(maps[0], mirrored, atol=1e-6)
    middle = maps[0, (size - 1) // 2 : size // 2 + 1, (size - 1) // 2 : size // 2 + 1]
    rest = maps[0][maps[0] < maps[0].max() - 1e-6]
    assert middle.min() > rest.max() and middle.numel() + rest.numel() == size * size


def test_center_falls_off_as_a_gaussian():
    row = center(None, torch.zeros(1, 1, 9, 9), torch.zeros(1))[0, 4]
    one_deviation_away = torch.exp(torch.tensor(-0.5 * (2 / 9 / 0.25) ** 2)).item()
    assert (row[4].item(), row[6].item()) == pytest.approx((1.0, one_deviation_away))

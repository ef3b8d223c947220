"""Occlusion and permutation of patches, by hand on linear models."""

from dataclasses import replace

import pytest
import torch

from fa_repro.attribution import Context
from fa_repro.attribution.occlusion import occlusion
from fa_repro.attribution.permutation import derangement, permutation
from networks import Linear
from samples import pixels

NEAREST = Context(upsampling="nearest", patch=2, repeats=3)


def linear(size=4, channels=1, classes=2, seed=3):
    return Linear(torch.randn(classes, channels, size, size, generator=torch.Generator().manual_seed(seed)))


def patches(values, patch):
    """Sum (H,W) over squares, the last of a row or column smaller."""
    height, width = values.shape
    return torch.stack(
        [
            torch.stack([values[y : y + patch, x : x + patch].sum() for x in range(0, width, patch)])
            for y in range(0, height, patch)
        ]
    )


def each_pixel_its_patch(drops, patch, size=4):
    """Spread drops (h,w) over the pixels (size,size) of their patches."""
    return drops.repeat_interleave(patch, 0).repeat_interleave(patch, 1)[:size, :size]


@pytest.mark.parametrize("method", [occlusion, permutation])
@pytest.mark.parametrize("batch_size", [1, 5, 500])
def test_forward_passes_are_no_larger_than_asked_and_do_not_change_the_result(method, batch_size):
    model, data, targets = linear(), pixels(3, size=4, channels=1), torch.tensor([1, 0, 1])
    context = replace(NEAREST, pool=data)
    expected = method(model, data / 255, targets, context)
    model.batches.clear()
    maps = method(model, data / 255, targets, replace(context, batch_size=batch_size))
    assert torch.allclose(maps, expected, atol=1e-6)
    assert max(model.batches) == min(batch_size, 3 * 4)


# Occlusion


@pytest.mark.parametrize("patch", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("colour", [None, torch.tensor([0.25])])
def test_occlusion_by_hand(patch, colour):
    model, images, targets = linear(), pixels(3, size=4, channels=1) / 255, torch.tensor([1, 0, 1])
    maps = occlusion(model, images, targets, replace(NEAREST, patch=patch, colour=colour))
    baseline = 0 if colour is None else 0.25
    for n, k in enumerate(targets):
        drops = patches(model.weights[k, 0] * (images[n, 0] - baseline), patch)
        assert torch.allclose(maps[n], each_pixel_its_patch(drops, patch), atol=1e-6)
        wrong = patches(model.weights[1 - k, 0] * (images[n, 0] - baseline), patch)
        assert not torch.allclose(maps[n], each_pixel_its_patch(wrong, patch), atol=1e-2)


def test_occlusion_in_numbers():
    weights = torch.zeros(2, 1, 4, 4)
    weights[1, 0] = torch.tensor([[1.0, 1, 0, 0], [0, 2, 0, 0], [0, 0, -1, 0], [0, 0, 0, 3]])
    image = torch.full((1, 1, 4, 4), 0.5)
    maps = occlusion(Linear(weights), image, torch.tensor([1]), NEAREST)
    assert maps[0, ::2, ::2].tolist() == [[2.0, 0.0], [0.0, 1.0]]
    assert torch.equal(maps[0], maps[0, ::2, ::2].repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_occlusion_shows_each_channel_its_own_colour():
    model, images = linear(channels=3), pixels(2, size=4) / 255
    colour = torch.tensor([0.2, 0.5, 0.9])
    maps = occlusion(model, images, torch.tensor([0, 1]), replace(NEAREST, patch=4, colour=colour))
    for n in range(2):
        drop = (model.weights[n] * (images[n] - colour[:, None, None])).sum().item()
        assert maps[n].flatten().tolist() == pytest.approx([drop] * 16, rel=1e-4)


def test_occlusion_drops_add_up_for_a_linear_model():
    model, images, targets = linear(size=7), pixels(2, size=7, channels=1).double() / 255, torch.tensor([0, 1])
    model.weights = model.weights.double()
    maps = occlusion(model, images, targets, replace(NEAREST, patch=1))
    assert torch.allclose(maps.sum((1, 2)), model(images)[[0, 1], targets], atol=1e-12)


# Permutation


@pytest.mark.parametrize("n", range(2, 21))
def test_derangement_is_a_permutation_without_a_fixed_point(n):
    for seed in range(20):
        donors = derangement(n, torch.Generator().manual_seed(seed))
        assert sorted(donors.tolist()) == list(range(n))
        assert all(donor != i for i, donor in enumerate(donors.tolist()))


def test_derangement_is_the_seeds_and_reaches_every_donor():
    first = [derangement(9, torch.Generator().manual_seed(seed)).tolist() for seed in range(60)]
    assert first == [derangement(9, torch.Generator().manual_seed(seed)).tolist() for seed in range(60)]
    assert {donors[0] for donors in first} == set(range(1, 9))


@pytest.mark.parametrize("n", [0, 1])
def test_a_single_image_has_no_donor(n):
    with pytest.raises(ValueError, match="two images"):
        derangement(n, torch.Generator())


def test_permutation_of_a_single_image_is_refused():
    with pytest.raises(ValueError, match="two images"):
        permutation(linear(), pixels(1, size=4, channels=1) / 255, torch.tensor([0]), NEAREST)


@pytest.mark.parametrize("patch", [1, 2, 3, 4])
def test_permutation_of_two_images_swaps_them(patch):
    model, images, targets = linear(), pixels(2, size=4, channels=1) / 255, torch.tensor([1, 0])
    maps = permutation(model, images, targets, replace(NEAREST, patch=patch))
    for n, k in enumerate(targets):
        drops = patches(model.weights[k, 0] * (images[n, 0] - images[1 - n, 0]), patch)
        assert torch.allclose(maps[n], each_pixel_its_patch(drops, patch), atol=1e-5)


@pytest.mark.parametrize("repeats", [1, 3])
def test_permutation_averages_over_donors(repeats):
    model, images = linear(), pixels(5, size=4, channels=1) / 255
    targets = torch.tensor([1, 0, 1, 0, 0])
    maps = permutation(model, images, targets, replace(NEAREST, repeats=repeats, seed=7))
    generator = torch.Generator().manual_seed(7)
    donors = [derangement(5, generator) for _ in range(repeats)]
    for n, k in enumerate(targets):
        drops = sum(patches(model.weights[k, 0] * (images[n, 0] - images[d[n], 0]), 2) for d in donors) / repeats
        assert torch.allclose(maps[n, ::2, ::2], drops, atol=1e-5)
    other = permutation(model, images, targets, replace(NEAREST, repeats=repeats, seed=8))
    assert not torch.allclose(other, maps, atol=1e-2)


def test_permutation_takes_its_donors_from_the_pool():
    model, pool = linear(), pixels(2, size=4, channels=1)
    for row in range(2):
        image, donor = pool[row : row + 1] / 255, pool[1 - row] / 255
        context = replace(NEAREST, pool=pool, rows=torch.tensor([row]))
        maps = permutation(model, image, torch.tensor([1]), context)
        assert torch.allclose(maps[0, ::2, ::2], patches(model.weights[1, 0] * (image[0, 0] - donor[0]), 2), atol=1e-5)

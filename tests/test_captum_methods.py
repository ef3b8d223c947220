"""Integrated gradients, saliency and Shapley values: by hand on models whose answer is known."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fa_repro.attribution import METHODS, Context, captum_library
from fa_repro.attribution.integrated_gradients import integrated_gradients
from fa_repro.attribution.saliency import saliency
from fa_repro.attribution.shapley import shapley
from fa_repro.errors import InputError
from networks import Linear

pytest.importorskip("captum")

COLOUR = torch.tensor([0.2, 0.5, 0.9])
CONTEXT = Context(colour=COLOUR, upsampling="nearest", patch=2, n_steps=4, n_samples=3)
TARGETS = torch.tensor([1, 0, 1])


def linear(size=5, seed=3):
    return Linear(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed)))


def pixels(n=3, size=5, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def curved(size=5):
    """A tiny network with a kink and a product, whose gradients change along the path."""
    torch.manual_seed(1)
    last = nn.Linear(6, 2)
    last.weight.data *= 10
    layers = nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * (size - 2) ** 2, 6), nn.Tanh(), last
    return nn.Sequential(*layers).requires_grad_(False)


def gain(model, images, targets, context=CONTEXT):
    """Return the target's logit minus that of the removal value, (N,)."""
    blank = context.colour.view(1, 3, 1, 1).expand(1, *images.shape[1:])
    return (model(images) - model(blank)).gather(1, targets[:, None])[:, 0]


def patch_sums(values, patch):
    """Sum maps (N,H,W) over squares, each pixel getting its square's sum."""
    sums = torch.zeros_like(values)
    for y in range(0, values.shape[1], patch):
        for x in range(0, values.shape[2], patch):
            square = (slice(None), slice(y, y + patch), slice(x, x + patch))
            sums[square] = values[square].sum((1, 2), keepdim=True)
    return sums


def test_integrated_gradients_of_a_linear_model_are_weight_times_change():
    model, images = linear(), pixels()
    changes = images - COLOUR.view(3, 1, 1)
    maps = integrated_gradients(model, images, TARGETS, CONTEXT)
    assert maps.shape == (3, 5, 5) and not maps.requires_grad
    assert torch.allclose(maps, (model.weights[TARGETS] * changes).sum(1), atol=1e-6)
    assert maps.min() < -0.1  # signed
    assert not torch.allclose(maps, (model.weights[1 - TARGETS] * changes).sum(1), atol=0.1)


def test_integrated_gradients_start_at_black_without_a_removal_value():
    model, images = linear(), pixels()
    maps = integrated_gradients(model, images, TARGETS, replace(CONTEXT, colour=None))
    assert torch.allclose(maps, (model.weights[TARGETS] * images).sum(1), atol=1e-6)
    assert not torch.allclose(maps, integrated_gradients(model, images, TARGETS, CONTEXT), atol=0.1)


def test_integrated_gradients_are_complete_with_enough_steps():
    model, images = curved(), pixels()
    wanted = gain(model, images, TARGETS)
    errors = [
        (integrated_gradients(model, images, TARGETS, replace(CONTEXT, n_steps=n)).sum((1, 2)) - wanted).abs().max()
        for n in (1, 30)
    ]
    assert wanted.abs().min() > 0.01
    assert errors[1] < 1e-5 < 1e-4 < errors[0]  # one step is no path: the check can fail


def test_saliency_of_a_linear_model_is_its_largest_absolute_weight():
    model = linear()
    maps = saliency(model, pixels(), TARGETS, CONTEXT)
    assert maps.shape == (3, 5, 5) and not maps.requires_grad
    assert torch.equal(maps, model.weights[TARGETS].abs().amax(1))
    assert not torch.allclose(maps, model.weights[TARGETS].amax(1), atol=0.1)  # absolute
    assert not torch.allclose(maps, model.weights[TARGETS].abs().mean(1), atol=0.1)  # the largest


def test_saliency_is_the_gradient_at_the_image():
    model, images = curved(), pixels()
    inputs = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(inputs).gather(1, TARGETS[:, None]).sum(), inputs)
    maps = saliency(model, images, TARGETS, CONTEXT)
    assert torch.allclose(maps, gradient.abs().amax(1), atol=1e-7)
    assert not torch.allclose(maps, saliency(model, pixels(seed=1), TARGETS, CONTEXT), rtol=0.01)


@pytest.mark.parametrize("patch", [1, 2, 3, 5])
def test_shapley_values_of_an_additive_model_are_each_patchs_contribution(patch):
    model, images = linear(), pixels()
    changes = (model.weights[TARGETS] * (images - COLOUR.view(3, 1, 1))).sum(1)
    maps = shapley(model, images, TARGETS, replace(CONTEXT, patch=patch))
    assert torch.allclose(maps, patch_sums(changes, patch), atol=1e-5)
    assert maps.min() < -0.1  # signed
    wrong = (model.weights[1 - TARGETS] * (images - COLOUR.view(3, 1, 1))).sum(1)
    assert not torch.allclose(maps, patch_sums(wrong, patch), atol=0.1)


class Bonus(nn.Module):
    """Three squares of one pixel: logit 1 is 6 if the first and one of the others are lit."""

    def forward(self, images):
        first, second, third = images[:, 0, 0].unbind(1)
        return torch.stack([torch.zeros_like(first), 6 * first * torch.maximum(second, third)], 1)


def test_shapley_values_of_a_game_by_hand():
    image = torch.ones(1, 1, 1, 3)
    context = Context(upsampling="nearest", patch=1, n_samples=300)
    maps = shapley(Bonus(), image, torch.tensor([1]), context)[0, 0]
    # In an order, who completes the pair gets all: the second to come, if the first is among those two, else the last.
    generator = torch.Generator().manual_seed(context.seed)
    orders = [torch.randperm(3, generator=generator).tolist() for _ in range(300)]
    winners = torch.tensor([order[1] if 0 in order[:2] else order[2] for order in orders])
    assert torch.allclose(maps, 6 * winners.bincount(minlength=3) / 300, atol=1e-4)
    # Over all 3! orders the first wins 4 times, each other once; a share's standard error is below 6 * 0.5 / 300^0.5.
    assert maps.tolist() == pytest.approx([4, 1, 1], abs=0.5)
    assert maps.tolist() != pytest.approx([6, 0, 0], abs=0.5)  # what taking one pixel away at a time would say


def test_shapley_values_add_up_and_are_the_seeds():
    model, images = curved(), pixels()
    maps = shapley(model, images, TARGETS, replace(CONTEXT, patch=1))
    assert torch.allclose(maps.sum((1, 2)), gain(model, images, TARGETS), atol=1e-5)
    state = torch.random.get_rng_state()
    assert torch.equal(shapley(model, images, TARGETS, replace(CONTEXT, patch=1)), maps)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = shapley(model, images, TARGETS, replace(CONTEXT, patch=1, seed=1))
    assert not torch.allclose(other, maps, atol=1e-4)


def test_shapley_maps_go_through_the_up_sampling():
    model, images = linear(size=4), pixels(size=4)
    nearest, bilinear = (
        shapley(model, images, TARGETS, replace(CONTEXT, upsampling=mode)) for mode in ("nearest", "bilinear")
    )
    assert torch.allclose(bilinear[:, ::3, ::3], nearest[:, ::3, ::3])  # the corners keep their patch's value
    assert not torch.allclose(bilinear[:, 1, 1], nearest[:, 1, 1], atol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 500])
@pytest.mark.parametrize("method", captum_library.BY_CAPTUM)
def test_forward_passes_are_no_larger_than_asked_and_do_not_change_the_result(method, batch_size):
    model, images = linear(), pixels()
    expected = METHODS[method](model, images, TARGETS, CONTEXT)
    model.batches.clear()
    maps = METHODS[method](model, images, TARGETS, replace(CONTEXT, batch_size=batch_size))
    assert torch.allclose(maps, expected, atol=1e-5)
    assert max(model.batches) <= batch_size


@pytest.mark.parametrize("method", captum_library.BY_CAPTUM)
def test_a_model_that_looks_elsewhere_gets_another_map(method):
    """Negative control: blind to the image's left half, a model has no evidence there, and elsewhere it has."""
    model, images = linear(size=4), pixels(size=4)
    model.weights[:, :, :, :2] = 0
    maps = METHODS[method](model, images, TARGETS, CONTEXT)
    assert maps[:, :, :2].abs().max() < 1e-6 < 0.1 < maps[:, :, 2:].abs().max()


@pytest.mark.parametrize("method", captum_library.BY_CAPTUM)
def test_without_captum_a_line_says_how_to_get_it(method, monkeypatch):
    monkeypatch.setattr(captum_library, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"{method} needs captum.*pip install 'fa-repro\[captum\]'"):
        METHODS[method](linear(), pixels(), TARGETS, CONTEXT)
    captum_library.check_captum(["grad_cam", "random"])


def test_the_command_refuses_a_missing_library_before_anything_else(cli, workplace, monkeypatch):
    monkeypatch.setattr(captum_library, "find_spec", lambda name: None)
    answer = cli("benchmark-removal", "checkpoint=missing.pt", "methods=[random,saliency]")
    assert answer.code == 2 and "pip install 'fa-repro[captum]'" in answer.err and answer.err.count("\n") == 1
    assert "missing.pt" in cli("benchmark-removal", "checkpoint=missing.pt", "methods=[random]").err

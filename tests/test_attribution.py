"""What holds of every method: the model stays as it was, batches change nothing, and what a model may lack."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from fa_repro import config
from fa_repro.attribution import CONTROLS, METHODS, Context, captum_library, left_out
from fa_repro.attribution.targets import predict
from networks import FA, RESNET, hooks, network
from samples import noise, pixels

NEAREST = Context(upsampling="nearest", patch=2, repeats=3, n_steps=5, n_samples=2)
# The optional library's methods go through the same tests where it is there.
INSTALLED = [name for name in METHODS if name not in captum_library.BY_CAPTUM or find_spec("captum")]


def test_methods_are_those_of_the_config():
    assert tuple(METHODS) == config.METHODS
    assert set(CONTROLS) < set(METHODS)


@pytest.mark.parametrize("method", INSTALLED)
def test_settings_may_be_left_to_their_defaults(method):
    model, images, targets = network(FA), noise(2, 3, 8, 8), torch.tensor([0, 1])
    maps = METHODS[method](model, images, targets)
    assert maps.shape == (2, 8, 8)
    assert torch.equal(maps, METHODS[method](model, images, targets, Context()))


@pytest.mark.parametrize("method", INSTALLED)
def test_explaining_changes_nothing_in_the_model(method):
    model, data = network(), pixels(3)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    images = data / 255
    maps = METHODS[method](model, images, torch.tensor([2, 0, 1]), replace(NEAREST, pool=data))
    assert maps.shape == (3, 8, 8) and maps.isfinite().all() and not maps.requires_grad
    assert not any(module.training for module in model.modules())
    assert hooks(model) == 0
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(images, data / 255)


@pytest.mark.parametrize("method", INSTALLED)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_results_do_not_depend_on_the_batches(method, size):
    model, pool, targets = network(), pixels(6), torch.tensor([2, 0, 1, 0, 2, 1])
    context = replace(NEAREST, pool=pool, patch=3)
    whole = METHODS[method](model, pool / 255, targets, context)
    parts = [
        METHODS[method](model, pool[rows] / 255, targets[rows], replace(context, rows=rows))
        for rows in torch.arange(6).split(size)
    ]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)


@pytest.mark.parametrize("method", ["permutation", "random"])
def test_without_its_rows_a_batch_gets_others_donors_and_noise(method):
    model, pool, targets = network(), pixels(6), torch.tensor([2, 0, 1, 0, 2, 1])
    context = replace(NEAREST, pool=pool)
    whole = METHODS[method](model, pool / 255, targets, context)
    assert not torch.allclose(METHODS[method](model, pool[3:] / 255, targets[3:], context), whole[3:], atol=1e-3)


# What a model lacks


@pytest.mark.parametrize("method", [name for name in INSTALLED if name not in CONTROLS])
def test_no_map_is_rounded_to_tf32(monkeypatch, method):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    model, seen = network(FA), []
    for module in model.modules():
        module.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model(images)
    assert True in seen  # as by default
    targets = torch.tensor([0, 1])
    for work in (lambda: METHODS[method](model, images, targets, NEAREST), lambda: predict(model, images, 2)):
        seen.clear()
        work()
        assert seen and True not in seen
    assert torch.backends.cudnn.allow_tf32


WITHOUT_CLASS_MAPS = {"feature_map": "class_maps", "depth_map": "depth_terms", "contrast_map": "class_maps"}


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        (FA, {}),
        (RESNET, WITHOUT_CLASS_MAPS),
        (FA | {"head": "linear"}, WITHOUT_CLASS_MAPS),
    ],
)
def test_what_a_network_lacks_is_left_out(config, missing):
    model, images = network(config), noise(1, 3, 8, 8)
    reasons = {method: left_out(method, model, images) for method in METHODS}
    expected = {method: f"`{method}` is left out: the model has no {need}." for method, need in missing.items()}
    assert {method: reason for method, reason in reasons.items() if reason} == expected


def test_a_bare_module_lacks_the_layer_of_grad_cam():
    images = noise(1, 3, 8, 8)
    assert "the model has no last_feature_layer" in left_out("grad_cam", nn.Identity(), images)
    patchwise = ("permutation", "occlusion", *CONTROLS)
    assert [left_out(method, nn.Identity(), images) for method in patchwise] == [None] * 4

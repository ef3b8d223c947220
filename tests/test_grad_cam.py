"""Grad-CAM: captum's, by hand, and in any state of the model."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fa_repro.attribution import Context
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.models.external import build_external
from networks import FA, RESNET, Linear, factory, hooks, network
from samples import IMAGE, pixels


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
@pytest.mark.parametrize("config", [RESNET, FA, FA | {"head": "linear"}], ids=["resnet", "fa_cnn", "linear head"])
def test_grad_cam_is_captums(config, upsampling):
    model, images, targets = network(config), pixels(4) / 255, torch.tensor([2, 0, 1, 2])
    cam = pytest.importorskip("captum.attr").LayerGradCam(model, model.last_feature_layer)
    reference = cam.attribute(images.clone().requires_grad_(), target=targets, relu_attributions=True).detach()
    corners = {"align_corners": False} if upsampling == "bilinear" else {}
    reference = F.interpolate(reference, size=(8, 8), mode=upsampling, **corners)[:, 0]
    context = Context(upsampling=upsampling)
    maps = grad_cam(model, images, targets, context)
    assert maps.shape == (4, 8, 8) and maps.max() > 0 and not maps.requires_grad
    assert torch.allclose(maps, reference, rtol=1e-4, atol=1e-6 * reference.max().item())
    assert not torch.allclose(grad_cam(model, images, targets.roll(1), context), reference, rtol=1e-2)


def test_grad_cam_of_a_named_layer_is_captums_even_before_a_relu_in_place(nets):
    captum = pytest.importorskip("captum.attr")
    model, target = build_external(factory(f"{nets}:build"), 10, 0).requires_grad_(False), torch.tensor([4])
    maps = {}
    for layer in ("body.1", "body.0"):
        cam = captum.LayerGradCam(model, model.get_submodule(layer))
        # captum's own hook can't look at a layer whose output is then changed in place.
        model.body[2].inplace = False
        wanted = cam.attribute(IMAGE.clone().requires_grad_(), target=target, relu_attributions=True).detach()
        model.body[2].inplace = True
        wanted = nn.functional.interpolate(wanted, size=(64, 64))[:, 0]
        maps[layer] = grad_cam(model, IMAGE, target, Context(layer=layer, upsampling="nearest"))
        assert wanted.max() > 0
        assert torch.allclose(maps[layer], wanted, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(maps["body.0"], maps["body.1"], rtol=0.1)


def test_grad_cam_by_hand():
    weights = torch.tensor([[[[1.0, 3.0]], [[0.0, -2.0]]], [[[0.0, 0.0]], [[4.0, 4.0]]]])  # means 2, -1; 0, 4
    image = torch.tensor([[[1.0, 0.25]], [[0.5, 1.0]]])[None]
    assert grad_cam(Linear(weights), image, torch.tensor([0])).tolist() == [[[1.5, 0.0]]]  # 2 - 0.5; 0.5 - 1 < 0
    assert grad_cam(Linear(weights), image, torch.tensor([1])).tolist() == [[[2.0, 4.0]]]


def test_grad_cam_of_an_image_is_the_same_in_any_batch():
    model, images, targets = network(RESNET), pixels(5) / 255, torch.tensor([2, 0, 1, 2, 1])
    alone = torch.cat([grad_cam(model, images[i : i + 1], targets[i : i + 1]) for i in range(5)])
    assert torch.allclose(grad_cam(model, images, targets), alone, rtol=1e-5, atol=1e-7)


def test_grad_cam_works_where_gradients_are_off():
    model, images, targets = network(RESNET), pixels(2) / 255, torch.tensor([2, 0])
    expected = grad_cam(model, images, targets)
    with torch.no_grad():
        assert torch.equal(grad_cam(model, images, targets), expected)


def test_grad_cam_works_with_frozen_weights():
    model, images, targets = network(RESNET), pixels(2) / 255, torch.tensor([2, 0])
    expected = grad_cam(model, images, targets)
    assert torch.equal(grad_cam(model.requires_grad_(False), images, targets), expected)


def test_grad_cam_leaves_no_hook_behind_when_the_model_fails():
    model = network(RESNET)
    model.head = nn.Linear(1, 1)  # does not fit
    with pytest.raises(RuntimeError):
        grad_cam(model, pixels(2) / 255, torch.tensor([0, 1]))
    assert hooks(model) == 0

"""The network's own maps: feature map, depth map and contrast map are the target's."""

import pytest
import torch
from torch.nn import functional as F

from fa_repro.attribution import Context
from fa_repro.attribution.contrast_map import contrast_map
from fa_repro.attribution.depth_map import depth_map
from fa_repro.attribution.feature_map import feature_map
from fa_repro.attribution.grad_cam import last_activations, weighted_maps
from fa_repro.attribution.upsampling import upsample
from networks import network
from samples import pixels


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_feature_map_is_the_targets_class_map(upsampling):
    model, images, targets = network(), pixels(4) / 255, torch.tensor([2, 0, 1, 2])
    corners = {"align_corners": False} if upsampling == "bilinear" else {}
    with torch.no_grad():
        every = F.interpolate(model.class_maps(images), size=(8, 8), mode=upsampling, **corners)
    maps = feature_map(model, images, targets, Context(upsampling=upsampling))
    assert maps.shape == (4, 8, 8)
    for n, k in enumerate(targets):
        assert torch.allclose(maps[n], every[n, k], atol=1e-7)
        assert not torch.allclose(maps[n], every[n, (k + 1) % 3], atol=1e-3)


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_depth_map_is_the_targets(upsampling):
    model, images, targets = network(), pixels(4) / 255, torch.tensor([2, 0, 1, 2])
    maps = depth_map(model, images, targets, Context(upsampling=upsampling))
    with torch.no_grad():
        every, logits = model.depth_maps(images, upsampling), model(images)
    assert maps.shape == (4, 8, 8)
    for n, k in enumerate(targets):
        assert torch.equal(maps[n], every[n, k])
        assert maps[n].mean().item() == pytest.approx(logits[n, k].item(), rel=1e-5)
        assert maps[n].mean().item() != pytest.approx(logits[n, (k + 1) % 3].item(), rel=1e-3)


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_contrast_map_is_grad_cam_of_the_logit_less_the_mean_of_all(upsampling):
    model, images, targets = network().double(), pixels(4).double() / 255, torch.tensor([2, 0, 1, 2])
    maps = contrast_map(model, images, targets, Context(upsampling=upsampling))
    assert maps.shape == (4, 8, 8)
    with torch.enable_grad():
        activations, logits = last_activations(model, images)
        logit = logits.gather(1, targets[:, None])[:, 0]
        scores = {"contrast": logit - logits.mean(1), "logit": logit}
    off = {}
    for name, score in scores.items():
        signed = upsample(weighted_maps(activations, score), (8, 8), upsampling)
        # Up to the factor of T1, one for all images: gradients are a mean's.
        off[name] = (maps / maps.norm() - signed / signed.norm()).norm()
    assert off["contrast"] < 1e-12 and off["logit"] > 1e-2


def test_contrast_map_ignores_a_field_that_all_classes_share(monkeypatch):
    model, images, targets = network(), pixels(4) / 255, torch.tensor([2, 0, 1, 2])
    of_all, shared = model.class_maps, torch.linspace(-1, 1, 16).view(1, 1, 4, 4)
    before = [explain(model, images, targets) for explain in (contrast_map, feature_map)]
    monkeypatch.setattr(model, "class_maps", lambda images: of_all(images) + shared)
    after = [explain(model, images, targets) for explain in (contrast_map, feature_map)]
    (contrast, own) = ((a - b).abs().max() for a, b in zip(before, after, strict=True))
    assert contrast < 1e-6 and own > 0.5

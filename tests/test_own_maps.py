"""The network's own maps: feature map and depth map are the target's."""

import pytest
import torch
from torch.nn import functional as F

from fa_repro.attribution import Context
from fa_repro.attribution.depth_map import depth_map
from fa_repro.attribution.feature_map import feature_map
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

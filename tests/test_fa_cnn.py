"""FA-CNN as a whole: features, head, parameters and what a map sees, by hand."""

import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from fa_repro.models import LinearHeadCNN
from fa_repro.models.gap_head import GAPHead, class_maps
from fa_repro.models.normalization import Normalize
from networks import fa_cnn, with_random_norms
from samples import noise


def test_features_pool_between_stages_and_nowhere_else():
    model = with_random_norms(fa_cnn(n_classes=2, blocks=[2, 1])).double()
    images = noise(2, 3, 8, 8).double()
    maps = model.stem(images)
    first, second, third = *model.stages[0], *model.stages[1]
    maps = 0.5 * maps + 0.5 * first.branch(maps)
    maps = 0.5 * maps + 0.5 * second.branch(maps)
    maps = (maps[..., 0::2, 0::2] + maps[..., 0::2, 1::2] + maps[..., 1::2, 0::2] + maps[..., 1::2, 1::2]) / 4
    maps = 0.5 * maps + 0.5 * third.branch(maps)
    assert torch.allclose(model.features(images), maps, rtol=1e-12, atol=1e-14)


def test_trace_is_the_forward_pass_layer_by_layer():
    model = with_random_norms(fa_cnn(blocks=[2, 2]))
    images = noise(2, 3, 8, 8)
    layers = list(model.trace(images))
    assert [layer.name for layer in layers] == ["stage1.block1", "stage1.block2", "stage2.block1", "stage2.block2"]
    assert torch.equal(layers[0].before, model.stem(images))
    assert torch.equal(layers[1].before, layers[0].after) and torch.equal(layers[3].before, layers[2].after)
    assert layers[2].before.shape[2] == layers[1].after.shape[2] // 2
    assert torch.allclose(layers[-1].after, model.features(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("skip", ["damped", "undamped", "none"])
def test_feature_maps_of_images_are_not_negative(skip):
    model = with_random_norms(fa_cnn(skip=skip, blocks=[2, 2]))
    layers = list(model.trace(noise(4, 3, 8, 8)))
    assert all(layer.after.min() >= 0 and layer.after.max() > 0 for layer in layers)
    # Without the branch's last ReLU they would be.
    for stage in model.stages:
        for block in stage:
            block.branch.layers[-1] = nn.Identity()
    assert min(layer.after.min() for layer in model.trace(noise(4, 3, 8, 8))) < 0


def test_fa_cnn_takes_pixels_as_they_are():
    assert not any(isinstance(module, Normalize) for module in fa_cnn().modules())


@pytest.mark.parametrize("learn_scale", [True, False])
def test_fa_cnn_has_as_many_parameters_as_counted(learn_scale):
    model = fa_cnn(n_classes=3, maps_per_class=4, blocks=[2, 1], hidden=[5, 7], learn_scale=learn_scale)

    def out(hidden):
        return hidden * 12 + 2 * 12

    def read(squeeze):
        return 12 * squeeze + 2 * squeeze

    pixels = 9 * 24 * 5 + 2 * 5 + out(5)  # 24 channels of whitened patches, no 1x1 convolution
    second = read(4) + 9 * 4 * 5 + 2 * 5 + out(5)
    third = read(4) + 9 * 4 * 7 + 2 * 7 + out(7)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == pixels + second + third + learn_scale


# Head


def test_head_averages_groups_and_positions_by_hand():
    head = GAPHead(2, 3.0, learn_scale=False).double()
    maps = torch.tensor([1.0, 3.0, 5.0, 7.0, 2.0, 2.0, 10.0, 30.0], dtype=torch.float64).view(1, 4, 1, 2)
    scale = math.exp(torch.tensor(math.log(3.0)).item())
    assert head(maps).tolist()[0] == pytest.approx([scale * (2 + 6) / 2, scale * (2 + 20) / 2], rel=1e-15)
    assert scale == pytest.approx(3, rel=1e-6)


@pytest.mark.parametrize("learned", [True, False])
def test_scale_is_learned_only_on_request(learned):
    model = fa_cnn(scale=4.0, learn_scale=learned)
    assert model.head.scale.item() == pytest.approx(4.0)
    assert model.head.log_scale.requires_grad is learned


def test_channels_are_grouped_by_class():
    features = torch.arange(6.0).view(1, 6, 1, 1)
    assert class_maps(features, 2).flatten().tolist() == [1.0, 4.0]  # by map instead: 2.0, 3.0
    assert class_maps(features, 3).flatten().tolist() == [0.5, 2.5, 4.5]


def test_a_channel_moves_its_own_class_alone():
    model = fa_cnn(n_classes=3, maps_per_class=4)
    for channel in range(12):
        features = torch.zeros(1, 12, 2, 2)
        features[0, channel, 1, 0] = 1
        logits = model.head(features)[0]
        assert logits.nonzero().flatten().tolist() == [channel // 4]
        assert logits[channel // 4].item() == pytest.approx(10 / 16)


def test_logits_are_the_means_of_the_class_maps():
    model = with_random_norms(fa_cnn(n_classes=5, maps_per_class=3)).double()
    images = noise(3, 3, 8, 8).double()
    means = model.head.scale * model.class_maps(images).mean((2, 3))
    assert torch.allclose(model(images), means, rtol=1e-13, atol=0)
    assert not torch.allclose(model(images), means.flip(1), rtol=1e-3)


def test_linear_head_mixes_all_channels():
    model = with_random_norms(fa_cnn(head="linear"))
    assert isinstance(model, LinearHeadCNN) and not hasattr(model, "class_maps")
    images = noise(2, 3, 8, 8)
    expected = model.features(images).mean((2, 3)) @ model.head.weight.T + model.head.bias
    assert torch.allclose(model(images), expected, atol=1e-6)
    assert (model.head.weight != 0).all()


# What a class map's value sees


def seen(**changed):
    """Rows of the image that change the last maps' middle row, found by changing one row after the other."""
    sizes = {key: [4] * 3 for key in ("squeeze", "hidden")}
    model = with_random_norms(fa_cnn(image_size=64, blocks=[1, 1, 1], **sizes, **changed)).double()
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.normal_(conv.weight)  # not the identity
    image = noise(1, 3, 64, 64).double()
    before = model.features(image)
    middle = before.shape[2] // 2
    rows = []
    for row in range(64):
        other = image.clone()
        other[:, :, row] = 1 - other[:, :, row]
        if not torch.equal(model.features(other)[:, :, middle], before[:, :, middle]):
            rows.append(row)
    assert rows == list(range(rows[0], rows[-1] + 1))
    return len(rows)


def window_of(model):
    """Return the keys that decide what a map's value sees, of a model's config; what it does not say is fa_cnn's."""
    configs = [OmegaConf.load(Path(__file__).parents[1] / f"configs/model/{name}.yaml") for name in ("fa_cnn", model)]
    return {key: list(next(c for c in reversed(configs) if key in c)[key]) for key in ("pool", "depth", "shrink")}


def test_finer_maps_see_as_much_as_fine_ones_at_twice_the_places():
    fine, finer = window_of("fa_cnn_fine"), window_of("fa_cnn_finer")
    assert seen(**fine) == seen(**finer) == 39
    assert (fine["pool"], finer["pool"]) == ([1, 1, 2], [1, 1, 1])  # of the side, before each branch
    assert seen(**window_of("fa_cnn")) > 39


def test_the_local_networks_maps_see_17_pixels():
    keys = window_of("fa_cnn_local")
    assert seen(**keys) == 17
    assert seen(**keys | {"depth": [2, 2, 1]}) == 17 + 4  # one more 3x3 convolution on every second pixel
    assert seen(**keys | {"pool": [1, 1, 2]}) > 17

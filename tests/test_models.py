"""The networks: stem, blocks, head by hand; shapes; what is refused; parameters."""

import io
import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import tiny
from fa_repro.errors import InputError
from fa_repro.models import FeatureAlignCNN, LinearHeadCNN, Task, build_model
from fa_repro.models.branch import Branch
from fa_repro.models.gap_head import GAPHead, class_maps
from fa_repro.models.normalization import Normalize
from fa_repro.models.resnet18 import ResNet18
from fa_repro.models.skip_connection import SkipBlock, mixture
from fa_repro.models.stage import Residual, convolution
from fa_repro.models.stage import stage as a_stage
from fa_repro.models.tile_stem import TileStem
from fa_repro.models.whitening import Whitening, fit_whitening
from tiny import FA_CNN

FA = FA_CNN | {"maps_per_class": 12, "unshuffle": 2}
RESNET = tiny.RESNET | {"widths": [16, 32, 64], "blocks": [2, 2, 2]}

# The first use of torchvision takes seconds.
RESNET18 = pytest.param({"name": "resnet18"}, marks=pytest.mark.slow, id="resnet18")


def task(n_classes=10, in_channels=3, image_size=32):
    return Task(n_classes, in_channels, image_size, [0.5] * in_channels, [0.25] * in_channels)


def fa_cnn(n_classes=2, in_channels=3, image_size=8, seed=0, **changed):
    torch.manual_seed(seed)
    return build_model(FA | changed, task(n_classes, in_channels, image_size)).eval()


def with_random_norms(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.2, generator=generator)
            norm.running_var.uniform_(0.3, 2, generator=generator)
            norm.weight.data.uniform_(0.5, 1.5, generator=generator)
            norm.bias.data.normal_(0, 0.3, generator=generator)
    return model


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, maps):
        return self.value.to(maps).expand_as(maps)


# Tile stem


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


# Blocks


@pytest.mark.parametrize(
    ("kind", "alpha", "expected"),
    [
        ("damped", 0.25, [0.75 * 1 + 0.25 * 3, 0.75 * 2 + 0.25 * 5]),
        ("damped", 0.5, [2.0, 3.5]),
        ("damped", 0.9, [0.1 * 1 + 0.9 * 3, 0.1 * 2 + 0.9 * 5]),
        ("undamped", 0.25, [4.0, 7.0]),
        ("none", 0.25, [3.0, 5.0]),
    ],
)
def test_block_mixes_maps_and_branch(kind, alpha, expected):
    block = SkipBlock(Constant(torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)), mixture(kind, alpha))
    maps = torch.tensor([1.0, 2.0], dtype=torch.float64).view(1, 2, 1, 1)
    assert block(maps).flatten().tolist() == pytest.approx(expected, rel=1e-15)


def branch(channels=4, squeeze=3, hidden=6, depth=1, shrink=1, **pixels):
    return Branch(channels, squeeze=squeeze, hidden=hidden, depth=depth, shrink=shrink, **pixels)


def normed(norm, maps):
    view = (1, -1, 1, 1)
    maps = (maps - norm.running_mean.view(view)) / (norm.running_var.view(view) + norm.eps).sqrt()
    return maps * norm.weight.view(view) + norm.bias.view(view)


def gelu(maps):
    return maps * (1 + torch.erf(maps / math.sqrt(2))) / 2


def test_block_does_not_change_its_input():
    block = SkipBlock(branch(2, depth=2), mixture("undamped", 0.5)).eval()
    maps = noise(1, 2, 4, 4)
    before = maps.clone()
    block(maps)
    assert torch.equal(maps, before)


def test_block_keeps_the_dtype_when_autocast_left_the_branch_in_bf16():
    block = SkipBlock(branch(2), mixture("damped", 0.5))
    maps = torch.ones(1, 2, 1, 1)
    assert block.combine(maps, maps.bfloat16() * 3).tolist() == (maps * 2).tolist()


def test_branch_is_convolution_norm_gelu_and_ends_in_a_relu():
    block = with_random_norms(SkipBlock(branch(depth=2), mixture("damped", 0.5))).eval().double()
    convs = [layer for layer in block.branch.layers if isinstance(layer, nn.Conv2d)]
    shapes = [(c.in_channels, c.out_channels, c.kernel_size[0]) for c in convs]
    assert shapes == [(4, 3, 1), (3, 6, 3), (6, 6, 3), (6, 4, 1)]
    maps = noise(2, 4, 5, 5).double()
    expected = maps
    norms = [layer for layer in block.branch.layers if isinstance(layer, nn.BatchNorm2d)]
    for conv, norm in zip(convs, norms, strict=True):
        out = normed(norm, nn.functional.conv2d(expected, conv.weight, padding=conv.kernel_size[0] // 2))
        expected = out.clamp_min(0) if conv is convs[-1] else gelu(out)
    assert torch.allclose(block.branch(maps), expected, rtol=1e-12, atol=1e-12)
    assert torch.allclose(block(maps), (maps + expected) / 2, rtol=1e-12, atol=1e-12)


def test_from_three_convolutions_on_an_identity_goes_around_all_but_the_first():
    layers = nn.Sequential(*a_stage(2, 3, 3, 1))
    with_random_norms(layers).eval().double()
    maps = noise(2, 2, 5, 5).double()
    conv, norm, _, rest = layers
    first = gelu(normed(norm, nn.functional.conv2d(maps, conv.weight, padding=1)))
    inside = first
    for conv, norm in ((rest.layers[0], rest.layers[1]), (rest.layers[3], rest.layers[4])):
        inside = gelu(normed(norm, nn.functional.conv2d(inside, conv.weight, padding=1)))
    assert torch.allclose(layers(maps), first + inside, rtol=1e-12, atol=1e-12)
    assert not any(isinstance(layer, Residual) for layer in a_stage(2, 3, 2, 1))


def test_convolutions_begin_as_the_identity_on_the_channels_they_carry_over():
    maps = noise(1, 4, 5, 5)
    wider, narrower, pointwise = (convolution(4, after, kernel)[0] for after, kernel in ((6, 3), (3, 3), (4, 1)))
    assert torch.equal(wider(maps)[:, :4], maps) and not torch.equal(wider(maps)[:, 4:], torch.zeros(1, 2, 5, 5))
    assert torch.equal(narrower(maps), maps[:, :3])
    assert not torch.equal(pointwise(maps), maps)


def test_a_shrinking_branch_takes_maxima_and_gives_blocks_of_equal_values():
    shrinking = with_random_norms(branch(shrink=2, depth=2)).eval().double()
    maps = noise(2, 4, 8, 8).double()
    inside, pools = maps, 0
    for layer in shrinking.layers:
        if isinstance(layer, nn.MaxPool2d):
            corners = [inside[..., dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)]
            inside, pools = torch.stack(corners).amax(0), pools + 1
        else:
            inside = layer(inside)
    out = shrinking(maps)
    assert pools == 1 and out.shape == maps.shape
    for dy in (0, 1):
        for dx in (0, 1):
            assert torch.equal(out[..., dy::2, dx::2], inside)
    assert torch.allclose(out.mean((2, 3)), inside.mean((2, 3)), rtol=1e-12)


def test_the_first_branch_reads_the_image_at_full_resolution():
    model = with_random_norms(fa_cnn(maps_per_class=12, unshuffle=2)).double()
    first = model.stages[0][0].branch
    assert first.reads == 12 and model.stages[1][0].branch.reads == model.channels
    images = noise(2, 3, 8, 8).double()
    assert isinstance(first.layers[0], Whitening)
    assert torch.equal(first(model.stem(images)), first.layers(images))
    assert first(model.stem(images)).shape == (2, 24, 4, 4)


@pytest.mark.parametrize("shrink", [1, 2, 4])
@pytest.mark.parametrize("pool", [2, 4])
def test_pooling_inside_a_block_is_pooling_behind_it(shrink, pool):
    block = SkipBlock(with_random_norms(branch(shrink=shrink)).eval(), mixture("damped", 0.25)).double()
    maps = noise(2, 4, 8, 8).double()
    behind = nn.functional.avg_pool2d(block(maps), pool)
    assert torch.allclose(block(maps, pool), behind, rtol=1e-13, atol=1e-14)
    assert not torch.allclose(nn.functional.max_pool2d(block(maps), pool), behind)


# Whitening


def test_whitening_gives_patches_as_they_are_until_it_is_fitted():
    image = noise(1, 2, 3, 4)
    out = Whitening(2)(image)
    assert out.shape == (1, 16, 3, 4) and torch.equal(out[:, 8:], -out[:, :8])
    edged = torch.cat([image, image[:, :, -2:-1]], 2)
    edged = torch.cat([edged, edged[..., -2:-1]], 3)
    for colour in (0, 1):
        for dy in (0, 1):
            for dx in (0, 1):
                assert torch.equal(out[:, 4 * colour + 2 * dy + dx], edged[:, colour, dy : dy + 3, dx : dx + 4])


def test_fitted_patches_have_covariance_one_where_the_images_vary_and_zero_at_the_mean_colour():
    pixels = torch.randint(0, 256, (400, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pixels[:, 1] = pixels[:, 0] // 2  # colours that go together
    whitening = Whitening(3)
    assert not whitening.state_dict().keys() - {"directions", "offset"} and not list(whitening.parameters())
    whitening.fit(pixels)
    images = pixels.float() / 255
    out = whitening(images)[:, :, :-1, :-1].transpose(0, 1).flatten(1)  # without the patches that reach over the edge
    variances = torch.linalg.eigvalsh(torch.cov(nn.functional.unfold(images.double(), 2).transpose(0, 1).flatten(1)))
    expected = variances / (variances + 5e-4)
    covariance = torch.cov(out.double())
    assert torch.allclose(covariance[:12, :12], torch.diag(expected), atol=1e-4)
    assert torch.allclose(covariance[:12, 12:], -torch.diag(expected), atol=1e-4)
    assert expected.max() > 0.99 and expected.min() < 0.1
    colour = images.mean((0, 2, 3)).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert whitening(colour).abs().max() < 1e-4 < whitening(colour + 0.1).abs().max()


def test_fitting_is_the_same_for_the_same_images_and_leaves_other_models_alone():
    pixels = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8)
    models = [fa_cnn(), fa_cnn(), build_model(RESNET, task())]
    before = [{k: v.clone() for k, v in model.state_dict().items()} for model in models]
    for model in models:
        fit_whitening(model, pixels)
    one, other, resnet = (model.state_dict() for model in models)
    assert all(torch.equal(one[key], other[key]) for key in one)
    changed = {key for key in one if not torch.equal(one[key], before[0][key])}
    assert {key.rsplit(".", 1)[1] for key in changed} == {"directions", "offset"}
    assert all(torch.equal(resnet[key], before[2][key]) for key in resnet)


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


# ResNet


def test_resnet_small_is_the_papers_step_by_step():
    model = with_random_norms(build_model(RESNET | {"widths": [4, 6], "blocks": [2, 1]}, task(3, 3, 8)).eval()).double()
    state = model.state_dict()

    def step(maps, conv, norm, stride=1):
        weight = state[f"{conv}.weight"]
        maps = nn.functional.conv2d(maps, weight, stride=stride, padding=weight.shape[2] // 2)
        mean, var, gain, bias = (
            state[f"{norm}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (maps - mean) / (var + 1e-5).sqrt() * gain + bias

    images = noise(2, 3, 8, 8).double()
    maps = step((images - 0.5) / 0.25, "stem.0", "stem.1").relu()
    for i, stride in enumerate((1, 1, 2)):
        inside = step(maps, f"layers.{i}.conv1", f"layers.{i}.norm1", stride).relu()
        inside = step(inside, f"layers.{i}.conv2", f"layers.{i}.norm2")
        skipped = maps if i < 2 else step(maps, "layers.2.shortcut.0", "layers.2.shortcut.1", 2)
        maps = (inside + skipped).relu()
    assert maps.shape == (2, 6, 4, 4)
    assert torch.allclose(model.features(images), maps, rtol=1e-12, atol=1e-12)
    logits = maps.mean((2, 3)) @ state["head.weight"].T + state["head.bias"]
    assert torch.allclose(model(images), logits, rtol=1e-12, atol=1e-12)


def test_resnet_whitened_is_stages_of_max_pooling_and_residual_convolutions():
    config = {"name": "resnet_whitened", "widths": [4, 6], "depth": 3}
    model = with_random_norms(build_model(config, task(3, 3, 8)).eval()).double()
    images = noise(2, 3, 8, 8).double()
    maps = gelu(model.stem[0](images))
    for part in model.layers:
        conv, _, norm, _, rest = part
        corners = [
            nn.functional.conv2d(maps, conv.weight, padding=1)[..., dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)
        ]
        first = gelu(normed(norm, torch.stack(corners).amax(0)))
        inside = first
        for conv, norm in ((rest.layers[0], rest.layers[1]), (rest.layers[3], rest.layers[4])):
            inside = gelu(normed(norm, nn.functional.conv2d(inside, conv.weight, padding=1)))
        maps = first + inside
    assert maps.shape == (2, 6, 2, 2) and model.last_feature_layer is model.layers[1]
    assert torch.allclose(model.features(images), maps, rtol=1e-12, atol=1e-12)
    logits = maps.mean((2, 3)) @ model.head.weight.T + model.head.bias
    assert torch.allclose(model(images), logits, rtol=1e-12, atol=1e-12)


# Shapes


@pytest.mark.parametrize("name", ["fa_cnn", "resnet_small"])
@pytest.mark.parametrize("size", [28, 32, 64, 96])
@pytest.mark.parametrize("n_classes", [2, 10, 100])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_shapes(name, size, n_classes, in_channels):
    config = {"fa_cnn": FA, "resnet_small": RESNET | {"blocks": [1, 1, 1]}}[name]
    model = build_model(config, task(n_classes, in_channels, size)).eval()
    images = noise(1, in_channels, size, size)
    with torch.no_grad():
        features, logits = model.features(images), model(images)
    channels = {"fa_cnn": 12 * n_classes, "resnet_small": 64}[name]
    assert model.down_sampling == 4
    assert features.shape == (1, channels, size // 4, size // 4)
    assert logits.shape == (1, n_classes) and logits.isfinite().all()
    if name == "fa_cnn":
        assert isinstance(model, FeatureAlignCNN)
        with torch.no_grad():
            assert model.class_maps(images).shape == (1, n_classes, size // 4, size // 4)
            assert model.depth_maps(images).shape == (1, n_classes, size, size)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "down", "in_channels"), [(32, 8, 3), (64, 8, 1), (96, 32, 3), (224, 32, 1)])
def test_resnet18_has_a_stem_for_small_and_one_for_large_images(size, down, in_channels):
    model = build_model({"name": "resnet18"}, task(7, in_channels, size)).eval()
    with torch.no_grad():
        features = model.features(noise(1, in_channels, size, size))
        logits = model.net.fc(features.mean((2, 3)))
    assert isinstance(model, ResNet18) and model.down_sampling == down
    assert features.shape == (1, 512, size // down, size // down)
    assert logits.shape == (1, 7)
    assert model.net.conv1.in_channels == in_channels
    assert model.net.conv1.kernel_size == ((3, 3) if down == 8 else (7, 7))


@pytest.mark.slow
def test_resnet18_is_torchvisions_on_normalised_images():
    model = build_model({"name": "resnet18"}, task(7, 3, 32)).eval()
    images = noise(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model(images), model.net((images - 0.5) / 0.25), atol=1e-5)
        assert not torch.allclose(model(images), model.net(images), atol=1e-5)


@pytest.mark.parametrize(
    ("config", "layer"),
    [
        (FA, lambda m: m.stages[1][0]),
        (FA | {"head": "linear"}, lambda m: m.stages[1][0]),
        (RESNET, lambda m: m.layers[5]),
    ],
)
def test_last_feature_layer_gives_the_last_features(config, layer):
    model = build_model(config, task(3, 3, 8)).eval()
    assert model.last_feature_layer is layer(model)
    caught = []
    model.last_feature_layer.register_forward_hook(lambda _, __, output: caught.append(output))
    images = noise(2, 3, 8, 8)
    assert torch.equal(model.features(images), caught[0])


# Refusals


def one_line(refused):
    message = str(refused.value)
    assert message and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (FA, 30),
        (FA | {"unshuffle": 3}, 32),
        (RESNET, 30),
        (RESNET, 2),
        pytest.param({"name": "resnet18"}, 28, marks=pytest.mark.slow),
        pytest.param({"name": "resnet18"}, 72, marks=pytest.mark.slow),
    ],
)
def test_image_size_that_down_sampling_does_not_divide_is_refused(config, size):
    with pytest.raises(InputError) as refused:
        build_model(config, task(image_size=size))
    assert str(size) in one_line(refused)


@pytest.mark.parametrize("blocks", [[1], [1, 1, 1]])
@pytest.mark.parametrize("head", ["gap", "linear"])
@pytest.mark.parametrize("key", ["hidden", "pool", "squeeze", "depth", "shrink"])
def test_lists_of_unequal_length_are_refused(key, blocks, head):
    fitting = {other: [1] * len(blocks) for other in ("hidden", "pool", "squeeze", "depth", "shrink")}
    config = FA | fitting | {"blocks": blocks, "head": head}
    build_model(config, task())
    with pytest.raises(InputError) as refused:
        build_model(config | {key: [1, 1]}, task())
    assert f"model.{key}" in one_line(refused)


def test_pooling_before_the_first_branch_is_refused():
    with pytest.raises(InputError) as refused:
        build_model(FA | {"pool": [2, 2]}, task())
    assert "model.pool" in one_line(refused)


def test_fewer_maps_than_pixel_planes_are_refused():
    assert build_model(FA | {"maps_per_class": 6}, task(n_classes=2))
    with pytest.raises(InputError) as refused:
        build_model(FA | {"maps_per_class": 5}, task(n_classes=2))
    assert "model.maps_per_class" in one_line(refused)


def test_blocks_and_widths_of_unequal_length_are_refused():
    with pytest.raises(InputError) as refused:
        build_model(RESNET | {"blocks": [1, 1]}, task())
    assert "model.widths" in one_line(refused)


def test_unknown_model_is_refused():
    with pytest.raises(InputError) as refused:
        build_model({"name": "vgg"}, task())
    assert "vgg" in one_line(refused)


@pytest.mark.parametrize("config", [FA, RESNET])
def test_a_single_class_is_refused(config):
    with pytest.raises(InputError) as refused:
        build_model(config, task(n_classes=1))
    assert "class" in one_line(refused)


# Normalisation


def test_normalisation_by_hand():
    normalize = Normalize([0.5, 0.25], [0.25, 0.0])
    images = torch.tensor([[1.0, 0.0], [0.25, 0.75]])[None, :, None]
    low, high = (0.25 - 0.25) / 1e-3, (0.75 - 0.25) / 1e-3  # an empty channel's deviation is 0, taken as 1e-3
    assert normalize(images).flatten().tolist() == pytest.approx([2.0, -2.0, low, high])


@pytest.mark.parametrize("config", [RESNET, RESNET18])
def test_resnets_normalise_inside(config):
    images = noise(2, 3, 32, 32)
    mean, std = [0.1, 0.4, 0.7], [0.2, 0.3, 0.5]
    model = build_model(config, Task(4, 3, 32, mean, std)).eval()
    plain = build_model(config, Task(4, 3, 32, [0.0] * 3, [1.0] * 3)).eval()
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("normalize.")}
    assert set(plain.load_state_dict(weights, strict=False).missing_keys) == {"normalize.mean", "normalize.std"}
    by_hand = torch.stack([(images[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    with torch.no_grad():
        assert torch.allclose(model(images), plain(by_hand), atol=1e-5)
        assert not torch.allclose(model(images), plain(images), atol=1e-5)


def test_fa_cnn_takes_pixels_as_they_are():
    assert not any(isinstance(module, Normalize) for module in fa_cnn().modules())


# Parameters


def resnet_parameters(widths, blocks, in_channels, n_classes):
    total, before = in_channels * widths[0] * 9 + 2 * widths[0], widths[0]
    for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            total += 9 * before * width + 9 * width * width + 2 * 2 * width
            if number and not block:
                total += before * width + 2 * width  # 1x1 convolution on the shortcut
            before = width
    return total + before * n_classes + n_classes


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("widths", "blocks", "in_channels", "n_classes"),
    [([16, 32, 64], [3, 3, 3], 3, 10), ([16, 32, 64], [2, 2, 2], 1, 100), ([8, 8], [1, 2], 3, 2), ([5], [1], 1, 2)],
)
def test_resnet_small_has_as_many_parameters_as_counted(widths, blocks, in_channels, n_classes):
    model = build_model(RESNET | {"widths": widths, "blocks": blocks}, task(n_classes, in_channels))
    assert parameters(model) == resnet_parameters(widths, blocks, in_channels, n_classes)


def test_resnet_20_has_the_published_number_of_parameters():
    model = build_model(RESNET | {"blocks": [3, 3, 3]}, task())
    shortcuts = sum(parameters(m.shortcut) for m in model.layers)  # the paper's have none
    assert round((parameters(model) - shortcuts) / 1e6, 2) == 0.27
    assert shortcuts == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


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


@pytest.mark.parametrize("config", [FA, FA | {"head": "linear"}, RESNET, RESNET18])
def test_state_survives_a_weights_only_file(config):
    torch.manual_seed(1)
    model = with_random_norms(build_model(config, task(3, 3, 8)).eval())
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    torch.manual_seed(2)
    other = build_model(config, task(3, 3, 8)).eval()
    images = noise(2, 3, 8, 8)
    with torch.no_grad():
        assert not torch.equal(other(images), model(images))
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(other(images), model(images))


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


def test_the_local_networks_maps_see_17_pixels():
    config = OmegaConf.load(Path(__file__).parents[1] / "configs/model/fa_cnn_local.yaml")
    keys = {key: list(config[key]) for key in ("pool", "depth", "shrink")}
    assert seen(**keys) == 17
    assert seen(**keys | {"depth": [2, 2, 1]}) == 17 + 4  # one more 3x3 convolution on every second pixel
    assert seen(**keys | {"pool": [1, 1, 2]}) > 17

"""The networks: stem, blocks, head by hand; shapes; what is refused; parameters."""

import io
import math

import pytest
import torch
from torch import nn

from fa_repro.errors import InputError
from fa_repro.models import FeatureAlignCNN, LinearHeadCNN, Task, build_model
from fa_repro.models.branch import Branch, ResidualUnit
from fa_repro.models.gap_head import GAPHead, class_maps
from fa_repro.models.normalization import Normalize
from fa_repro.models.resnet18 import ResNet18
from fa_repro.models.skip_connection import SkipBlock, mixture
from fa_repro.models.tile_stem import TileStem

FA = {
    "name": "fa_cnn",
    "skip": "damped",
    "head": "gap",
    "alpha": 0.5,
    "maps_per_class": 12,
    "unshuffle": 2,
    "blocks": [1, 1],
    "hidden": [4, 4],
    "pool": [1, 2],
    "units": [0, 0],
    "shrink": [1, 1],
    "kernels": [3, 3],
    "scale": 10.0,
    "learn_scale": True,
}
RESNET = {"name": "resnet_small", "widths": [16, 32, 64], "blocks": [2, 2, 2]}

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


@pytest.mark.parametrize(("maps_per_class", "equal"), [(12, True), (24, True), (8, False), (13, False), (1, False)])
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


def test_block_does_not_change_its_input():
    block = SkipBlock(Branch(2, 3, [3, 3]), mixture("undamped", 0.5)).eval()
    maps = noise(1, 2, 4, 4)
    before = maps.clone()
    block(maps)
    assert torch.equal(maps, before)


def test_block_keeps_the_dtype_when_autocast_left_the_branch_in_bf16():
    block = SkipBlock(Branch(2, 1, [1]), mixture("damped", 0.5))
    maps = torch.ones(1, 2, 1, 1)
    assert block.combine(maps, maps.bfloat16() * 3).tolist() == (maps * 2).tolist()


def test_branch_is_convolution_norm_relu_for_each_kernel():
    block = with_random_norms(SkipBlock(Branch(4, 6, [3, 1, 5]), mixture("damped", 0.5))).eval().double()
    convs = [layer for layer in block.branch.layers if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0]) for c in convs] == [(4, 6, 3), (6, 6, 1), (6, 4, 5)]
    maps = noise(2, 4, 5, 5).double()
    expected = maps
    for conv, norm in zip(block.branch.layers[0::3], block.branch.layers[1::3], strict=True):
        out = nn.functional.conv2d(expected, conv.weight, padding=conv.kernel_size[0] // 2)
        view = (1, -1, 1, 1)
        out = (out - norm.running_mean.view(view)) / (norm.running_var.view(view) + norm.eps).sqrt()
        expected = (out * norm.weight.view(view) + norm.bias.view(view)).clamp_min(0)
    assert torch.allclose(block.branch(maps), expected, rtol=1e-12, atol=1e-12)
    assert torch.allclose(block(maps), (maps + expected) / 2, rtol=1e-12, atol=1e-12)


def test_residual_unit_by_hand():
    unit = with_random_norms(ResidualUnit(3)).eval().double()
    maps = noise(2, 3, 5, 5).double()
    first, norm, _, second = unit.inside
    inside = norm(nn.functional.conv2d(maps, first.weight, padding=1)).clamp_min(0)
    expected = (maps + unit.norm(nn.functional.conv2d(inside, second.weight, padding=1))).clamp_min(0)
    assert torch.allclose(unit(maps), expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(unit(maps), (maps + inside).clamp_min(0))


def test_branch_puts_its_units_after_the_first_convolution():
    branch = Branch(4, 6, [3, 1], units=2)
    assert [type(layer).__name__ for layer in branch.layers] == [
        *("Conv2d", "BatchNorm2d", "ReLU"),
        *("ResidualUnit", "ResidualUnit"),
        *("Conv2d", "BatchNorm2d", "ReLU"),
    ]


def test_a_shrinking_branch_works_on_pooled_maps_and_gives_blocks_of_equal_values():
    branch = with_random_norms(Branch(4, 6, [3, 1], units=1, shrink=2)).eval().double()
    maps = noise(2, 4, 8, 8).double()
    pooled = (maps[..., 0::2, 0::2] + maps[..., 0::2, 1::2] + maps[..., 1::2, 0::2] + maps[..., 1::2, 1::2]) / 4
    inside = branch.layers(pooled)
    out = branch(maps)
    assert out.shape == maps.shape
    for dy in (0, 1):
        for dx in (0, 1):
            assert torch.equal(out[..., dy::2, dx::2], inside)
    assert torch.allclose(out.mean((2, 3)), inside.mean((2, 3)), rtol=1e-12)


def test_the_first_branch_reads_one_copy_of_the_tiled_planes():
    model = with_random_norms(fa_cnn(maps_per_class=6, unshuffle=1)).double()
    first = model.stages[0][0].branch
    assert (first.reads, first.layers[0].in_channels) == (3, 3)
    assert model.stages[1][0].branch.reads == model.channels
    images = noise(2, 3, 8, 8).double()
    assert torch.equal(first(model.stem(images)), first.layers(images))
    # Reading every copy is the same function: the weights of a plane's copies add up.
    every = Branch(model.channels, 4, [3, 3])
    share = first.layers[0].weight.repeat(1, model.channels // 3, 1, 1) / (model.channels // 3)
    every.load_state_dict(first.state_dict() | {"layers.0.weight": share})
    assert torch.allclose(every.eval().double()(model.stem(images)), first(model.stem(images)), rtol=1e-5, atol=1e-6)


def test_features_pool_between_stages_and_nowhere_else():
    model = with_random_norms(fa_cnn(n_classes=2, blocks=[2, 1], kernels=[3])).double()
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
    assert torch.equal(layers[-1].after, model.features(images))


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
@pytest.mark.parametrize("key", ["hidden", "pool", "units", "shrink"])
def test_lists_of_unequal_length_are_refused(key, blocks, head):
    fitting = {other: [1] * len(blocks) for other in ("hidden", "pool", "units", "shrink")}
    config = FA | fitting | {"blocks": blocks, "head": head}
    build_model(config, task())
    with pytest.raises(InputError) as refused:
        build_model(config | {key: [1, 1]}, task())
    assert f"model.{key}" in one_line(refused)


def test_units_without_two_convolutions_to_stand_between_are_refused():
    with pytest.raises(InputError) as refused:
        build_model(FA | {"kernels": [3], "units": [0, 1]}, task())
    assert "model.units" in one_line(refused)


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
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            total += 9 * before * width + 9 * width * width + 2 * 2 * width
            if stage and not block:
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
    wide, narrow = 9 * 12 * 5 * 2 + 2 * 5 + 2 * 12, 9 * 12 * 7 * 2 + 2 * 7 + 2 * 12
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * wide + narrow + learn_scale


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

"""The ResNets that FA-CNN is held against: step by step, normalised, and counted."""

import pytest
import torch
from torch import nn

import tiny
from fa_repro.models import Task, build_model
from fa_repro.models.normalization import Normalize
from fa_repro.models.resnet18 import ResNet18
from networks import RESNET18, gelu, normed, task, with_random_norms
from samples import noise

RESNET = tiny.RESNET | {"widths": [16, 32, 64], "blocks": [2, 2, 2]}


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

"""Attribution methods: by hand on linear models, against captum, and what they must not depend on."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tiny
from fa_repro import config
from fa_repro.attribution import CONTROLS, METHODS, Context, captum_library, lacking
from fa_repro.attribution.controls import center, random
from fa_repro.attribution.depth_map import depth_map
from fa_repro.attribution.feature_map import feature_map
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.attribution.occlusion import occlusion
from fa_repro.attribution.permutation import derangement, permutation
from fa_repro.attribution.upsampling import image_size, upsample
from fa_repro.models import Task, build_model
from tiny import FA_CNN

FA = FA_CNN | {"maps_per_class": 4, "hidden": [6, 6]}
RESNET = tiny.RESNET | {"widths": [8, 16]}
CLASSES = 3
# The optional library's methods go through the same tests where it is there.
INSTALLED = [name for name in METHODS if name not in captum_library.METHODS or find_spec("captum")]


def network(config=FA, seed=0, **changed):
    torch.manual_seed(seed)
    model = build_model(config | changed, Task(CLASSES, 3, 8, [0.4] * 3, [0.3] * 3))
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.3, 2)
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.normal_(0, 0.3)
    return model.eval()


def pixels(n, size=8, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, size, size), generator=generator, dtype=torch.uint8)


class Linear(nn.Module):
    """Logit k is the sum of ``weights[k] * image``; counts the images that it has seen."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights
        self.batches = []
        self.last_feature_layer = nn.Identity()

    def forward(self, images):
        self.batches.append(len(images))
        return torch.einsum("nchw,kchw->nk", self.last_feature_layer(images), self.weights)


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


NEAREST = Context(upsampling="nearest", patch=2, repeats=3, n_steps=5, n_samples=2)


def test_methods_are_those_of_the_config():
    assert tuple(METHODS) == config.METHODS
    assert set(CONTROLS) < set(METHODS)


# Own maps


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


# Grad-CAM


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
@pytest.mark.parametrize("config", [RESNET, FA, FA | {"head": "linear"}], ids=["resnet", "fa_cnn", "linear head"])
def test_grad_cam_is_captums(config, upsampling):
    model, images, targets = network(config), pixels(4) / 255, torch.tensor([2, 0, 1, 2])
    cam = pytest.importorskip("captum.attr").LayerGradCam(model, model.last_feature_layer)
    reference = cam.attribute(images.clone().requires_grad_(), target=targets, relu_attributions=True).detach()
    corners = {"align_corners": False} if upsampling == "bilinear" else {}
    reference = F.interpolate(reference, size=(8, 8), mode=upsampling, **corners)[:, 0]
    maps = grad_cam(model, images, targets, Context(upsampling=upsampling))
    assert maps.shape == (4, 8, 8) and maps.max() > 0 and not maps.requires_grad
    assert torch.allclose(maps, reference, rtol=1e-4, atol=1e-6 * reference.max().item())
    assert not torch.allclose(grad_cam(model, images, targets.roll(1), NEAREST), reference, rtol=1e-2)


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


def hooks(model):
    return sum(len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules())


def test_grad_cam_leaves_no_hook_behind_when_the_model_fails():
    model = network(RESNET)
    model.head = nn.Linear(1, 1)  # does not fit
    with pytest.raises(RuntimeError):
        grad_cam(model, pixels(2) / 255, torch.tensor([0, 1]))
    assert hooks(model) == 0


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


# Controls


def test_random_is_the_seeds_and_each_images_own():
    images, targets = pixels(4) / 255, torch.zeros(4, dtype=torch.int64)
    maps = random(None, images, targets, Context(seed=1))
    assert maps.shape == (4, 8, 8) and maps.min() >= 0 and maps.max() < 1
    assert torch.equal(random(None, images, targets, Context(seed=1)), maps)
    assert not torch.equal(random(None, images, targets, Context(seed=2)), maps)
    assert len({tuple(m.flatten().tolist()) for m in maps}) == 4


def test_random_knows_nothing_of_the_images():
    targets = torch.zeros(4, dtype=torch.int64)
    assert torch.equal(random(None, pixels(4) / 255, targets), random(None, pixels(4, seed=1) / 255, targets + 1))


@pytest.mark.parametrize("size", [8, 9])
def test_center_is_symmetric_and_largest_in_the_middle(size):
    maps = center(None, torch.zeros(2, 3, size, size), torch.zeros(2))
    assert maps.shape == (2, size, size) and torch.equal(maps[0], maps[1])
    for mirrored in (maps[0].flip(0), maps[0].flip(1), maps[0].T):
        assert torch.allclose(maps[0], mirrored, atol=1e-6)
    middle = maps[0, (size - 1) // 2 : size // 2 + 1, (size - 1) // 2 : size // 2 + 1]
    rest = maps[0][maps[0] < maps[0].max() - 1e-6]
    assert middle.min() > rest.max() and middle.numel() + rest.numel() == size * size


def test_center_falls_off_as_a_gaussian():
    row = center(None, torch.zeros(1, 1, 9, 9), torch.zeros(1))[0, 4]
    one_deviation_away = torch.exp(torch.tensor(-0.5 * (2 / 9 / 0.25) ** 2)).item()
    assert (row[4].item(), row[6].item()) == pytest.approx((1.0, one_deviation_away))


# What a model lacks


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        (FA, {}),
        (RESNET, {"feature_map": "class_maps", "depth_map": "depth_maps"}),
        (FA | {"head": "linear"}, {"feature_map": "class_maps", "depth_map": "depth_maps"}),
    ],
)
def test_lacking(config, missing):
    model = network(config)
    assert {method: lacking(method, model) for method in METHODS if lacking(method, model)} == missing


def test_a_bare_module_lacks_the_layer_of_grad_cam():
    assert lacking("grad_cam", nn.Identity()) == "last_feature_layer"
    assert [lacking(method, nn.Identity()) for method in ("permutation", "occlusion", *CONTROLS)] == [None] * 4


# Up-sampling


def test_upsampling_by_hand():
    maps = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    nearest = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert upsample(maps, (4, 4), "nearest").tolist() == [nearest]
    bilinear = [[y + x for x in (0, 0.25, 0.75, 1)] for y in (0, 0.5, 1.5, 2)]
    assert upsample(maps, (4, 4), "bilinear").tolist() == [bilinear]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsampling_shapes(mode):
    maps = torch.rand(3, 2, 5)
    assert upsample(maps, (8, 10), mode).shape == (3, 8, 10)
    assert torch.equal(upsample(maps, (2, 5), mode), maps)
    assert torch.allclose(upsample(torch.ones(2, 3, 3), (7, 7), mode), torch.ones(2, 7, 7), rtol=1e-6)
    assert image_size(torch.zeros(2, 3, 5, 7)) == (5, 7)


def test_places_that_bilinear_up_sampling_makes_equal_are_equal_to_the_last_bit():
    maps = torch.rand(50, 4, 4, generator=torch.Generator().manual_seed(0))
    up = upsample(maps, (16, 16), "bilinear")
    for line, copy in ((up[:, 0], up[:, 1]), (up[:, -1], up[:, -2]), (up[..., 0], up[..., 1])):
        assert torch.equal(line, copy)  # beyond the outermost centres there is nothing to interpolate with
    mirrored = upsample(maps.flip(2), (16, 16), "bilinear").flip(2)
    assert torch.equal(up, mirrored)
    assert not torch.equal(up, upsample(maps.flip(2), (16, 16), "bilinear"))

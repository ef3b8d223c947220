"""T1, T2 and T3 on random weights, by hand on tiny nets, and where they must fail."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tiny
from fa_repro.models import Task, build_model
from fa_repro.models.fa_cnn import Layer
from fa_repro.models.gap_head import class_maps
from fa_repro.models.skip_connection import mixture
from fa_repro.proofs import decomposition, identity, morphing
from fa_repro.proofs.tolerance import errors, tolerance
from tiny import FA_CNN

FA = FA_CNN | {"maps_per_class": 4, "blocks": [2, 2], "hidden": [6, 6], "shrink": [1, 2]}
RESNET = tiny.RESNET | {"widths": [8, 16]}
CLASSES = 3
NAMES = ("a", "b", "c")
DTYPES = [torch.float64, torch.float32]


def network(config=FA, seed=0, dtype=torch.float64, **changed):
    """Random weights, and norms whose statistics are not those of a fresh network."""
    torch.manual_seed(seed)
    model = build_model(config | changed, Task(CLASSES, 3, 16, [0.4] * 3, [0.3] * 3))
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.3, 2)
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.normal_(0, 0.3)
    return model.eval().requires_grad_(False).to(dtype)


def pictures(n=4, seed=0, dtype=torch.float64):
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def relative(found, reference):
    return ((found - reference).abs().max() / reference.abs().max()).item()


def gradients_by_differences(model, features, k, step=1e-5):
    """Numerical gradient of logit k in the last feature maps (C,h,w)."""
    flat = features.flatten()
    steps = torch.eye(len(flat), dtype=flat.dtype) * step
    with torch.no_grad():
        up = model.head((flat + steps).view(-1, *features.shape))[:, k]
        down = model.head((flat - steps).view(-1, *features.shape))[:, k]
    return ((up - down) / (2 * step)).view_as(features)


# T1


@pytest.mark.parametrize("reference", ["autograd", "captum"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("skip", ["damped", "undamped", "none"])
def test_class_maps_are_grad_cam_for_every_class(skip, dtype, reference):
    model, images = network(skip=skip, dtype=dtype), pictures(dtype=dtype)
    own, maps = identity.own_maps(model, images), identity.REFERENCES[reference](model, images, "logit")
    assert own.shape == maps.shape == (4, CLASSES, 8, 8) and own.dtype == maps.dtype == dtype
    assert (maps.amax((0, 2, 3)) > 0).all()
    for k in range(CLASSES):
        assert relative(own[:, k], maps[:, k]) <= tolerance(dtype)


@pytest.mark.parametrize(
    "changed", [{"maps_per_class": 1}, {"depth": [3, 1], "shrink": [1, 2], "scale": 0.3}, {"unshuffle": 2}]
)
def test_identity_holds_for_other_shapes(changed):
    model, images = network(**changed), pictures()
    assert relative(identity.own_maps(model, images), identity.grad_cam_maps(model, images, "logit")) <= 1e-14


def test_captum_and_autograd_agree_where_no_class_maps_are():
    for config in (RESNET, FA | {"head": "linear"}):
        for score in ("logit", "probability"):
            model, images = network(config, seed=1), pictures()
            maps = [reference(model, images, score) for reference in identity.REFERENCES.values()]
            assert relative(maps[0], maps[1]) <= 1e-13


def test_own_maps_are_grad_cam_from_numerical_gradients():
    model, images = network(), pictures(1)
    features = model.features(images)[0]
    for k in range(CLASSES):
        weights = gradients_by_differences(model, features, k).mean((1, 2))
        by_hand = (weights[:, None, None] * features).sum(0).clamp_min(0)
        assert relative(identity.own_maps(model, images)[0, k], by_hand) < 1e-8


def test_gradient_of_a_logit_is_constant_on_its_group_and_zero_elsewhere():
    model, images = network(), pictures(1)
    weights = gradients_by_differences(model, model.features(images)[0], 1)
    expected = torch.zeros(12, 8, 8, dtype=torch.float64)
    expected[4:8] = model.head.scale / (4 * 8 * 8)
    assert torch.allclose(weights, expected, atol=1e-9)


class Straight(nn.Module):
    """Images are the last feature maps; logits are a known linear map of them, of shape (K,C,h,w)."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights
        self.n_classes = len(weights)
        self.last_feature_layer = nn.Identity()

    def forward(self, images):
        return torch.einsum("nchw,kchw->nk", self.last_feature_layer(images), self.weights)


@pytest.mark.parametrize("reference", ["autograd", "captum"])
def test_grad_cam_by_hand(reference):
    weights = torch.tensor(
        [
            [[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, -4.0]]],  # means 3 and -1
            [[[0.0, 0.0], [2.0, -2.0]], [[1.0, 1.0], [1.0, 5.0]]],  # means 0 and 2
        ]
    )
    image = torch.tensor([[[1.0, 0.0], [2.0, 0.5]], [[0.0, 4.0], [6.0, 2.0]]])[None]
    maps = identity.REFERENCES[reference](Straight(weights), image, "logit")
    assert maps.tolist() == [[[[3.0, 0.0], [0.0, 0.0]], [[0.0, 8.0], [12.0, 4.0]]]]


def test_grad_cam_of_a_probability_by_hand():
    weights = torch.tensor([[[[1.0]]], [[[3.0]]]], dtype=torch.float64)
    image = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)
    first = 1 / (1 + math.exp(0.5 * (3 - 1)))
    slope = first * (1 - first) * (1 - 3)  # of the first probability; the second's is its negative
    maps = identity.grad_cam_maps(Straight(weights), image, "probability")
    assert maps.flatten().tolist() == pytest.approx([0, -slope * 0.5], rel=1e-14)


def test_grad_cam_needs_no_gradient_mode_and_leaves_none_behind():
    model, images = network().requires_grad_(True), pictures()
    with torch.no_grad():
        maps = identity.grad_cam_maps(model, images, "logit")
    assert not maps.requires_grad and all(p.grad is None for p in model.parameters())
    assert relative(maps, identity.own_maps(model, images)) <= 1e-14


def lines_of_identity(model, images, score="logit", factor=1.0):
    references = {name: factor * of(model, images, score) for name, of in identity.REFERENCES.items()}
    return identity.check_identity(model, images, references, NAMES, "net")


@pytest.mark.parametrize("dtype", DTYPES)
def test_check_of_identity_has_a_line_for_each_reference_and_class(dtype):
    lines = lines_of_identity(network(dtype=dtype), pictures(dtype=dtype))
    assert [(line["reference"], line["target"]) for line in lines] == [
        (reference, name) for reference in ("autograd", "captum") for name in NAMES
    ]
    for line in lines:
        assert tuple(line) == identity.COLUMNS
        assert line["holds"] is True and line["max_rel_error"] <= line["tolerance"] == tolerance(dtype)
        assert (line["model"], line["images"], line["maps"]) == ("net", 4, "class map")
        assert line["dtype"] == str(dtype).split(".")[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [1.001, 0.999, 2.0, -1.0])
def test_identity_fails_for_another_scale(dtype, factor):
    lines = lines_of_identity(network(dtype=dtype), pictures(dtype=dtype), factor=factor)
    assert not any(line["holds"] for line in lines)


@pytest.mark.parametrize("dtype", DTYPES)
def test_identity_fails_for_probabilities(dtype):
    lines = lines_of_identity(network(dtype=dtype), pictures(dtype=dtype), score="probability")
    assert not any(line["holds"] for line in lines)
    assert min(line["max_rel_error"] for line in lines) > 1e-3


def test_identity_fails_for_another_class():
    model, images = network(), pictures()
    turned = identity.grad_cam_maps(model, images, "logit").roll(1, dims=1)
    lines = identity.check_identity(model, images, {"autograd": turned}, NAMES, "net")
    assert not any(line["holds"] for line in lines)


def test_identity_fails_when_one_image_in_one_class_is_off():
    model, images = network(), pictures()
    maps = identity.grad_cam_maps(model, images, "logit")
    maps[2, 1, 0, 0] *= 1 + 1e-9
    lines = identity.check_identity(model, images, {"autograd": maps}, NAMES, "net")
    assert [line["holds"] for line in lines] == [True, False, True]
    maps[2, 1] = torch.nan
    lines = identity.check_identity(model, images, {"autograd": maps}, NAMES, "net")
    assert [line["holds"] for line in lines] == [True, False, True]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", [FA | {"head": "linear"}, RESNET], ids=["linear head", "resnet"])
def test_no_feature_map_is_grad_cam_without_the_head(config, dtype):
    model, images = network(config, seed=1, dtype=dtype), pictures(dtype=dtype)
    alive = identity.grad_cam_maps(model, images, "logit").amax((0, 2, 3)) > 0  # a map of zeros is 0 times any channel
    lines = [line for line, a in zip(lines_of_identity(model, images), [*alive, *alive], strict=True) if a]
    assert len(lines) >= 4 and not any(line["holds"] for line in lines)
    assert min(line["max_rel_error"] for line in lines) > 1e-2
    assert {line["maps"] for line in lines} == {"best channel"}


class Given(nn.Module):
    """A network with these feature maps."""

    def __init__(self, features):
        super().__init__()
        self.given = features

    def features(self, images):
        return self.given


def test_best_candidate_finds_the_channel_that_is_the_map():
    features = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    where = torch.tensor([[3, 0], [1, 4]])  # (N,K)
    factor = torch.tensor([[0.2, 7.0], [1.0, 1e-3]], dtype=torch.float64)
    reference = factor[:, :, None, None] * torch.stack([features[n][where[n]] for n in range(2)])
    assert relative(identity.best_candidate(Given(features), None, reference), reference) < 1e-14
    lines = identity.check_identity(Given(features), features, {"autograd": reference}, ("a", "b"), "net")
    assert all(line["holds"] for line in lines)


def test_best_candidate_is_the_map_and_not_its_shifted_twin():
    wanted = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for twin in (wanted + 1, 3 * wanted + 0.5, wanted / 8 + 5):
        for order in ((twin, wanted), (wanted, twin)):
            found = identity.best_candidate(Given(torch.cat(order, dim=1)), None, wanted)
            assert relative(found, wanted) < 1e-14


def test_best_candidate_is_none_where_no_channel_is_the_map():
    features = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64).view(1, 2, 1, 2)
    reference = torch.tensor([1.0, 3.0], dtype=torch.float64).view(1, 1, 1, 2)
    found = identity.best_candidate(Given(features), None, reference)
    factor = (1 * 1 + 2 * 3) / (1**2 + 2**2)  # least squares of (1,3) on (1,2)
    assert found.flatten().tolist() == pytest.approx([factor, 2 * factor], rel=1e-14)
    assert errors(found[:, 0], reference[:, 0])[0] == pytest.approx(max(abs(factor - 1), abs(2 * factor - 3)))


def test_best_candidate_survives_channels_and_maps_that_are_zero():
    features = torch.zeros(1, 2, 2, 2)
    features[0, 1, 0, 0] = 1
    reference = torch.stack([torch.zeros(2, 2), 3 * features[0, 1]])[None]
    assert torch.equal(identity.best_candidate(Given(features), None, reference), reference)
    assert not identity.best_candidate(Given(features * 0), None, reference).any()


# Errors and tolerance


def test_tolerance_is_64_units_in_the_last_place():
    assert tolerance(torch.float64) == 64 * 2.0**-52
    assert tolerance(torch.float32) == 64 * 2.0**-23


def test_errors_by_hand():
    reference = torch.tensor([[1.0, -4.0], [10.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    found = torch.tensor([[1.5, -4.0], [10.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert errors(found, reference) == (1.0, 0.125)  # the largest of 0.5/4, 1/10 and 0
    assert errors(found[..., None, None], reference[..., None, None]) == (1.0, 0.125)
    assert errors(reference, reference) == (0.0, 0.0)


def test_errors_at_a_zero_reference():
    zero = torch.zeros(2, 3)
    assert errors(zero, zero) == (0.0, 0.0)
    assert errors(torch.tensor([[0.0, 0.0, 1e-30], [0.0, 0.0, 0.0]]), zero)[1] == math.inf


def test_errors_do_not_lose_what_is_no_number():
    found = torch.tensor([[1.0, math.nan], [1.0, 1.0]])
    assert all(math.isnan(error) for error in errors(found, torch.ones(2, 2)))


# T2


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, maps):
        return self.value.to(maps).expand_as(maps)


def one_block(skip, alpha=0.5):
    """Two classes with a map each, no pooling, and a branch that gives 0 and 1.2 for one, 0 and 1.6 for the other."""
    config = FA | {
        "skip": skip,
        "alpha": alpha,
        "maps_per_class": 1,
        "blocks": [1],
        "hidden": [1],
        "pool": [1],
        "squeeze": [4],
        "depth": [1],
        "shrink": [1],
    }
    model = build_model(config, Task(2, 1, 4, [0.5], [0.5])).eval().double()
    model.stages[0][0].branch = Constant(torch.tensor([0.0, 1.2, 0.0, 1.6]).double().view(1, 2, 1, 2))
    return model


ROW = torch.tensor([0.6, 0.8], dtype=torch.float64).view(1, 1, 1, 2)  # A: (0.6, 0.8) for both classes, of norm sqrt(2)


@pytest.mark.parametrize(
    ("skip", "alpha", "change", "bound", "cosine"),
    [
        ("damped", 0.5, 0.19**0.5, 0.5 * (1 + 2**0.5), 2.12 / 5.24**0.5),
        ("damped", 0.25, 0.19**0.5 / 2, 0.25 * (1 + 2**0.5), 2.06 / 4.43**0.5),
        ("undamped", 0.5, 2**0.5, 2**0.5, 2.12 / 5.24**0.5),
        ("none", 0.5, 0.76**0.5, 1 + 2**0.5, 2.24 / 8**0.5),
    ],
)
def test_morphing_of_one_block_by_hand(skip, alpha, change, bound, cosine):
    (line,) = morphing.check_morphing(one_block(skip, alpha), ROW)
    assert tuple(line) == morphing.COLUMNS
    numbers = [line[key] for key in ("relative_change", "bound", "cosine_to_previous", "cosine_to_last")]
    assert numbers == pytest.approx([change, bound, cosine, 1.0], rel=1e-7)
    assert line["layer"] == "stage1.block1" and line["holds"] is True
    assert line["alpha"] == (alpha if skip == "damped" else None)


@pytest.mark.parametrize("skip", ["damped", "undamped", "none"])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_morphing_stays_within_its_bound(skip, alpha):
    model, images = network(skip=skip, alpha=alpha), pictures()
    lines = morphing.check_morphing(model, images)
    assert all(line["holds"] for line in lines) and len(lines) == 4
    for line, layer in zip(lines, model.trace(images), strict=True):
        change = [
            math.dist(a.flatten(), b.flatten()) / b.norm() for a, b in zip(layer.after, layer.before, strict=True)
        ]
        assert line["relative_change"] == pytest.approx(float(sum(change)) / 4, rel=1e-12)
        if skip == "damped":
            ratio = layer.branch.flatten(1).norm(dim=1) / layer.before.flatten(1).norm(dim=1)
            assert line["bound"] == pytest.approx((alpha * (1 + ratio)).mean().item(), rel=1e-12)
    assert lines[-1]["cosine_to_last"] == pytest.approx(1)


def test_morphing_of_the_linear_head_is_checked_too():
    lines = morphing.check_morphing(network(head="linear"), pictures())
    assert [line["holds"] for line in lines] == [True] * 4


def test_cosine_to_the_last_maps_is_taken_after_pooling():
    model, images = network(), pictures()
    first, *_, last = model.trace(images)
    pooled = F.avg_pool2d(first.after, 2).flatten(1)
    cosine = (pooled * last.after.flatten(1)).sum(1) / pooled.norm(dim=1) / last.after.flatten(1).norm(dim=1)
    assert morphing.check_morphing(model, images)[0]["cosine_to_last"] == pytest.approx(cosine.mean().item(), rel=1e-12)


def fabricate(monkeypatch, model, changed):
    layers = [layer._replace(after=changed(i, layer)) for i, layer in enumerate(model.trace(pictures()))]
    monkeypatch.setattr(model, "trace", lambda images: iter(layers))


def test_morphing_fails_for_maps_that_do_not_follow_from_the_block(monkeypatch):
    model = network()
    fabricate(monkeypatch, model, lambda i, layer: layer.after + 10 if i == 2 else layer.after)
    holds = [line["holds"] for line in morphing.check_morphing(model, pictures())]
    assert holds == [True, True, False, True]


@pytest.mark.parametrize(("factor", "holds"), [(1 + 1e-9, False), (1 - 1e-9, True)])
def test_morphing_fails_for_a_single_image_though_the_mean_is_within(monkeypatch, factor, holds):
    def at_the_bound_in_image_1(i, layer):
        bound = 0.5 * (1 + layer.branch[1].norm() / layer.before[1].norm())
        after = layer.after.clone()
        after[1] = layer.before[1] * (1 + factor * bound)
        return after

    model = network()
    fabricate(monkeypatch, model, at_the_bound_in_image_1)
    lines = morphing.check_morphing(model, pictures())
    assert [line["holds"] for line in lines] == [holds] * 4
    assert all(line["relative_change"] < line["bound"] for line in lines)


def test_morphing_of_a_block_stronger_than_it_says_fails():
    model = one_block("damped", 0.25)
    (layer,) = model.trace(ROW)
    stronger = Layer("block", mixture("damped", 0.25), layer.before, -layer.before, -layer.before)  # as if alpha were 1
    model.trace = lambda images: iter([stronger])
    (line,) = morphing.check_morphing(model, ROW)
    assert (line["relative_change"], line["bound"]) == pytest.approx((2, 0.5)) and not line["holds"]


# T3


def weights_by_hand(kind, alpha, depth):
    """Weights of the stem and of each branch in the last maps, from the formula."""
    if kind == "damped":
        return (1 - alpha) ** depth, [alpha * (1 - alpha) ** (depth - 1 - i) for i in range(depth)]
    if kind == "undamped":
        return 1.0, [1.0] * depth
    return 0.0, [0.0] * (depth - 1) + [1.0]


def logits_by_hand(model, images, kind, alpha):
    layers = list(model.trace(images))
    raw, branches = weights_by_hand(kind, alpha, len(layers))
    logits = torch.zeros(len(images), CLASSES, dtype=images.dtype)
    m = model.channels // CLASSES
    for n in range(len(images)):
        for k in range(CLASSES):
            group = slice(k * m, (k + 1) * m)
            logits[n, k] = raw * model.stem(images)[n, group].mean()
            for weight, layer in zip(branches, layers, strict=True):
                logits[n, k] += weight * layer.branch[n, group].mean()
    return model.head.scale * logits


KINDS = [("damped", 0.5), ("damped", 0.1), ("damped", 0.8), ("undamped", 0.5), ("none", 0.5)]


@pytest.mark.parametrize(("kind", "alpha"), KINDS)
def test_logits_are_the_weighted_means_over_depth(kind, alpha):
    model, images = network(skip=kind, alpha=alpha), pictures()
    assert relative(logits_by_hand(model, images, kind, alpha), model(images)) <= 1e-14
    other = 0.6 if kind == "damped" else 0.5
    wrong = logits_by_hand(model, images, "damped", other)
    assert relative(wrong, model(images)) > 1e-3


@pytest.mark.parametrize(("kind", "alpha"), KINDS)
def test_depth_terms_have_the_formulas_weights(kind, alpha):
    model, images = network(skip=kind, alpha=alpha), pictures()
    layers = list(model.trace(images))
    raw, branches = weights_by_hand(kind, alpha, len(layers))
    (name, pixels), *terms = model.depth_terms(images)
    assert name == "pixels" and [name for name, _ in terms] == [layer.name for layer in layers]
    scale = model.head.scale
    assert torch.allclose(pixels, scale * raw * class_maps(model.stem(images), CLASSES), rtol=1e-14, atol=1e-16)
    for (_, term), weight, layer in zip(terms, branches, layers, strict=True):
        assert term.shape[2:] == layer.branch.shape[2:]
        assert torch.allclose(term, scale * weight * class_maps(layer.branch, CLASSES), rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize(("kind", "alpha"), KINDS)
def test_parts_and_depth_maps_add_up_to_the_logits(kind, alpha):
    model, images = network(skip=kind, alpha=alpha), pictures()
    logits = model(images)
    assert relative(sum(term.mean((2, 3)) for _, term in model.depth_terms(images)), logits) <= 1e-14
    depth = model.depth_maps(images)
    assert depth.shape == (4, CLASSES, 16, 16)
    assert relative(depth.mean((2, 3)), logits) <= 1e-14
    assert relative(depth.mean((2, 3)).roll(1, dims=1), logits) > 1e-3
    assert relative(depth[..., :8, :8].mean((2, 3)), logits) > 1e-6


def test_depth_map_is_every_term_at_its_own_place():
    model, images = network(), pictures()
    (_, pixels), *terms = model.depth_terms(images)
    for y, x in ((0, 0), (5, 10), (15, 15)):
        value = pixels.mean((2, 3))
        for _, term in terms:
            block = 16 // term.shape[2]
            value = value + term[:, :, y // block, x // block]
        assert relative(model.depth_maps(images)[:, :, y, x], value) <= 1e-14


def test_bilinear_depth_maps_are_smooth_and_keep_the_mean_to_rounding():
    model, images = network(), pictures()
    nearest, bilinear = model.depth_maps(images), model.depth_maps(images, "bilinear")
    assert relative(bilinear, nearest) > 1e-3
    assert relative(bilinear.mean((2, 3)), model(images)) < 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "alpha"), KINDS)
def test_check_of_decomposition(kind, alpha, dtype):
    model, images = network(skip=kind, alpha=alpha, dtype=dtype), pictures(dtype=dtype)
    *parts, added, mean = decomposition.check_decomposition(model, images)
    assert [line["part"] for line in parts] == ["pixels", *(layer.name for layer in model.trace(images))]
    assert (added["part"], mean["part"]) == ("sum of parts", "mean of depth map")
    assert sum(line["share_of_logit"] for line in parts) == pytest.approx(1, rel=1e-5)
    average = model(images).mean().item()
    for line in (added, mean):
        assert tuple(line) == decomposition.COLUMNS
        assert line["holds"] is True and line["max_rel_error"] <= line["tolerance"] == tolerance(dtype)
        assert line["mean_over_classes"] == pytest.approx(average, rel=1e-5)
    assert all(set(line) <= set(decomposition.COLUMNS) and "holds" not in line for line in parts)


@pytest.mark.parametrize("dtype", DTYPES)
def test_decomposition_with_wrong_weights_fails(dtype, monkeypatch):
    model, images = network(dtype=dtype), pictures(dtype=dtype)
    right = model.depth_terms(images)
    wrong = [(name, term * (1.001 if i == 1 else 1)) for i, (name, term) in enumerate(right)]
    monkeypatch.setattr(model, "depth_terms", lambda images: wrong)
    *_, added, mean = decomposition.check_decomposition(model, images)
    assert not added["holds"] and not mean["holds"]


def test_decomposition_without_a_layer_fails(monkeypatch):
    model, images = network(), pictures()
    right = model.depth_terms(images)
    monkeypatch.setattr(model, "depth_terms", lambda images: right[:-1])
    *_, added, mean = decomposition.check_decomposition(model, images)
    assert not added["holds"] and not mean["holds"]


def test_depth_maps_that_lose_the_mean_fail(monkeypatch):
    model, images = network(), pictures()
    cornered = [
        F.interpolate(term, size=(16, 16), mode="bilinear", align_corners=True) for _, term in model.depth_terms(images)
    ]
    monkeypatch.setattr(model, "depth_maps", lambda images: sum(cornered))
    *_, added, mean = decomposition.check_decomposition(model, images)
    assert added["holds"] and not mean["holds"]


# Black images: a fresh network's norms leave zeros zero.


@pytest.fixture
def black():
    torch.manual_seed(0)
    model = build_model(FA, Task(CLASSES, 3, 16, [0.4] * 3, [0.3] * 3)).eval().requires_grad_(False).double()
    images = pictures()
    images[0] = 0
    assert not model.features(images)[0].any()
    return model, images


def test_identity_and_decomposition_hold_with_a_black_image_among_others(black):
    assert all(line["holds"] for line in lines_of_identity(*black))
    assert all(line.get("holds", True) for line in decomposition.check_decomposition(*black))


def test_morphing_holds_with_a_black_image_among_others(black):
    lines = morphing.check_morphing(*black)
    assert all(line["holds"] for line in lines)
    assert all(math.isfinite(line["bound"]) for line in lines)


def test_decomposition_of_black_images_alone(black):
    model, images = black
    lines = decomposition.check_decomposition(model, images[:1])
    assert all(line.get("holds", True) for line in lines)

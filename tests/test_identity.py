"""T1: class maps are Grad-CAM maps, on random weights and by hand, and where that must fail."""

import math

import pytest
import torch
from torch import nn

from fa_repro.proofs import decomposition, identity
from fa_repro.proofs.tolerance import errors, tolerance
from networks import RESNET, Linear
from proving import CLASSES, DTYPES, FA, network, one_black, pictures, relative

NAMES = ("a", "b", "c")


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


def gradients_by_differences(model, features, k, step=1e-5):
    """Numerical gradient of logit k in the last feature maps (C,h,w)."""
    flat = features.flatten()
    steps = torch.eye(len(flat), dtype=flat.dtype) * step
    with torch.no_grad():
        up = model.head((flat + steps).view(-1, *features.shape))[:, k]
        down = model.head((flat - steps).view(-1, *features.shape))[:, k]
    return ((up - down) / (2 * step)).view_as(features)


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


@pytest.mark.parametrize("reference", ["autograd", "captum"])
def test_grad_cam_by_hand(reference):
    weights = torch.tensor(
        [
            [[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, -4.0]]],  # means 3 and -1
            [[[0.0, 0.0], [2.0, -2.0]], [[1.0, 1.0], [1.0, 5.0]]],  # means 0 and 2
        ]
    )
    image = torch.tensor([[[1.0, 0.0], [2.0, 0.5]], [[0.0, 4.0], [6.0, 2.0]]])[None]
    maps = identity.REFERENCES[reference](Linear(weights), image, "logit")
    assert maps.tolist() == [[[[3.0, 0.0], [0.0, 0.0]], [[0.0, 8.0], [12.0, 4.0]]]]


def test_grad_cam_of_a_probability_by_hand():
    weights = torch.tensor([[[[1.0]]], [[[3.0]]]], dtype=torch.float64)
    image = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)
    first = 1 / (1 + math.exp(0.5 * (3 - 1)))
    slope = first * (1 - first) * (1 - 3)  # of the first probability; the second's is its negative
    maps = identity.grad_cam_maps(Linear(weights), image, "probability")
    assert maps.flatten().tolist() == pytest.approx([0, -slope * 0.5], rel=1e-14)


def test_grad_cam_needs_no_gradient_mode_and_leaves_none_behind():
    model, images = network().requires_grad_(True), pictures()
    with torch.no_grad():
        maps = identity.grad_cam_maps(model, images, "logit")
    assert not maps.requires_grad and all(p.grad is None for p in model.parameters())
    assert relative(maps, identity.own_maps(model, images)) <= 1e-14


# The check


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


def test_identity_and_decomposition_hold_with_a_black_image_among_others():
    assert all(line["holds"] for line in lines_of_identity(*one_black()))
    assert all(line.get("holds", True) for line in decomposition.check_decomposition(*one_black()))


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


# The best candidate of a network without class maps


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

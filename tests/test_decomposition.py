"""T3: the layers' parts add up to the logits, by the formula, and where that must fail."""

import pytest
import torch
from torch.nn import functional as F

from fa_repro.models.gap_head import class_maps
from fa_repro.proofs import decomposition
from fa_repro.proofs.tolerance import tolerance
from proving import CLASSES, DTYPES, network, one_black, pictures, relative

KINDS = [("damped", 0.5), ("damped", 0.1), ("damped", 0.8), ("undamped", 0.5), ("none", 0.5)]


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


# The check


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


def test_decomposition_of_black_images_alone():
    model, images = one_black()
    lines = decomposition.check_decomposition(model, images[:1])
    assert all(line.get("holds", True) for line in lines)


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

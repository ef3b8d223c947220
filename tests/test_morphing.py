"""T2: layers change within their bound, by hand and on random weights, and where that must fail."""

import math

import pytest
import torch
from torch.nn import functional as F

from fa_repro.models import build_model
from fa_repro.models.fa_cnn import Layer
from fa_repro.models.skip_connection import mixture
from fa_repro.proofs import morphing
from networks import Constant, task
from proving import FA, network, one_black, pictures


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
    model = build_model(config, task(2, 1, 4)).eval().double()
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


def test_morphing_holds_with_a_black_image_among_others():
    lines = morphing.check_morphing(*one_black())
    assert all(line["holds"] for line in lines)
    assert all(math.isfinite(line["bound"]) for line in lines)


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

"""A block, its branch and the branch's convolutions, layer by layer by hand."""

import pytest
import torch
from torch import nn

from fa_repro.models.branch import Branch
from fa_repro.models.skip_connection import SkipBlock, mixture
from fa_repro.models.stage import Residual, convolution
from fa_repro.models.stage import stage as a_stage
from fa_repro.models.whitening import Whitening
from networks import Constant, fa_cnn, gelu, normed, with_random_norms
from samples import noise


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def branch(channels=4, squeeze=3, hidden=6, depth=1, shrink=1, **pixels):
    return Branch(channels, squeeze=squeeze, hidden=hidden, depth=depth, shrink=shrink, **pixels)


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

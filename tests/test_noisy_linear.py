"""Noisy linear imputation against scipy's sparse solver, and what must hold of any mask."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import spsolve

from fa_repro.removal import multigrid
from fa_repro.removal import noisy_linear as module
from fa_repro.removal.imputation import imputer
from fa_repro.removal.multigrid import MAX_ITERATIONS
from fa_repro.removal.noisy_linear import fill_linearly

EDGE, CORNER = 1 / 6, 1 / 12
quick = settings(max_examples=25, deadline=None)


def _images(n, channels, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.rand(n, channels, 3, 3, generator=generator)
    smooth = torch.nn.functional.interpolate(smooth, (height, width), mode="bilinear")
    return (0.7 * smooth + 0.3 * torch.rand(n, channels, height, width, generator=generator)).clamp(0, 1)


def _scipy(image, mask, edge=EDGE, corner=CORNER, renormalise=True):
    """One image (C,H,W) in float64: a row of the matrix for each removed pixel, written down as the paper puts it."""
    image, mask = image.double().numpy(), mask.numpy()
    _, height, width = image.shape
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    matrix, known = sparse.lil_matrix((mask.sum(), mask.sum())), np.zeros((mask.sum(), len(image)))
    for y, x in zip(*mask.nonzero(), strict=True):
        i, total = number[y, x], 0.0
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                v, u = y + dy, x + dx
                if (dy, dx) == (0, 0) or not (0 <= v < height and 0 <= u < width):
                    continue
                weight = corner if dy and dx else edge
                total += weight
                if mask[v, u]:
                    matrix[i, number[v, u]] -= weight
                else:
                    known[i] += weight * image[:, v, u]
        matrix[i, i] += total if renormalise else 1.0
    filled = image.copy()
    if mask.any():
        filled[:, mask] = spsolve(matrix.tocsc(), known).reshape(-1, len(image)).T
    return filled


def _masks(n, height, width, share, seed=0):
    order = torch.rand(n, height * width, generator=torch.Generator().manual_seed(seed)).argsort(1).argsort(1)
    return (order < round(share * height * width)).view(n, height, width)


def _all_but(height, width, *known):
    mask = torch.ones(1, height, width, dtype=torch.bool)
    for y, x in known:
        mask[0, y, x] = False
    return mask


def _disc(size, inside):
    y = torch.arange(size) - (size - 1) / 2
    return ((y[:, None] ** 2 + y[None] ** 2 < (0.4 * size) ** 2) == inside)[None]


CASES = {
    "half, scattered": _masks(3, 16, 16, 0.5),
    "nine tenths, scattered": _masks(3, 20, 17, 0.9),
    "a hole": _disc(24, True),
    "a frame": _disc(24, False),
    "one pixel known": _all_but(24, 24, (5, 20)),
    "opposite corners known": _all_but(30, 21, (0, 0), (29, 20)),
    "one pixel gone": ~_all_but(9, 9, (0, 8)),
    "isolated islands": ~_all_but(16, 16, *((y, x) for y in range(1, 16, 4) for x in range(0, 16, 3))),
    "blocks between known lines": _all_but(
        18, 18, *((y, x) for y in range(18) for x in range(18) if not y % 6 * x % 5)
    ),
    "every second row": _all_but(12, 12, *((y, x) for y in range(0, 12, 2) for x in range(12))),
    "a row of pixels": _all_but(1, 120, (0, 3), (0, 90)),
    "a column of pixels": _all_but(75, 1, (0, 0)),
    "two rows": _all_but(2, 60, (0, 0), (1, 59)),
    "three long rows": _all_but(3, 500, (1, 0), (1, 499)),
    "two pixels": _all_but(1, 2, (0, 1)),
    "nothing gone": torch.zeros(2, 8, 8, dtype=torch.bool),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_it_is_scipys_solution(name, channels):
    mask = CASES[name]
    images = _images(len(mask), channels, *mask.shape[1:])
    out = fill_linearly(images, mask)
    assert out.dtype == torch.float32 and out.shape == images.shape
    for image, one, mine in zip(images, mask, out, strict=True):
        assert np.abs(mine.numpy() - _scipy(image, one)).max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_solved_for_in_float32(dtype):
    images, mask = _images(3, 3, 16, 16).to(dtype), CASES["half, scattered"]
    out = fill_linearly(images, mask)
    assert out.dtype == dtype and torch.equal(out, fill_linearly(images.float(), mask).to(dtype))


def test_no_images_are_no_images():
    nothing = torch.zeros(0, 3, 4, 4)
    assert fill_linearly(nothing, nothing[:, 0].bool()).shape == nothing.shape


def test_the_reference_tells_other_weights_and_borders_apart():
    mask = CASES["half, scattered"]
    images = _images(3, 3, 16, 16)
    out = fill_linearly(images, mask)[0].numpy()
    for other in ({"edge": 1 / 8, "corner": 1 / 8}, {"renormalise": False}):
        assert np.abs(out - _scipy(images[0], mask[0], **other)).max() > 1e-3


def test_one_removed_pixel_by_hand():
    image = torch.arange(9.0).view(1, 1, 3, 3) / 9
    middle = fill_linearly(image, ~_all_but(3, 3, (1, 1)))[0, 0, 1, 1]
    assert float(middle) == pytest.approx(4 / 9, abs=1e-6)
    corner = fill_linearly(image, ~_all_but(3, 3, (0, 0)))[0, 0, 0, 0]  # 1 and 3 by edges, 4 by a corner: 12/5 ninths
    assert float(corner) == pytest.approx((2 * 1 + 2 * 3 + 1 * 4) / 5 / 9, abs=1e-6)


def test_a_large_image_takes_few_iterations(monkeypatch):
    """Plain conjugate gradients need hundreds here; the preconditioner's count hardly grows with the size."""
    images, mask = _images(1, 1, 128, 128), _masks(1, 128, 128, 0.9)
    mask = mask | _disc(128, True)
    monkeypatch.setattr(multigrid, "MAX_ITERATIONS", 10)
    out = fill_linearly(images, mask)
    neighbours = torch.tensor([[[[1.0, 2, 1], [2, 0, 2], [1, 2, 1]]]])
    sums, inside = (torch.conv2d(field, neighbours, padding=1) for field in (out, torch.ones(1, 1, 128, 128)))
    assert (out - sums / inside)[mask[:, None]].abs().max() < 1e-4  # each is the mean of its neighbours
    assert (out - sums / inside)[~mask[:, None]].abs().max() > 1e-2
    monkeypatch.setattr(multigrid, "_cycle", lambda grids, level, residual: residual * grids[0].step)
    with pytest.raises(RuntimeError, match="did not converge in 10 iterations"):
        fill_linearly(images, mask)


def test_values_that_are_no_numbers_are_an_error():
    images = _images(2, 1, 8, 8)
    images[1, 0, 3, 3] = math.nan
    with pytest.raises(RuntimeError, match=f"did not converge in {MAX_ITERATIONS}"):
        fill_linearly(images, ~_all_but(8, 8, (3, 4)).expand(2, 8, 8))


def test_an_image_without_a_pixel_left_becomes_the_given_colour_or_its_own():
    images = _images(2, 3, 8, 8)
    mask = torch.stack([torch.ones(8, 8, dtype=torch.bool), _masks(1, 8, 8, 0.5)[0]])
    colour = torch.tensor([0.1, 0.2, 0.3])
    given_colour, own = fill_linearly(images, mask, colour), fill_linearly(images, mask)
    assert torch.equal(given_colour[0], colour.view(3, 1, 1).expand(3, 8, 8))
    assert (own[0] - images[0].mean((1, 2), keepdim=True)).abs().max() < 1e-6
    assert torch.equal(given_colour[1], own[1])
    assert np.abs(own[1].numpy() - _scipy(images[1], mask[1])).max() < 1e-4  # its neighbour in the batch takes no harm


def test_noise_is_added_to_removed_pixels_alone_with_the_given_deviation():
    images, mask = _images(20, 3, 16, 16), _masks(20, 16, 16, 0.5)
    mean = torch.full((3,), 0.5)

    def noisy(seed=0, rows=slice(None)):
        impute = imputer(images[rows], "noisy_linear", mean, mean, torch.arange(20)[rows], 20, seed)
        return impute(images[rows], mask[rows])

    added = noisy() - fill_linearly(images, mask, mean)
    gone = mask[:, None].expand_as(images)
    assert (added[~gone] == 0).all()
    assert float(added[gone].std()) == pytest.approx(0.01, rel=0.05) and abs(float(added[gone].mean())) < 0.0004
    assert torch.equal(noisy(), noisy()) and not torch.equal(noisy(1), noisy())
    rows = torch.tensor([7, 2])
    assert (noisy(rows=rows) - noisy()[rows]).abs().max() < 1e-4


def test_float64_is_solved_in_float64():
    images, mask = _images(2, 1, 12, 12).double(), _masks(2, 12, 12, 0.6)
    out = fill_linearly(images, mask)
    assert out.dtype == torch.float64
    assert np.abs(out[0].numpy() - _scipy(images[0], mask[0])).max() < 1e-4


# ------------------------------------------------------------------------------------- what holds of any mask


@st.composite
def batches(draw):
    height, width = draw(st.integers(1, 11)), draw(st.integers(1, 11))
    bits = draw(st.lists(st.integers(0, 2 ** (height * width) - 1), min_size=3, max_size=3))
    mask = torch.tensor([[bit >> i & 1 for i in range(height * width)] for bit in bits], dtype=torch.bool)
    images = _images(3, draw(st.sampled_from([1, 3])), height, width, draw(st.integers(0, 99)))
    return images, mask.view(3, height, width)


@quick
@given(batches())
def test_known_pixels_are_kept_and_removed_ones_lie_between_them(batch):
    images, mask = batch
    out = fill_linearly(images, mask)
    gone = mask[:, None].expand_as(images)
    assert torch.equal(out[~gone], images[~gone])
    assert torch.equal(module.with_noise(out, mask, torch.ones_like(out))[~gone], images[~gone])
    low = torch.where(gone, math.inf, images).amin((2, 3), keepdim=True)
    high = torch.where(gone, -math.inf, images).amax((2, 3), keepdim=True)
    known = ~mask.flatten(1).all(1)
    assert ((out >= low) & (out <= high))[known].all()


@quick
@given(batches())
def test_any_mask_has_scipys_solution(batch):
    images, mask = batch
    for image, one, mine in zip(images, mask, fill_linearly(images, mask), strict=True):
        # Without a known pixel there is no system to solve.
        expected = image.mean((1, 2), keepdim=True).expand_as(image).numpy() if one.all() else _scipy(image, one)
        assert np.abs(mine.numpy() - expected).max() < 1e-4


@quick
@given(batches(), st.floats(0, 1, width=32))
def test_a_constant_image_stays_constant(batch, value):
    images, mask = batch
    out = fill_linearly(torch.full_like(images, value), mask)
    assert (out - value).abs().max() <= 1e-7


@quick
@given(batches(), st.permutations(range(3)))
def test_permuting_the_batch_permutes_the_answers(batch, places):
    images, mask = batch
    moved, whole = fill_linearly(images[places], mask[places]), fill_linearly(images, mask)
    assert (moved - whole[places]).abs().max() < 5e-5
    assert (moved - whole[[*places[1:], places[0]]]).abs().max() > 1e-3  # each answer is its own image's


@quick
@given(batches())
def test_one_at_a_time_is_as_all_at_once(batch):
    images, mask = batch
    alone, whole = torch.cat([fill_linearly(images[[i]], mask[[i]]) for i in range(3)]), fill_linearly(images, mask)
    assert (alone - whole).abs().max() < 5e-5
    assert (alone.roll(1, 0) - whole).abs().max() > 1e-3


def test_chunks_change_nothing(monkeypatch):
    images, mask = _images(5, 3, 12, 12), _masks(5, 12, 12, 0.6)
    whole, sizes, fill = fill_linearly(images, mask), [], module._fill
    monkeypatch.setitem(module.CHUNK, "cpu", 2 * images[0].numel())
    monkeypatch.setattr(module, "_fill", lambda x, *rest: sizes.append(len(x)) or fill(x, *rest))
    parts = fill_linearly(images, mask)
    assert sizes == [2, 2, 1]
    assert (parts - whole).abs().max() < 5e-5
    assert (parts.roll(1, 0) - whole).abs().max() > 1e-3


@pytest.mark.parametrize("share", [0.1, 0.9])  # small holes, large ones
def test_images_in_another_memory_format_are_filled_alike(share):
    images = _images(3, 3, 16, 16)
    mask = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1)) < share
    laid = images.contiguous(memory_format=torch.channels_last)
    assert not laid.is_contiguous() and torch.equal(fill_linearly(laid, mask), fill_linearly(images, mask))

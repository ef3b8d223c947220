"""Noisy linear imputation where no hole is large: bounds that hold, against dense matrices, and when it is used."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fa_repro.removal import small_holes
from fa_repro.removal.noisy_linear import TOLERANCE
from fa_repro.removal.small_holes import HIGHEST, LONG_WALK, LONGEST_WALK, solve_small_holes
from samples import noise

quick = settings(max_examples=40, deadline=None)
WEIGHTS = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]])  # of the neighbours, in twelfths


def _neighbours(height, width):
    """The whole image's matrix W (HW,HW), a pixel and a neighbour at a time."""
    matrix = np.zeros((height, width, height, width))
    for y, x, v, u in np.ndindex(matrix.shape):
        if abs(y - v) <= 1 and abs(x - u) <= 1:
            matrix[y, x, v, u] = WEIGHTS[v - y + 1, u - x + 1]
    return matrix.reshape(height * width, -1)


def _normalized(height, width):
    """D^-1 A of the whole image."""
    matrix = _neighbours(height, width)
    return np.eye(height * width) - matrix / matrix.sum(1, keepdims=True)


@pytest.mark.parametrize("height", [1, 2, 3, 4, 7, 10])
@pytest.mark.parametrize("width", [2, 3, 4, 8, 11])
def test_the_highest_eigenvalue_of_an_image_is_below_the_bound_and_close_to_it(height, width):
    found = np.linalg.eigvals(_normalized(height, width)).real.max()
    bound = HIGHEST[min(3, height, width)]
    assert bound - 0.08 < found < bound + 1e-9


@st.composite
def holes(draw):
    height, width = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    bits = draw(st.integers(1, 2 ** (height * width) - 2))  # neither none nor all
    return torch.tensor([bits >> i & 1 for i in range(height * width)]).view(1, 1, height, width).float()


def _longest(hole):
    around = torch.tensor(WEIGHTS).float()[None, None]
    weights = torch.nn.functional.conv2d(torch.ones_like(hole[:1]), around, padding=1)
    pad = torch.nn.functional.pad
    return small_holes._longest_walk(pad(hole, (0, 1, 0, 1)), pad(hole / weights, (0, 1, 0, 1)))


@quick
@given(holes())
def test_the_longest_walk_bounds_the_inverse_and_the_lowest_eigenvalue(hole):
    gone = hole.flatten().bool().numpy()
    system = _normalized(*hole.shape[2:])[np.ix_(gone, gone)]
    bound = _longest(hole)
    largest = np.abs(np.linalg.inv(system)).sum(1).max()  # the mean steps of a walker from the worst pixel
    assert largest <= bound * (1 + 1e-5)
    assert np.linalg.eigvals(system).real.min() >= 1 / bound * (1 - 1e-5)


def test_walks_by_hand():
    single = torch.zeros(1, 1, 5, 5)
    single[..., 2, 2] = 1
    assert _longest(single) == 1  # one step, and it is out
    pair = single.clone()
    pair[..., 2, 3] = 1
    assert _longest(pair) == pytest.approx(1.2)  # it stays with 2/12: 1 + 1/6 + 1/36 + ... = 6/5


@quick
@given(holes(), st.integers(0, 99))
def test_the_error_is_within_the_limit(hole, seed):
    height, width = hole.shape[2:]
    gone = hole.flatten().bool().numpy()
    images = noise(1, 2, height, width, seed=seed)
    known = images * (1 - hole)
    means = known.sum((2, 3), keepdim=True) / (1 - hole).sum()
    found = solve_small_holes(known, hole, means, torch.full((1, 1, 1, 1), 1e-4))
    if found is None:
        assert _longest(hole) > 10
        return
    system = _normalized(height, width)
    right = -system[np.ix_(gone, ~gone)] @ known.flatten(2)[0].T.double().numpy()[~gone]
    exact = np.linalg.solve(system[np.ix_(gone, gone)], right)
    limit = 1e-4 * max(1, _longest(hole) / LONG_WALK)
    assert np.abs(found.flatten(2)[0].T.numpy()[gone] - exact).max() < limit


@pytest.mark.parametrize("bound, solved", [(TOLERANCE, True), (TOLERANCE / 40, False)])
def test_float32_keeps_the_bound_where_walks_are_long(bound, solved):
    """Residuals are rounded: a bound that lies below that is never reached, and its iterations are for nothing."""
    hole = (noise(4, 1, 128, 128) < 0.7).float()
    assert 0.6 * LONGEST_WALK < _longest(hole) < LONGEST_WALK
    known = noise(4, 3, 128, 128, seed=1) * (1 - hole)
    means = known.sum((2, 3), keepdim=True) / (1 - hole).sum((2, 3), keepdim=True)
    found = solve_small_holes(known, hole, means, torch.full((4, 1, 1, 1), bound))
    assert (found is not None) is solved


def test_a_black_image_beside_another_is_solved_at_once():
    hole = (noise(2, 1, 16, 16) < 0.3).float()
    known = noise(2, 3, 16, 16, seed=1) * (1 - hole)
    known[0] = 0
    limit = torch.tensor([0, 1e-4]).view(2, 1, 1, 1)
    found = solve_small_holes(known, hole, known.mean((2, 3), keepdim=True), limit)
    assert found is not None and not found[0].any() and found[1].any()


def test_a_large_hole_takes_another_method():
    scattered = (noise(2, 1, 32, 32) < 0.5).float()
    disc = torch.zeros(2, 1, 32, 32)
    disc[..., 6:26, 6:26] = 1
    half = torch.full((2, 1, 1, 1), 0.5)
    for hole, solved in ((scattered, True), (disc, False)):
        found = solve_small_holes(noise(2, 1, 32, 32) * (1 - hole), hole, half, torch.full((2, 1, 1, 1), 1e-4))
        assert (found is not None) is solved
        assert (_longest(hole) <= LONGEST_WALK) is solved

"""From a map to the order in which pixels go: by hand, and what must hold of any map."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fa_repro.attribution.degenerate import is_degenerate
from fa_repro.removal.ranking import patch_means, rank_patches, rank_pixels, tie_break

IN_ORDER = torch.arange(16)
# A map whose values are all different, and the ranks of its pixels, by hand.
DISTINCT = torch.tensor([[[0.5, 3.0, -1.0, 8.0], [2.0, 9.0, -7.0, 1.0], [4.0, 5.0, 6.0, 7.0], [0.0, -2.0, -3.0, -4.0]]])
MORF = [[[9, 6, 11, 1], [7, 0, 15, 8], [5, 4, 3, 2], [10, 12, 13, 14]]]
LERF = [[[6, 9, 4, 14], [8, 15, 0, 7], [10, 11, 12, 13], [5, 3, 2, 1]]]

# Values that are exact in float32 and often equal, so that ties are tried too.
maps = arrays(np.float32, (3, 4, 4), elements=st.integers(-8, 8).map(float))
orders = st.sampled_from(["morf", "lerf"])
seeds = st.integers(0, 50)
quick = settings(max_examples=40, deadline=None)


def test_distinct_values_by_hand():
    for ties in (IN_ORDER, IN_ORDER.flip(0), tie_break(16, 3)):
        assert rank_pixels(DISTINCT, "morf", ties).tolist() == MORF
        assert rank_pixels(DISTINCT, "lerf", ties).tolist() == LERF
    assert rank_pixels(DISTINCT, "morf", IN_ORDER).dtype == torch.int64
    assert MORF != LERF


def test_ties_follow_the_given_permutation():
    values = torch.zeros(1, 2, 3)
    values[0, 0, 1] = values[0, 1, 2] = 1.0  # positions 1 and 5
    ties = torch.tensor([5, 0, 3, 1, 4, 2])
    assert rank_pixels(values, "morf", ties).tolist() == [[[2, 1, 5], [3, 4, 0]]]
    assert rank_pixels(values, "lerf", ties).tolist() == [[[0, 5, 3], [1, 2, 4]]]
    assert rank_pixels(values, "morf", torch.arange(6)).tolist() == [[[2, 0, 3], [4, 5, 1]]]


def test_a_constant_map_goes_in_the_order_of_the_tie_break_either_way():
    ties = tie_break(16, 5)
    for order in ("morf", "lerf"):
        ranks = rank_pixels(torch.full((2, 4, 4), 0.3), order, ties)
        for one in ranks.flatten(1):
            assert one[ties].tolist() == list(range(16))


def test_many_ties_among_many_pixels_stay_in_order():
    values = (torch.arange(1024) % 3).float().view(1, 32, 32)  # an unstable sort would mix these
    ties = tie_break(1024, 1)
    ranks = rank_pixels(values, "morf", ties).flatten()
    expected = [p for value in (2, 1, 0) for p in ties.tolist() if p % 3 == value]
    assert ranks.argsort().tolist() == expected


def test_nan_is_the_least_relevant_and_infinities_are_the_extremes():
    inf, nan = float("inf"), float("nan")
    values = torch.tensor([[[0.0, nan, inf], [-inf, 1e38, -1e38]]])
    assert rank_pixels(values, "morf", torch.arange(6)).tolist() == [[[2, 4, 0], [5, 1, 3]]]
    assert rank_pixels(values, "lerf", torch.arange(6)).tolist() == [[[3, 0, 5], [1, 4, 2]]]
    assert rank_pixels(values, "morf", torch.arange(6).flip(0)).tolist() == [[[2, 5, 0], [4, 1, 3]]]


def test_nan_ties_with_minus_infinity():
    inf, nan = float("inf"), float("nan")
    for ties in (torch.arange(3), torch.arange(3).flip(0)):
        for order in ("morf", "lerf"):
            ranks = rank_pixels(torch.tensor([[[nan, 1.0, -inf]]]), order, ties)
            assert torch.equal(ranks, rank_pixels(torch.tensor([[[-inf, 1.0, -inf]]]), order, ties))
            assert not torch.equal(ranks, rank_pixels(torch.tensor([[[inf, 1.0, -inf]]]), order, ties))


def test_a_square_with_nan_is_the_least_relevant_and_its_map_degenerate():
    values = torch.tensor([[[9.0, 9.0, 1.0, 1.0], [9.0, 9.0, 1.0, 2.0]]])
    means = patch_means(values, 2)
    assert rank_patches(means, "morf", torch.arange(2), 2)[0, 0].tolist() == [0, 0, 4, 4]
    assert is_degenerate(means).tolist() == [False]
    values[0, 1, 0] = torch.nan
    means = patch_means(values, 2)
    assert rank_patches(means, "morf", torch.arange(2), 2)[0, 0].tolist() == [4, 4, 0, 0]
    assert rank_patches(means, "lerf", torch.arange(2), 2)[0, 0].tolist() == [0, 0, 4, 4]
    assert is_degenerate(means).tolist() == [True]


def test_an_unknown_order_is_an_error():
    for order in ("MoRF", "random", ""):
        with pytest.raises(ValueError, match="morf or lerf"):
            rank_pixels(DISTINCT, order, IN_ORDER)


@quick
@given(maps, orders, seeds)
def test_ranks_are_a_permutation_and_follow_the_values(values, order, seed):
    ranks = rank_pixels(torch.from_numpy(values), order, tie_break(16, seed))
    assert ranks.shape == (3, 4, 4)
    for one, flat in zip(ranks.flatten(1), values.reshape(3, -1), strict=True):
        assert sorted(one.tolist()) == list(range(16))
        steps = np.diff(flat[one.argsort().numpy()])
        assert (steps <= 0).all() if order == "morf" else (steps >= 0).all()


@quick
@given(maps, orders, seeds)
def test_a_strictly_increasing_transform_changes_no_rank(values, order, seed):
    values, ties = torch.from_numpy(values), tie_break(16, seed)
    ranks = rank_pixels(values, order, ties)
    for transform in (lambda v: 0.25 * v + 3, lambda v: v**3, torch.exp, torch.atan, lambda v: 1e6 * v):
        assert torch.equal(rank_pixels(transform(values), order, ties), ranks)


def test_a_transform_that_is_not_increasing_changes_ranks():
    ranks = rank_pixels(DISTINCT, "morf", IN_ORDER)
    for transform in (torch.abs, torch.neg, torch.round):
        assert not torch.equal(rank_pixels(transform(DISTINCT), "morf", IN_ORDER.flip(0)), ranks)


@quick
@given(maps, seeds)
def test_morf_of_a_map_is_lerf_of_its_negative(values, seed):
    values, ties = torch.from_numpy(values), tie_break(16, seed)
    assert torch.equal(rank_pixels(values, "morf", ties), rank_pixels(-values, "lerf", ties))


@quick
@given(maps, orders, seeds, st.permutations(range(3)))
def test_permuting_the_batch_permutes_the_ranks(values, order, seed, places):
    values, ties = torch.from_numpy(values), tie_break(16, seed)
    assert torch.equal(rank_pixels(values[places], order, ties), rank_pixels(values, order, ties)[places])


def test_the_tie_break_is_a_seeded_permutation():
    first, again, other = (tie_break(1024, seed) for seed in (4, 4, 5))
    assert sorted(first.tolist()) == list(range(1024))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.tolist() != list(range(1024))

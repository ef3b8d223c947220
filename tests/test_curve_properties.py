"""What holds of the removal curves of any maps."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fa_repro.removal.curves import readings, removal_readings
from fa_repro.removal.imputation import imputer
from fa_repro.removal.ranking import rank_pixels, tie_break
from networks import Linear

# Exact in float32 and often equal, so that ties are tried too.
some_maps = arrays(np.float32, (3, 4, 4), elements=st.integers(-4, 4).map(float))
quick = settings(max_examples=25, deadline=None)
WEIGHTS = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(11))
IMAGES = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(12))
TARGETS = torch.tensor([0, 2, 1])
COUNTS = [0, 1, 3, 8, 13, 15, 16]


def _impute(rows, kind="noise"):
    return imputer(IMAGES[rows], kind, torch.tensor([0.4, 0.6]), torch.tensor([0.2, 0.1]), rows, 3, 0)


def _readings(maps, order, ties, rows=(0, 1, 2)):
    rows = torch.tensor(rows)
    ranks = [rank_pixels(torch.as_tensor(maps)[rows], order, ties)]
    return removal_readings(Linear(WEIGHTS), IMAGES[rows], [_impute(rows)], TARGETS[rows], ranks, COUNTS)[0][0]


def _same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_tie_break_is_part_of_a_curve():
    maps = torch.zeros(3, 4, 4)
    ties = tie_break(16, 0)
    assert _same(_readings(maps, "morf", ties), _readings(maps, "lerf", ties))
    assert not _same(_readings(maps, "morf", ties), _readings(maps, "morf", tie_break(16, 1)))


@quick
@given(some_maps, st.sampled_from(["morf", "lerf"]), st.integers(0, 50))
def test_a_curve_goes_from_the_intact_image_to_the_imputed_one(maps, order, seed):
    curve = _readings(maps, order, tie_break(16, seed))
    everything = _impute(torch.arange(3))(IMAGES, torch.ones(3, 4, 4, dtype=torch.bool))
    with torch.inference_mode():
        first, last = (readings(Linear(WEIGHTS)(x), TARGETS) for x in (IMAGES, everything))
    assert _same([field[0] for field in curve], first) and _same([field[-1] for field in curve], last)
    assert (first.logit - last.logit).abs().min() > 1e-3


@quick
@given(some_maps, st.sampled_from(["morf", "lerf"]), st.integers(0, 50))
def test_a_curve_ignores_any_strictly_increasing_transform_of_the_map(maps, order, seed):
    ties = tie_break(16, seed)
    curve = _readings(maps, order, ties)
    for transform in (lambda m: 3 * m - 7, lambda m: m**3, np.exp, np.arctan):
        assert _same(curve, _readings(transform(maps), order, ties))


def test_a_transform_that_does_not_increase_changes_the_curve():
    maps, ties = np.arange(-24, 24, dtype=np.float32).reshape(3, 4, 4), tie_break(16, 0)
    assert not _same(_readings(maps, "morf", ties), _readings(np.abs(maps + 0.25), "morf", ties))


@quick
@given(some_maps, st.integers(0, 50))
def test_morf_of_a_map_is_lerf_of_its_negative(maps, seed):
    ties = tie_break(16, seed)
    morf = _readings(maps, "morf", ties)
    assert _same(morf, _readings(-maps, "lerf", ties))
    # Of the map itself another pixel goes first, unless all have one value.
    assert _same(morf, _readings(maps, "lerf", ties)) == (maps == maps[:, :1, :1]).all()


@quick
@given(some_maps, st.permutations(range(3)), st.integers(0, 50))
def test_rows_go_with_their_images_in_any_batch(maps, places, seed):
    ties = tie_break(16, seed)
    curve = _readings(maps, "morf", ties)
    moved = _readings(maps, "morf", ties, places)
    alone = [_readings(maps, "morf", ties, [i]) for i in range(3)]
    elsewhere = [*places[1:], places[0]]
    for field in ("probability", "logit"):
        whole = getattr(curve, field)
        assert (getattr(moved, field) - whole[:, list(places)]).abs().max() < 1e-6
        assert (getattr(moved, field) - whole[:, elsewhere]).abs().max() > 1e-3
        assert (torch.cat([getattr(one, field) for one in alone], 1) - whole).abs().max() < 1e-6

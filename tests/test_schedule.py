"""The learning rate of each step, by hand."""

import math

import pytest

from fa_repro.training.schedule import schedule


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 0.04),
        (10, 0.04 + 0.96 / 2),
        (19, 0.04 + 0.96 * 0.95),
        (20, 1.0),
        (40, 0.5 * (1 + math.sqrt(0.5))),
        (60, 0.5),
        (80, 0.5 * (1 - math.sqrt(0.5))),
        (99, 0.5 * (1 - math.cos(math.pi / 80))),
        (100, 0.0),
        (101, 0.0),
    ],
)
def test_onecycle_rises_linearly_and_falls_in_half_a_cosine(step, factor):
    assert schedule("onecycle", 100, 0.2)(step) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize(("step", "factor"), [(0, 1.0), (1, 0.933012701892), (3, 0.5), (5, 0.066987298108), (6, 0.0)])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_cosine_falls_from_the_start(step, factor, warmup):
    assert schedule("cosine", 6, warmup)(step) == pytest.approx(factor, abs=1e-11)


def test_constant_is_constant():
    assert [schedule("constant", 10, 0.25)(step) for step in (0, 1, 9, 10)] == [1.0] * 4


def test_onecycle_without_warmup_is_cosine():
    one, cosine = schedule("onecycle", 7, 0.0), schedule("cosine", 7, 0.0)
    assert [one(step) for step in range(8)] == [cosine(step) for step in range(8)]
    assert schedule("onecycle", 7, 0.5)(0) != cosine(0)


def test_onecycle_may_peak_between_two_steps():
    factor = schedule("onecycle", 10, 0.25)
    assert factor(2) == pytest.approx(0.04 + 0.96 * 2 / 2.5)
    assert factor(3) == pytest.approx(0.5 * (1 + math.cos(math.pi / 15)))
    assert max(factor(step) for step in range(11)) < 1


@pytest.mark.parametrize("kind", ["onecycle", "cosine", "constant"])
def test_a_training_of_one_step_has_a_learning_rate(kind):
    assert 0 < schedule(kind, 1, 0.25)(0) <= 1

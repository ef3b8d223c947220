"""Bootstrap intervals: against the normal approximation, by hand, paired and seeded."""

import numpy as np
import pytest

from fa_repro.statistics import Bootstrap


def test_mean_and_interval_are_those_of_the_normal_approximation():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    value, low, high = Bootstrap(400, 4000, 0).mean(values)
    half = 1.96 * values.std() / 20
    assert value == pytest.approx(values.mean(), abs=1e-12)
    assert low == pytest.approx(value - half, abs=0.08 * half)
    assert high == pytest.approx(value + half, abs=0.08 * half)


def test_interval_contains_the_mean_and_shrinks_with_n():
    widths = []
    for n in (20, 80, 320):
        values = np.random.default_rng(n).normal(0, 1, n)
        interval = Bootstrap(n, 1000, 0).interval(values)
        assert interval.low < interval.value < interval.high
        assert interval.value == pytest.approx(values.mean(), abs=1e-15)
        widths.append((interval.high - interval.low) / values.std())
    assert widths[0] / widths[1] == pytest.approx(2, abs=0.25)
    assert widths[1] / widths[2] == pytest.approx(2, abs=0.25)


def test_about_95_percent_of_intervals_cover_the_truth():
    n, repeats = 60, 500
    samples = np.random.default_rng(2).normal(1.5, 1.0, (n, repeats))
    covered = halved = 0
    for i in range(5):  # each bootstrap judges a fifth of the samples
        value, low, high = Bootstrap(n, 800, i).mean(samples[:, i::5])
        covered += ((low <= 1.5) & (high >= 1.5)).sum()
        halved += ((value + (low - value) / 2 <= 1.5) & (value + (high - value) / 2 >= 1.5)).sum()
    assert 0.90 <= covered / repeats <= 0.98
    assert halved / repeats < 0.8  # intervals of half the width are told apart


def test_columns_are_judged_by_the_same_resamples():
    bootstrap = Bootstrap(30, 300, 0)
    values = np.random.default_rng(3).random((30, 4, 2))
    whole = bootstrap.mean(values)
    assert whole.shape == (3, 4, 2)
    for i in range(4):
        for j in range(2):
            np.testing.assert_allclose(whole[:, i, j], bootstrap.mean(values[:, i, j]), rtol=0, atol=1e-14)


def test_identical_arrays_differ_by_exactly_nothing():
    values = np.random.default_rng(4).random(50)
    bootstrap = Bootstrap(50, 500, 0)
    assert bootstrap.interval(values - values.copy()) == (0, 0, 0)
    ratio = bootstrap.ratio(values, values.copy())
    assert ratio == (1, 1, 1)
    # Judged apart, their difference would have an interval of some width.
    apart = Bootstrap(50, 500, 1).mean(values)[1] - bootstrap.mean(values)[2]
    assert apart < -0.01


def test_pairing_narrows_the_interval_of_a_difference():
    generator = np.random.default_rng(5)
    hard = generator.normal(0, 1, 100)
    one, two = hard + generator.normal(0.1, 0.05, 100), hard + generator.normal(0, 0.05, 100)
    bootstrap = Bootstrap(100, 1000, 0)
    paired = bootstrap.interval(one - two)
    assert paired.low > 0.05 and paired.high < 0.15
    alone = bootstrap.interval(one)
    assert alone.high - alone.low > 5 * (paired.high - paired.low)


def test_ratio_is_that_of_the_means_by_hand():
    above, below = np.array([1.0, 2.0, 3.0]), np.array([4.0, 4.0, 1.0])
    bootstrap = Bootstrap(3, 500, 0)
    ratio = bootstrap.ratio(above, below)
    assert ratio.value == pytest.approx(6 / 9, abs=1e-15)
    assert ratio.value != pytest.approx((above / below).mean(), abs=0.1)
    assert ratio.low < ratio.value < ratio.high
    assert ratio.low >= 0.25 - 1e-12 and ratio.high <= 3 + 1e-12  # all resamples of one image: 1/4, 2/4 or 3/1
    double = bootstrap.ratio(2 * above, above)
    assert double == pytest.approx((2, 2, 2), abs=1e-12)


def test_a_share_of_what_is_not_above_zero_is_no_number():
    bootstrap = Bootstrap(5, 100, 0)
    for below in (np.zeros(5), np.array([1, -1, 0.5, -0.4, 0.1])):
        assert np.isnan(bootstrap.ratio(np.ones(5), below)).all()
    assert bootstrap.ratio(np.ones(5), np.full(5, 2.0)) == (0.5, 0.5, 0.5)


def test_median_by_hand():
    values = np.array([100.0, 10.0, 20.0, 100.0, 30.0])
    median = Bootstrap(5, 400, 0).median(values)
    assert median.value == 30
    assert 10 <= median.low <= 30 <= median.high <= 100
    assert median.low < median.high
    assert set(median[1:]) <= {10.0, 20.0, 30.0, 100.0}
    assert Bootstrap(4, 400, 0).median(np.full(4, 7.0)) == (7, 7, 7)


def test_bootstrap_is_seeded():
    values = np.random.default_rng(6).random(40)
    for figure in (lambda b: b.interval(values), lambda b: b.median(values), lambda b: b.ratio(values, values**2)):
        first, again, other = (figure(Bootstrap(40, 200, seed)) for seed in (0, 0, 1))
        assert first == again != other
        assert first.value == other.value


def test_one_image_has_an_interval_of_no_width():
    assert Bootstrap(1, 100, 0).interval(np.array([0.3])) == pytest.approx((0.3, 0.3, 0.3))

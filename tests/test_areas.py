"""The area under a removal curve and the percentage until a flip, by hand."""

import numpy as np
import pytest

from fa_repro.removal.areas import area, percent_until_flip


def test_area_by_hand():
    fractions = np.array([0.0, 0.5, 1.0])
    assert area(np.array([1.0, 0.5, 0.0]), fractions) == 0.5
    assert area(np.array([1.0, 0.0, 0.0]), fractions) == 0.25
    assert area(np.array([0.7, 0.7, 0.7]), fractions) == pytest.approx(0.7, abs=1e-15)
    # Widths 0.1, 0.3 and 0.6: 0.1 * 0.75 + 0.3 * 0.375 + 0.6 * 0.125.
    assert area(np.array([1.0, 0.5, 0.25, 0.0]), np.array([0, 0.1, 0.4, 1])) == pytest.approx(0.2625, abs=1e-15)


def test_area_of_many_curves_is_that_of_each():
    curves, fractions = np.random.default_rng(0).random((5, 3, 2)), np.array([0, 0.2, 0.3, 0.7, 1])
    areas = area(curves, fractions)
    assert areas.shape == (3, 2)
    for i in range(3):
        for j in range(2):
            assert areas[i, j] == pytest.approx(np.trapezoid(curves[:, i, j], fractions), abs=1e-12)
    assert np.abs(areas - curves.mean(0)).max() > 0.01  # the widths count


def test_percent_until_flip_by_hand():
    kept = np.array([[1, 1, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 0, 0, 1], [1, 0, 0, 1, 0]], bool)
    fractions = np.array([0, 0.25, 0.5, 1.0])
    #                                           never, then: comes back, late, at once, at the last step
    assert percent_until_flip(kept, fractions).tolist() == [100, 25, 50, 0, 100]
    assert percent_until_flip(~kept, fractions).tolist() == [0, 0, 0, 100, 0]

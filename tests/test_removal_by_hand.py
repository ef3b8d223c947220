"""Percent pixels removed from a 4x4 image, on paper."""

import math

import pytest
import torch
from torch import nn

from fa_repro.attribution import Context
from fa_repro.removal.areas import area, percent_until_flip
from fa_repro.removal.ranking import tie_break
from given_maps import measure_maps


class _Odds(nn.Module):
    """Two classes on 4x4 images of one channel; the odds of class 0 are 3/2 times each white pixel's factor.

    logit 0 = ln(3/2) + sum of ln(factor) * pixel, logit 1 = 0, so that a probability is odds / (odds + 1).
    """

    def __init__(self, factors):
        super().__init__()
        self.weights = torch.tensor(factors).log()

    def forward(self, images):
        odds = math.log(1.5) + (images[:, 0] * self.weights).sum((1, 2))
        return torch.stack([odds, torch.zeros_like(odds)], 1)


def _probabilities(odds):
    return [value / (value + 1) for value in odds]


def test_a_four_by_four_image_on_paper():
    """A map with two leaders, two pixels that tie behind them, eleven zeros, and one below.

    Factors  4 . . .     Map  9 0 0 0     (dots: factor 1)
             . 3 . .          0 7 0 0
             . . 5 .          0 0 2 0
             1/6 . . 1/2      2 0 0 -1    (the two of value 2 have the factors 5 and 1/6)

    White image: odds 3/2 * 4 * 3 * 5 * 1/6 * 1/2 = 15/2, probability 15/17.
    MoRF: without the 4, 15/8; without the 3, too, 5/8, which is class 1. Then the tied pair in the seeded order:
    without the 5, 1/8, or without the 1/6, 15/4; without both, 3/4. The zeros change nothing; the 1/2 goes last: 3/2.
    LeRF: without the 1/2, 15; then the zeros; the pair in the same order, 3 or 90, then 18; without the 3, 6; without
    the 4, 3/2.
    """
    factors = [[4, 1, 1, 1], [1, 3, 1, 1], [1, 1, 5, 1], [1 / 6, 1, 1, 1 / 2]]
    maps = torch.tensor([[[9.0, 0, 0, 0], [0, 7, 0, 0], [0, 0, 2, 0], [2, 0, 0, -1]]])
    model, white = _Odds(factors).eval(), torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    seed = Context().seed
    ties = tie_break(16, seed).tolist()
    five_first = ties.index(10) < ties.index(12)
    counts = [0, 1, 2, 3, 4, 12, 13, 14, 15, 16]
    measured = measure_maps(model, white, maps, counts)
    morf = [15 / 2, 15 / 8, 5 / 8, 1 / 8 if five_first else 15 / 4, 3 / 4, 3 / 4, 3 / 4, 3 / 4, 3 / 4, 3 / 2]
    lerf = [15 / 2, 15, 15, 15, 15, 15, 3 if five_first else 90, 18, 6, 3 / 2]
    for o, odds in enumerate((morf, lerf)):
        curve = measured.probability[0, o, :, 0]
        assert curve.tolist() == pytest.approx(_probabilities(odds), abs=1e-6)
        assert measured.kept[0, o, :, 0].tolist() == [value > 1 for value in odds]
        # Widths in sixteenths: 1 1 1 1 8 1 1 1 1.
        p, widths = _probabilities(odds), [1, 1, 1, 1, 8, 1, 1, 1, 1]
        by_hand = sum(w * (a + b) / 2 for w, a, b in zip(widths, p, p[1:], strict=False)) / 16
        assert area(curve, measured.fractions) == pytest.approx(by_hand, abs=1e-6)
    flips = percent_until_flip(measured.kept[0].swapaxes(0, 1)[:, :, 0], measured.fractions)
    assert flips.tolist() == [100 * 2 / 16, 100]  # MoRF at the second pixel, although it comes back; LeRF never
    assert measured.targets.tolist() == [0] and not measured.degenerate.any()
    swapped = maps.clone()
    swapped[0, 0, 0], swapped[0, 1, 1] = 7, 9
    other = measure_maps(model, white, swapped, counts).probability[0, 0, 1, 0]
    assert other == pytest.approx(2.5 / 3.5, abs=1e-6) and abs(other - measured.probability[0, 0, 1, 0]) > 0.05

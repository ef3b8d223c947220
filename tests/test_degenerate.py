"""Maps that say nothing about a place."""

import torch

from fa_repro.attribution.degenerate import is_degenerate


def test_degenerate_maps_are_found():
    values = torch.arange(16.0).view(1, 4, 4).repeat(5, 1, 1)
    values[1] = 0.7
    values[2, 3, 3] = float("nan")
    values[3] = float("nan")
    values[4, 0, 0] = float("inf")
    assert is_degenerate(values).tolist() == [False, True, True, True, True]
    assert is_degenerate(values.view(5, 1, 4, 4)).tolist() == [[False], [True], [True], [True], [True]]
    nearly = torch.full((1, 4, 4), 0.7)
    nearly[0, 2, 2] = torch.nextafter(nearly[0, 2, 2], torch.tensor(1.0))
    assert is_degenerate(nearly).tolist() == [False]

"""The errors that the proofs report and the tolerance that they allow, by hand."""

import math

import torch

from fa_repro.proofs.tolerance import errors, tolerance


def test_tolerance_is_64_units_in_the_last_place():
    assert tolerance(torch.float64) == 64 * 2.0**-52
    assert tolerance(torch.float32) == 64 * 2.0**-23


def test_errors_by_hand():
    reference = torch.tensor([[1.0, -4.0], [10.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    found = torch.tensor([[1.5, -4.0], [10.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    assert errors(found, reference) == (1.0, 0.125)  # the largest of 0.5/4, 1/10 and 0
    assert errors(found[..., None, None], reference[..., None, None]) == (1.0, 0.125)
    assert errors(reference, reference) == (0.0, 0.0)


def test_errors_at_a_zero_reference():
    zero = torch.zeros(2, 3)
    assert errors(zero, zero) == (0.0, 0.0)
    assert errors(torch.tensor([[0.0, 0.0, 1e-30], [0.0, 0.0, 0.0]]), zero)[1] == math.inf


def test_errors_do_not_lose_what_is_no_number():
    found = torch.tensor([[1.0, math.nan], [1.0, 1.0]])
    assert all(math.isnan(error) for error in errors(found, torch.ones(2, 2)))

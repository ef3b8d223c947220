"""Image sets: their stratified parts, selections and statistics."""

import numpy as np
import pytest
import torch

from fa_repro.data import ImageSet, stratified
from samples import picture


def test_stratified_keeps_class_shares_exactly():
    labels = torch.tensor([0] * 40 + [1] * 20 + [2] * 100)[
        torch.randperm(160, generator=torch.Generator().manual_seed(3))
    ]
    chosen = stratified(labels, 40, seed=1)
    assert torch.bincount(labels[chosen]).tolist() == [10, 5, 25]
    assert labels[:40].bincount().tolist() != [10, 5, 25]  # taking the first 40 would not do


@pytest.mark.parametrize("n", [1, 3, 17, 59, 100])
def test_stratified_is_within_one_image_of_each_class_share(n):
    labels = torch.tensor([4] * 7 + [0] * 31 + [2] * 62)
    counts = torch.bincount(labels[stratified(labels, n, seed=0)], minlength=5).double()
    wanted = n * torch.bincount(labels, minlength=5).double() / 100
    assert counts.sum() == n
    assert (counts - wanted).abs().max() < 1 + 1e-9


def test_stratified_is_sorted_distinct_and_seeded():
    labels = torch.arange(200) % 7
    first, again, other = (stratified(labels, 50, seed) for seed in (5, 5, 6))
    assert first.dtype == torch.int64 and len(first) == 50
    assert (first.diff() > 0).all()
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_stratified_of_all_returns_all():
    assert stratified(torch.tensor([2, 0, 0, 1, 2]), 5, seed=9).tolist() == [0, 1, 2, 3, 4]


def test_stratified_reaches_every_image_over_the_seeds():
    labels = torch.arange(12) % 2
    assert {i for seed in range(60) for i in stratified(labels, 2, seed).tolist()} == set(range(12))


# Selections


def _numbered(n=6, size=3):
    images = torch.arange(n * 2 * size * size, dtype=torch.int64).remainder(256).to(torch.uint8).view(n, 2, size, size)
    return ImageSet(images, torch.arange(n) % 3, torch.arange(n), ("a", "b", "c"), images[:, 0] % 2 == 0)


@pytest.mark.parametrize("index", [torch.tensor([4, 0, 4]), torch.tensor([False, True, True, False, False, True])])
def test_select_takes_every_field_alike(index):
    whole = _numbered()
    part = whole.select(index)
    places = index if index.dtype == torch.int64 else index.nonzero()[:, 0]
    assert len(part) == 3
    for field in ("images", "labels", "rows", "masks"):
        expected = np.stack([getattr(whole, field).numpy()[i] for i in places])
        assert np.array_equal(getattr(part, field).numpy(), expected)
    assert part.classes == whole.classes


def test_select_of_a_selection_still_knows_the_rows_of_the_whole_set():
    part = _numbered().select(torch.tensor([5, 3, 1])).select(torch.tensor([2, 0]))
    assert part.rows.tolist() == [1, 5]
    assert torch.equal(part.images, _numbered().images[[1, 5]])


def test_a_set_without_masks_selects_and_moves():
    whole = _numbered()
    bare = ImageSet(whole.images, whole.labels, whole.rows, whole.classes).select(torch.tensor([0]))
    assert bare.masks is None and bare.to(torch.device("cpu")).masks is None


def test_statistics_are_numpys_mean_and_deviation():
    images = picture(0, 11, 3, 5, 7)
    images[:, 1] //= 9  # channels differ
    images[:, 2] = 200
    mean, std = ImageSet(torch.from_numpy(images), torch.zeros(11), torch.arange(11), ("a",)).statistics()
    values = images.astype(np.float64) / 255
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2, 3)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=(0, 2, 3)), rtol=0, atol=1e-7)  # of a constant: sqrt of a rounding
    assert not np.allclose(std, values.std(axis=(2, 3)).mean(axis=0), rtol=0, atol=1e-4)

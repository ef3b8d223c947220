"""Superpixels that go at a time: which, in which order and how many, by hand; and what SLIC makes of images."""

import pytest
import torch

from fa_repro.removal.superpixels import Segments, Superpixels, segment
from samples import noise

# Three superpixels of 6, 8 and 2 pixels.
LABELS = torch.tensor([[[0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1], [1, 1, 2, 2]]])
IN_ORDER = torch.arange(16)


def _maps() -> torch.Tensor:
    """Means 2, 1 and 3: superpixel 2 is the most relevant, although the largest value lies in 1."""
    maps = torch.full((1, 4, 4), 0.0)
    maps[LABELS == 0] = 2.0
    maps[0, 0, 3] = 8.0  # of superpixel 1, whose other pixels are 0
    maps[LABELS == 2] = 3.0
    return maps


def _gone(order: str, count: int, ties: torch.Tensor = IN_ORDER) -> set[int]:
    """The superpixels that are gone at ``count`` pixels; fails if one is gone in part."""
    segments = Segments(LABELS)
    mask = segments.ranks(segments.means(_maps()), order, ties) < count
    gone = {label for label in range(3) if mask[label == LABELS].any()}
    assert all(mask[label == LABELS].all() for label in gone)
    return gone


def test_every_pixel_gets_the_mean_of_its_superpixel():
    means = Segments(LABELS).means(_maps())
    assert means.tolist() == [[[2, 2, 2, 1], [2, 2, 2, 1], [1, 1, 1, 1], [1, 1, 3, 3]]]


@pytest.mark.parametrize(
    ("order", "count", "gone"),
    [
        # MoRF: 2 pixels, then 6, then 8; each goes when its middle (1, 2 + 3, 8 + 4) is passed.
        ("morf", 0, set()),
        ("morf", 1, set()),
        ("morf", 2, {2}),
        ("morf", 5, {2}),
        ("morf", 6, {2, 0}),
        ("morf", 12, {2, 0}),
        ("morf", 13, {2, 0, 1}),
        ("morf", 16, {2, 0, 1}),
        # LeRF: 8, then 6, then 2; middles 4, 8 + 3 and 14 + 1.
        ("lerf", 4, set()),
        ("lerf", 5, {1}),
        ("lerf", 11, {1}),
        ("lerf", 12, {1, 0}),
        ("lerf", 15, {1, 0}),
        ("lerf", 16, {1, 0, 2}),
    ],
)
def test_a_superpixel_goes_as_a_whole_when_its_middle_is_due(order, count, gone):
    assert _gone(order, count) == gone


def test_superpixels_that_tie_go_in_the_order_of_the_permutation():
    segments = Segments(LABELS)
    constant = segments.means(torch.ones(1, 4, 4))
    for ties, sequence in ((IN_ORDER, [0, 1, 2]), (IN_ORDER.flip(0), [2, 1, 0])):
        ranks = segments.ranks(constant, "morf", ties)
        first = {label: int(ranks[label == LABELS][0]) for label in range(3)}
        assert sorted(first, key=first.__getitem__) == sequence


def test_an_image_of_fewer_superpixels_is_ranked_as_if_it_were_alone():
    halves = torch.tensor([[[0, 0, 1, 1]] * 4])
    maps = torch.cat([_maps(), torch.where(halves == 1, 5.0, 1.0)])
    both, alone = Segments(torch.cat([LABELS, halves])), Segments(halves)
    for order in ("morf", "lerf"):
        together = both.ranks(both.means(maps), order, IN_ORDER)[1:]
        ranks = alone.ranks(alone.means(maps[1:]), order, IN_ORDER)
        for count in range(17):
            assert torch.equal(together < count, ranks < count)
        assert (ranks < 5).sum() == 8 and (ranks < 13).sum() == 16


def test_slic_keeps_to_edges_and_does_not_depend_on_the_batch():
    images = torch.zeros(2, 3, 16, 16)
    images[0, 0, :, 5:] = 1.0  # an edge that no grid of squares of 4 or 8 pixels has
    images[1] = noise(1, 3, 16, 16)[0]
    labels = segment(images, 4)
    assert labels.shape == (2, 16, 16) and labels.dtype == torch.int64
    left, right = set(labels[0, :, :5].flatten().tolist()), set(labels[0, :, 5:].flatten().tolist())
    assert len(left | right) >= 2 and not left & right
    for i in range(2):
        assert torch.equal(segment(images[i : i + 1], 4)[0], labels[i])
        assert labels[i].unique().tolist() == list(range(int(labels[i].max()) + 1))


def test_grey_images_are_divided_as_the_same_image_in_colour():
    grey = torch.zeros(2, 1, 12, 12)
    grey[0, :, :, 5:] = grey[1, :, 5:] = 1.0
    labels = segment(grey, 6)
    assert torch.equal(labels, segment(grey.expand(-1, 3, -1, -1), 6)) and not torch.equal(labels[0], labels[1])


def test_a_unit_is_told_in_words():
    assert "6" in str(Superpixels(6))

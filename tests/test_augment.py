"""Augmentation: every crop is a shift of the reflected image, and removal changes exactly the masked pixels."""

import math

import numpy as np
import pytest
import torch

from fa_repro.data.augment import augment, crop, flip, mirrored, removal_mask, square_mask
from samples import pixels

NUMBERED = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
# The numbered image with one pixel of reflected border, by hand.
REFLECTED = torch.tensor(
    [
        [5, 4, 5, 6, 7, 6],
        [1, 0, 1, 2, 3, 2],
        [5, 4, 5, 6, 7, 6],
        [9, 8, 9, 10, 11, 10],
        [13, 12, 13, 14, 15, 14],
        [9, 8, 9, 10, 11, 10],
    ],
    dtype=torch.uint8,
)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _shift_of(image):
    """Return by which offset into REFLECTED an image (4,4) lies, None if by none."""
    found = [(y, x) for y in range(3) for x in range(3) if torch.equal(REFLECTED[y : y + 4, x : x + 4], image)]
    return found[0] if found else None


def test_crops_are_all_the_shifts_of_the_reflected_image():
    out = crop(NUMBERED.expand(450, 1, 4, 4), 1, _generator())
    assert out.dtype == torch.uint8 and out.shape == (450, 1, 4, 4)
    shifts = [_shift_of(image[0]) for image in out]
    assert None not in shifts
    counts = [shifts.count((y, x)) for y in range(3) for x in range(3)]
    assert min(counts) > 50 - 5 * math.sqrt(50)  # all nine, and none much rarer
    assert _shift_of(torch.roll(NUMBERED[0, 0], 1, 0)) is None  # wrapped around, it is none of them


def test_channels_of_an_image_move_together_and_images_apart():
    images = torch.stack([NUMBERED[0, 0], NUMBERED[0, 0] + 100])[None].expand(60, 2, 4, 4)
    out = crop(images, 1, _generator(3))
    assert torch.equal(out[:, 1], out[:, 0] + 100)
    assert len({_shift_of(image[0]) for image in out}) == 9


def test_no_border_leaves_images_and_generator_alone():
    generator = _generator()
    state = generator.get_state()
    images = pixels(5)
    assert torch.equal(crop(images, 0, generator), images)
    assert torch.equal(generator.get_state(), state)


def test_crop_keeps_every_grey_level():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    out = crop(levels.expand(30, 1, 16, 16), 2, _generator())
    assert out.unique().tolist() == list(range(256))


def test_flip_mirrors_the_chosen_images_left_to_right():
    images = pixels(4, size=3)
    out = flip(images, torch.tensor([True, False, True, False]))
    by_numpy = torch.from_numpy(images.numpy()[:, :, :, ::-1].copy())
    assert torch.equal(out[::2], by_numpy[::2]) and torch.equal(out[1::2], images[1::2])
    assert not torch.equal(by_numpy, images)


def test_an_epoch_mirrors_the_half_that_the_last_one_left():
    first, second, third = (mirrored(2000, epoch, _generator(4)) for epoch in (1, 2, 3))
    assert torch.equal(second, ~first) and torch.equal(third, first)
    assert abs(first.sum() - 1000) < 5 * math.sqrt(500)
    assert not torch.equal(mirrored(2000, 1, _generator(5)), first)  # another seed, another half


def test_share_of_affected_images():
    for share in (0.0, 0.3, 1.0):
        mask = removal_mask(1500, (32, 32), share, _generator(1)).mask
        assert mask.dtype == torch.bool and mask.shape == (1500, 32, 32)
        affected = mask.any(dim=(1, 2)).double()
        # Its share is drawn from 0 on: less than 1 in 50 affected images loses nothing.
        low, high = share * (1 - 1 / 50), share
        sigma = math.sqrt(max(share * (1 - share), 1e-9) / 1500)
        assert low - 5 * sigma <= float(affected.mean()) <= high + 5 * sigma


def _whole_patches(mask):
    blocks = mask.view(len(mask), 8, 4, 8, 4).sum(dim=(2, 4))
    return ((blocks == 0) | (blocks == 16)).all(dim=(1, 2))


def test_a_third_of_the_holes_are_whole_patches():
    mask = removal_mask(1500, (32, 32), 1.0, _generator(2)).mask
    lost = mask.double().mean(dim=(1, 2))
    told = (lost > 0.05) & (lost < 0.85)  # where no single pixels would fill patches by chance
    whole = _whole_patches(mask[told]).double()
    assert abs(whole.mean() - 1 / 3) < 5 * 0.5 / math.sqrt(len(whole))
    assert not _whole_patches(mask[told].roll((1, 1), dims=(1, 2))).any()  # patches off the grid are seen


def test_a_third_of_the_holes_are_regions_with_few_edges():
    mask, together = removal_mask(1500, (32, 32), 1.0, _generator(2))
    lost = mask.double().mean(dim=(1, 2))
    told = (lost > 0.2) & (lost < 0.8)
    # 1: neighbours are independent.
    unlike = (mask[:, 1:] != mask[:, :-1]).double().mean((1, 2)) / (2 * lost * (1 - lost))
    smooth = (unlike < 0.4) & ~_whole_patches(mask)
    assert abs(smooth[told].double().mean() - 1 / 3) < 5 * 0.5 / math.sqrt(int(told.sum()))
    assert torch.equal(together[told], (smooth | _whole_patches(mask))[told])
    assert (unlike[told & ~together] > 0.8).all()


def test_where_nothing_is_removed_nothing_went_together():
    mask, together = removal_mask(300, (32, 32), 0.5, _generator(2))
    gone = mask.flatten(1).any(1)
    assert 0 < together.sum() < gone.sum() < 300 and not together[~gone].any()


def test_lost_shares_are_spread_evenly_up_to_nine_tenths():
    mask = removal_mask(1800, (32, 32), 1.0, _generator(3)).mask
    lost = mask.double().mean(dim=(1, 2))
    assert abs(lost.mean() - 0.45) < 5 * 0.9 / math.sqrt(12 * 1800)
    counts = np.histogram(lost, bins=9, range=(0, 0.9))[0]
    assert (abs(counts - 1800 / 9) < 6 * math.sqrt(1800 / 9)).all()


@pytest.mark.parametrize("size", [(32, 32), (8, 8)])
def test_no_image_loses_more_than_nine_tenths(size):
    mask = removal_mask(1500, size, 1.0, _generator(4)).mask
    assert float(mask.double().mean(dim=(1, 2)).max()) <= 0.9


def test_patches_at_the_edge_of_other_sizes_are_cut():
    mask = removal_mask(400, (6, 10), 1.0, _generator(5)).mask
    assert mask.shape == (400, 6, 10)
    corner = mask[:, 4:, 8:].flatten(1)
    of_patches = (corner.all(1) | ~corner.any(1)).float().mean()
    # The last patch's four pixels that are left go or stay together, in a third of the images; in the others they do so
    # by chance and as neighbours. Pixels alone would do so in 0.35 of the images, with regions in a half.
    assert of_patches > 0.6


def test_removal_sets_exactly_the_masked_pixels_to_the_colour():
    images = pixels(40, size=8)
    colour = torch.tensor([0.25, 0.5, 0.123])
    out, removed = augment(images, border=0, mirror=None, cutout=0, removal=0.7, colour=colour, generator=_generator(6))
    mask, together = removal_mask(40, (8, 8), 0.7, _generator(6))
    assert torch.equal(removed.mask, mask) and torch.equal(removed.together, together)
    assert 0 < mask.sum() < mask.numel()
    by_pixel = out.permute(0, 2, 3, 1)
    assert (by_pixel[mask] == colour).all()
    assert torch.equal(by_pixel[~mask], (images.float() / 255).permute(0, 2, 3, 1)[~mask])
    assert not (by_pixel[mask.flip(0)] == colour).all()  # another image's mask is seen


@pytest.mark.parametrize("side", [1, 2, 3])
def test_cutout_takes_a_square_around_any_pixel(side):
    mask = square_mask(1000, (4, 5), side, _generator(10), torch.device("cpu"))
    squares = {}
    for y in range(4):
        for x in range(5):
            square = np.zeros((4, 5), bool)
            top, left = y - side // 2, x - side // 2
            square[max(top, 0) : top + side, max(left, 0) : left + side] = True  # what lies outside is lost
            squares.setdefault(square.tobytes(), []).append((y, x))
    counts = dict.fromkeys(squares, 0)
    for one in mask.numpy():
        counts[one.tobytes()] += 1  # KeyError: no such square
    expected = {square: 1000 / 20 * len(centres) for square, centres in squares.items()}
    assert all(abs(counts[square] - n) < 5 * math.sqrt(n) for square, n in expected.items())


def test_cutout_sets_its_square_to_the_colour_and_counts_as_no_removal():
    images = pixels(40, size=8)
    colour = torch.tensor([0.25, 0.5, 0.123])
    settings = {"border": 0, "mirror": None, "colour": colour}
    out, removed = augment(images, cutout=3, removal=0.0, generator=_generator(6), **settings)
    mask = square_mask(40, (8, 8), 3, _generator(6), torch.device("cpu"))
    by_pixel = out.permute(0, 2, 3, 1)
    assert removed is None and (by_pixel[mask] == colour).all()
    assert torch.equal(by_pixel[~mask], (images.float() / 255).permute(0, 2, 3, 1)[~mask])
    both, removed = augment(images, cutout=3, removal=0.7, generator=_generator(6), **settings)
    assert not torch.equal(removed.mask, mask)
    assert torch.equal((both.permute(0, 2, 3, 1) == colour).all(3), removed.mask | mask)


def test_without_removal_pixels_are_exactly_those_of_the_file():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    out, removed = augment(
        images, border=0, mirror=None, cutout=0, removal=0.0, colour=torch.zeros(1), generator=_generator()
    )
    assert out.dtype == torch.float32 and removed is None
    assert np.array_equal(out.numpy().ravel(), np.arange(256, dtype=np.float32) / np.float32(255))


def test_augment_crops_mirrors_and_removes_with_its_own_draws():
    images = NUMBERED.expand(600, 1, 4, 4)
    chosen = torch.arange(600) % 3 == 0
    out, _ = augment(
        images, border=1, mirror=chosen, cutout=0, removal=0.0, colour=torch.zeros(1), generator=_generator(7)
    )
    back = (out * 255).round().to(torch.uint8)[:, 0]
    straight = [_shift_of(image) for image in back]
    turned = [_shift_of(image.flip(1)) for image in back]
    assert [shift is not None for shift in turned] == chosen.tolist()
    assert [shift is None for shift in straight] == chosen.tolist()
    assert set(straight) - {None} == set(turned) - {None} and len(set(straight) - {None}) == 9
    plain, _ = augment(
        images, border=1, mirror=None, cutout=0, removal=0.0, colour=torch.zeros(1), generator=_generator(7)
    )
    assert None not in [_shift_of(image) for image in (plain * 255).round().to(torch.uint8)[:, 0]]


def test_a_seed_gives_a_batch():
    images = pixels(16)
    chosen = torch.arange(16) < 5
    batches = [
        augment(
            images,
            border=2,
            mirror=chosen,
            cutout=0,
            removal=0.5,
            colour=torch.full((3,), 0.5),
            generator=_generator(seed),
        )[0]
        for seed in (8, 8, 9)
    ]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])

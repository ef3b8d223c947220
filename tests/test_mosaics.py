"""Which images make mosaics, and networks that take images of one size alone."""

import torch
from torch import nn

from fa_repro.attribution import Context
from fa_repro.data import ImageSet
from fa_repro.localization import compose, make_mosaics
from fa_repro.localization.mosaics import by_mosaics
from refusals import refusal

LABELS = torch.arange(20) % 5
# Of class k the images are as bright as k; those of the last five are labelled one class too high.
PIXELS = (50 * LABELS).to(torch.uint8).view(20, 1, 1, 1).expand(20, 3, 8, 8)
POOL = ImageSet(
    PIXELS, torch.where(torch.arange(20) < 15, LABELS, (LABELS + 1) % 5), torch.arange(100, 120), tuple("abcde")
)


class Brightness(nn.Module):
    """Tells classes apart by the mean brightness; takes any size."""

    sharpness = 1000.0

    def forward(self, images):
        return -self.sharpness * (images.mean((1, 2, 3))[:, None] - 50 * torch.arange(5) / 255).abs()


class Doubtful(Brightness):
    sharpness = 1.0


class Flattening(Brightness):
    """Takes the pixels 192 at a time: of a larger image it makes several."""

    def forward(self, images):
        return super().forward(images.reshape(-1, 3, 8, 8))


class Asserting(Brightness):
    def forward(self, images):
        assert images.shape[2] == 8, f"Wrong image height! Expected 8 but got {images.shape[2]}!\nAnd so on."
        return super().forward(images)


def mosaics(model, grid=2, confidence=0.9, pool=POOL):
    return make_mosaics(model, "mine", pool, grid, count=9, confidence=confidence, seed=0, batch_size=6)


def refused(model, **changes):
    text = refusal(lambda: mosaics(model, **changes))
    assert text.startswith("grid=")
    return text


def test_mosaics_are_of_images_that_are_classified_correctly():
    made = mosaics(Brightness())
    assert len(made.images) == 3 and made.images.shape == (3, 3, 16, 16)  # 15 images are right: three times four
    assert (made.rows < 115).all() and made.rows.unique().numel() == 12
    assert torch.equal(made.classes, LABELS[made.rows - 100])
    assert torch.equal(made.images, compose(PIXELS, made.rows - 100, 2))


def test_images_in_doubt_make_no_mosaic():
    assert "of 20 images, 0 in 0 classes" in refused(Doubtful())
    assert len(mosaics(Doubtful(), confidence=0.1).images) == 3
    assert "one image each of 9 classes" in refused(Brightness(), grid=3)


def test_networks_that_take_one_size_alone_are_one_line():
    assert "mine can't take images of 3x16x16 (AssertionError: Wrong image height! Expected 8 but got 16!)" in refused(
        Asserting()
    )
    assert "mine must give logits (1, 5), one for each class of the data, not (4, 5)" in refused(Flattening())


def test_a_batch_of_mosaics_has_as_many_pixels_as_one_of_images():
    assert [by_mosaics(Context(batch_size=n), 3).batch_size for n in (500, 18, 9, 8, 1)] == [55, 2, 1, 1, 1]

"""What stands in for a removed pixel: by hand, and the blur against scipy with renormalised borders."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from fa_repro.config import IMPUTATIONS
from fa_repro.noise import noise_field
from fa_repro.removal.imputation import BLUR_SIGMA, gaussian_blur, imputer, stand_in
from samples import noise

MEAN, STD = torch.tensor([0.2, 0.5, 0.9]), torch.tensor([0.05, 0.2, 0.1])


def _stand_in(images, kind, rows=None, pool_size=None, seed=0, mean=MEAN, std=STD):
    rows = torch.arange(len(images)) if rows is None else rows
    return stand_in(images, kind, mean, std, rows, pool_size or len(images), seed)


def _scipy_blur(images, sigma, renormalise=True):
    """A Gaussian cut at 3 sigma in float64; at the borders divided by the weight that lies inside the image."""
    reach = round(3 * sigma)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    values, weight = images.astype(np.float64), np.ones_like(images, np.float64)
    for axis in (-2, -1):
        values = ndimage.convolve1d(values, kernel, axis, mode="constant", cval=0.0)
        weight = ndimage.convolve1d(weight, kernel, axis, mode="constant", cval=0.0)
    return values / weight if renormalise else values / kernel.sum() ** 2


def test_mean_is_the_training_sets_colour_everywhere():
    out = _stand_in(noise(2, 3, 16, 16), "mean")
    assert out.shape == (2, 3, 16, 16) and out.dtype == torch.float32
    for channel, value in enumerate((0.2, 0.5, 0.9)):
        assert (out[:, channel] == torch.tensor(value)).all()


def test_zero_is_black():
    assert torch.equal(_stand_in(noise(2, 3, 16, 16), "zero"), torch.zeros(2, 3, 16, 16))


@pytest.mark.parametrize("kind", ["mean", "zero", "blur", "noise"])
def test_every_kind_leaves_the_images_alone_and_fits_them(kind):
    images = noise(3, 3, 16, 16)
    before = images.clone()
    out = _stand_in(images, kind)
    assert torch.equal(images, before) and out.shape == images.shape
    assert out.min() >= 0 and out.max() <= 1
    assert not torch.equal(out, images)


def test_blur_is_not_rounded_to_tf32(monkeypatch):
    cudnn, seen, convolve = torch.backends.cudnn, [], torch.nn.functional.conv2d

    def noting(*args, **kwargs):
        seen.append(cudnn.allow_tf32)
        return convolve(*args, **kwargs)

    monkeypatch.setattr(cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.nn.functional, "conv2d", noting)
    noting(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 1, 1))
    gaussian_blur(noise(1, 3, 16, 16), 2.0)
    assert seen == [True, False, False] and cudnn.allow_tf32


@pytest.mark.parametrize("size", [8, 16, 32])
def test_blur_is_a_gaussian_of_an_eighth_of_the_side(size):
    images = noise(2, 3, size, size)
    out = _stand_in(images, "blur").numpy()
    np.testing.assert_allclose(out, _scipy_blur(images.numpy(), size / 8), rtol=0, atol=1e-6)
    assert BLUR_SIGMA == 1 / 8
    for other in (_scipy_blur(images.numpy(), size / 7), _scipy_blur(images.numpy(), size / 8, renormalise=False)):
        assert np.abs(out - other).max() > 1e-3


def test_blur_of_a_point_by_hand():
    """Sigma 1 on 7x7 pixels: a point in the middle becomes the product of two cut Gaussians."""
    images = torch.zeros(1, 1, 7, 7)
    images[0, 0, 3, 3] = 1
    line = np.exp(-np.array([9, 4, 1, 0, 1, 4, 9]) / 2)
    reach = np.array([line[3 - min(3, i) : 4 + min(3, 6 - i)].sum() for i in range(7)])  # weight inside the image
    expected = np.outer(line / reach, line / reach)
    np.testing.assert_allclose(gaussian_blur(images, 1.0)[0, 0].numpy(), expected, rtol=0, atol=1e-7)


def test_blur_keeps_constant_images_and_channels_apart():
    images = torch.tensor([0.3, 0.6, 1.0]).view(1, 3, 1, 1).expand(2, 3, 16, 16)
    assert (_stand_in(images, "blur") - images).abs().max() < 1e-6
    one = noise(1, 3, 16, 16)
    alone = torch.cat([_stand_in(one[:, [c]], "blur") for c in range(3)], dim=1)
    assert (_stand_in(one, "blur") - alone).abs().max() < 1e-6


def test_noise_does_not_depend_on_the_batch():
    images = noise(7, 3, 16, 16)
    whole = _stand_in(images, "noise")
    for size in (1, 3):
        parts = [_stand_in(images[rows], "noise", rows, 7) for rows in torch.arange(7).split(size)]
        assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(_stand_in(images[[4, 2]], "noise", torch.tensor([4, 2]), 7), whole[[4, 2]])
    assert not torch.equal(_stand_in(images[[4, 2]], "noise", torch.tensor([2, 4]), 7), whole[[4, 2]])


def test_noise_has_its_own_seed_and_differs_between_images():
    images = noise(3, 3, 16, 16)
    first, again, other = (_stand_in(images, "noise", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("seed", [0, 4])
def test_noise_is_that_of_the_next_seed_as_the_runs_own_is_the_random_controls(seed):
    images, rows = noise(3, 3, 16, 16), torch.arange(3)
    own, after = (noise_field(images, rows, 3, number) for number in (seed, seed + 1))
    mean, std = MEAN.view(3, 1, 1), STD.view(3, 1, 1)
    found = _stand_in(images, "noise", seed=seed)
    assert torch.equal(found, (mean + std * after).clamp(0, 1))
    assert not torch.equal(found, (mean + std * own).clamp(0, 1))
    gone = torch.ones(3, 16, 16, dtype=torch.bool)
    out = imputer(images, "noisy_linear", MEAN, STD, rows, 3, seed)(images, gone)
    assert torch.allclose(out, mean + 0.01 * after, atol=1e-4)
    assert not torch.allclose(out, mean + 0.01 * own, atol=1e-4)


def test_noise_has_the_training_sets_statistics_where_nothing_is_clipped():
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.05, 0.08, 0.02])
    out = _stand_in(torch.zeros(100, 3, 16, 16), "noise", mean=mean, std=std).double()
    n = 100 * 256
    assert ((out.mean((0, 2, 3)) - mean).abs() < 5 * std / n**0.5).all()
    assert ((out.std((0, 2, 3)) - std).abs() < 5 * std / (2 * n) ** 0.5).all()
    pixels = out[:, 0].flatten(1)
    assert abs(np.corrcoef(pixels[:, 0], pixels[:, 1])[0, 1]) < 0.5  # pixels apart are drawn apart


def test_noise_is_clipped_to_the_range_of_images():
    out = _stand_in(noise(20, 3, 16, 16), "noise", std=torch.full((3,), 0.5))
    assert out.min() == 0 and out.max() == 1
    bright = _stand_in(noise(20, 3, 16, 16), "noise")[:, 2]  # mean 0.9, deviation 0.1
    assert abs((bright == 1).float().mean() - 0.1587) < 0.02


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ValueError, match="grey"):
        _stand_in(noise(2, 3, 16, 16), "grey")


@pytest.mark.parametrize("kind", IMPUTATIONS)
def test_every_kind_of_the_config_removes_the_masked_pixels_and_no_other(kind):
    images = noise(3, 3, 16, 16)
    gone = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.4
    out = imputer(images, kind, MEAN, STD, torch.arange(3), 3, 0)(images, gone)
    changed = (out != images).any(1)
    assert torch.equal(changed, gone)
    assert torch.equal(imputer(images, kind, MEAN, STD, torch.arange(3), 3, 0)(images, gone & False), images)


def test_fixed_kinds_take_removed_pixels_from_one_image_whatever_the_mask():
    images = noise(2, 3, 16, 16)
    for kind in ("mean", "zero", "blur", "noise"):
        impute = imputer(images, kind, MEAN, STD, torch.arange(2), 2, 0)
        assert torch.equal(impute(images, torch.ones(2, 16, 16, dtype=torch.bool)), _stand_in(images, kind))


def test_noisy_linear_keeps_an_images_noise_under_every_mask_and_in_every_batch():
    images = torch.full((4, 3, 16, 16), 0.5)  # what is solved for is 0.5 everywhere: the rest is noise
    whole = imputer(images, "noisy_linear", MEAN, STD, torch.arange(4), 4, 0)
    gone = torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.5
    more = gone | (torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(2)) < 0.5)
    first, second = whole(images, gone), whole(images, more)
    both = gone[:, None].expand_as(images)
    assert torch.equal(first[both], second[both])
    assert abs(float((first[both] - 0.5).std()) - 0.01) < 0.001
    rows = torch.tensor([3, 1])
    part = imputer(images[rows], "noisy_linear", MEAN, STD, rows, 4, 0)
    assert torch.equal(part(images[rows], gone[rows]), first[rows])


def test_noisy_linear_has_the_training_sets_colour_when_nothing_is_left():
    out = imputer(noise(40, 3, 16, 16), "noisy_linear", MEAN, STD, torch.arange(40), 40, 0)(
        noise(40, 3, 16, 16), torch.ones(40, 16, 16, dtype=torch.bool)
    )
    assert (out.mean((0, 2, 3)) - MEAN).abs().max() < 0.001
    assert (out.std((0, 2, 3)) - 0.01).abs().max() < 0.001

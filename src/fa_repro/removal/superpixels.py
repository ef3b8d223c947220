"""Superpixels that go at a time: SLIC (Achanta et al. 2012, TPAMI 34), by scikit-image, an optional extra."""

from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from fa_repro.errors import InputError
from fa_repro.removal.ranking import rank_pixels

COMPACTNESS = 10.0  # of distance in space against colour (CIELAB): scikit-image's default, and the paper's own


def check_superpixels() -> None:
    """Refuse superpixels where their library is not installed.

    Raises:
        InputError: says how to install it.

    """
    if not find_spec("skimage"):
        raise InputError(
            "unit=superpixel needs scikit-image, which is not installed: pip install 'fa-repro[superpixels]'."
        )


class Superpixels:
    """Connected regions of about one colour, each image's own; see `fa_repro.removal.units.Units`."""

    step = 1

    def __init__(self, number: int) -> None:
        """Build; ``number`` of regions that each image is asked for."""
        self.number = number

    def places(self, pixels: int) -> int:
        """Return ``pixels``: no image has more superpixels."""
        return pixels

    def of(self, images: Tensor) -> "Segments":
        """Divide images (N,C,H,W) in [0,1], each by its own colours."""
        return Segments(segment(images, self.number))

    def __str__(self) -> str:
        return f"one of about {self.number} superpixels"


class Segments:
    """The superpixels of some images; see `fa_repro.removal.units.Partition`."""

    def __init__(self, labels: Tensor) -> None:
        """Build; ``labels`` (N,H,W) int64 number the superpixels of each image from 0, without a gap."""
        self.labels = labels.flatten(1)
        self.shape = labels.shape
        self.count = int(labels.max()) + 1
        ones = torch.ones_like(self.labels)
        self.sizes = ones.new_zeros(len(labels), self.count).scatter_add_(1, self.labels, ones)

    def means(self, maps: Tensor) -> Tensor:
        """Return maps (N,H,W) with each superpixel's mean at all of its pixels, in float64."""
        # In float64, so that a superpixel of one value has that value for its mean, as squares have.
        values = maps.flatten(1).double()
        sums = values.new_zeros(self.sizes.shape).scatter_add_(1, self.labels, values)
        return (sums / self.sizes.clamp_min(1)).gather(1, self.labels).view(self.shape)

    def ranks(self, means: Tensor, order: str, ties: Tensor) -> Tensor:
        """Rank each superpixel by its middle pixel.

        At any count those are gone whose larger part is due, so that the share removed is right to half a superpixel.
        """
        of_each = means.new_zeros(self.sizes.shape).scatter_(1, self.labels, means.flatten(1))
        place = rank_pixels(of_each[:, None], order, ties[ties < self.count])[:, 0]
        sequence = place.argsort(1)
        in_turn = self.sizes.gather(1, sequence)
        middles = in_turn.cumsum(1) - in_turn + in_turn // 2
        return middles.gather(1, place).gather(1, self.labels).view(self.shape)


def segment(images: Tensor, number: int) -> Tensor:
    """Return the superpixels (N,H,W) int64, numbered from 0, of images (N,C,H,W) in [0,1], on their device.

    An image after the other on the CPU, once for all methods: some milliseconds for 32x32 pixels, beside hundreds of
    readings. Images of other than three channels are divided by the mean of their channels. Noise may come out as one
    superpixel, which orders nothing: its map is degenerate.
    """
    from skimage.segmentation import slic  # here, as it takes a second and most runs don't need it

    if images.shape[1] != 3:
        images = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    pixels = images.permute(0, 2, 3, 1).cpu().double().numpy()
    found = [slic(image, number, COMPACTNESS, start_label=0, channel_axis=-1) for image in pixels]
    return torch.from_numpy(np.stack(found)).long().to(images.device)

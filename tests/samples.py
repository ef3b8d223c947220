"""Random images for tests, the same for the same seed."""

import numpy as np
import torch

from fa_repro.data import ImageSet


def noise(*shape, seed=0, dtype=torch.float32):
    """Images in [0, 1]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


IMAGE = noise(1, 3, 64, 64)


def pixels(n, size=8, channels=3, seed=0):
    """Images as a data set holds them, (N,C,H,W) uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, size, size), generator=generator, dtype=torch.uint8)


def picture(seed, *shape):
    """Pixels as Pillow and the data sets' files hold them."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def image_set(n=10, seed=0):
    """Images of 4x4 pixels, of two classes in turn."""
    return ImageSet(pixels(n, 4, seed=seed), torch.arange(n) % 2, torch.arange(n), ("0", "1"))

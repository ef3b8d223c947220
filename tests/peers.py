"""What the comparisons with other libraries share: a network, images, maps, and the package if it is installed.

Each library's definition stands in the tests in NumPy and plain loops, so that its numbers are checked without the
package; with the extra ``peers`` the package itself is asked, too.
"""

import numpy as np
import pytest
import torch

import networks
import samples
from networks import with_random_norms

N, SIDE = 4, 8
P = SIDE * SIDE
FA = networks.FA | {"scale": 2.0}
SOURCES = ("definition", "package")
CLOSE = 1e-5  # of probabilities, in float32


def network(config=FA, channels=3):
    """A network whose probabilities and maps change much from pixel to pixel, so that another order shows."""
    model = networks.network(config, in_channels=channels, image_size=SIDE).requires_grad_(False)
    return with_random_norms(model, variance=(0.05, 0.5), weight=(0.5, 2), bias=0.5)


def pixels(channels=3):
    return samples.pixels(N, SIDE, channels, seed=3)


def distinct_maps():
    """Maps whose values all differ: every library breaks ties in its own way."""
    generator = torch.Generator().manual_seed(4)
    return torch.stack([torch.randperm(P, generator=generator) for _ in range(N)]).view(N, SIDE, SIDE) / P


def package(name):
    return pytest.importorskip(name, reason=f"{name} is not installed (pip install 'fa-repro[peers]')")


def read(model, images, targets):
    """Return the targets' probabilities (n,) for a list of arrays (C,H,W)."""
    with torch.inference_mode():
        probabilities = model(torch.from_numpy(np.stack(images))).softmax(1).numpy()
    return probabilities[np.arange(len(images)), targets].astype(np.float64)
